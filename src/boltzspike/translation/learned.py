"""The learned rule: what small random networks of a neuron teach about the parameters that a target needs.

The law of a small LIF network is a Boltzmann distribution to a very good approximation, only at other weights and
biases than the ones handed to it. So random small networks are simulated once for a neuron, the machine (W, b)
that describes each one's samples is fitted, and the parameters (W', b') that were handed to it are regressed on
features of (W, b): see ``teaching``. The target itself is never simulated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from boltzspike.calibration import Calibration, NetworkCalibration
from boltzspike.errors import ValidationError
from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.model.synapse import Synapse
from boltzspike.translation.result import Translation
from boltzspike.translation.working_point import StatesOf, WorkingPoint

WARNED_ERROR = 0.02
"""A predicted D_KL above this is worth a warning."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Context:
    """What the features are made of; k is the unit or target, j a neighbour. Shapes (n,) and (n, n).

    "While k is undecided" is an average over the target, weighted with p_k (1 - p_k) given the other units. All
    but the weights stays small however strong the weights are, so that the rule does not go astray beyond those
    that it learned from.
    """

    weight: Array
    """W_kj."""
    m: Array
    """2 p_k - 1."""
    near: Array
    """[k, j]: mean of z_j while k is undecided."""
    chance: Array
    """[k, j]: mean of p_j given the others, while k is undecided."""
    alive: Array
    """[k, j]: mean of p_j (1 - p_j) given the others, while k is undecided: how often j then fires or stops."""
    alive_square: Array
    """[k, j]: mean of its square."""
    variance: Array
    """p_k (1 - p_k)."""
    field: Array
    """Mean of u_k = b_k + sum_j W_kj z_j while k is undecided."""
    spread: Array
    """Variance of u_k while k is undecided."""
    share: Array
    """Mean of p_k (1 - p_k) given the others, over p_k (1 - p_k): how little k keeps its state for long."""

    @staticmethod
    def of(machine: BoltzmannMachine, point: WorkingPoint) -> Context:
        """Return the context of a machine at its working point."""
        undecided = point.undecided(machine)
        return Context(
            weight=np.asarray(machine.weights),
            m=2 * point.marginals() - 1,
            near=undecided.neighbours,
            chance=undecided.chance,
            alive=undecided.alive,
            alive_square=undecided.alive_square,
            variance=undecided.variance,
            field=undecided.field,
            spread=undecided.square - undecided.field**2,
            share=undecided.share,
        )


Of = Callable[[Context], Array]

_TURN = 2.0
"""Weight at which the gain has changed most of its way from weak to strong weights."""


def _level(c: Context) -> Array:
    return np.tanh(c.weight / _TURN)


WEIGHTS: dict[str, Of] = {
    "W": lambda c: c.weight,
    "Wt": lambda c: c.weight * _level(c),
    "W|t|": lambda c: c.weight * np.abs(_level(c)),
    "t": _level,
}
"""Functions of the weight, t = tanh(W/2): they grow no faster than W."""

PAIRS: dict[str, Of] = {
    "1": lambda c: np.ones_like(c.weight),
    "share": lambda c: np.broadcast_to(c.share, c.weight.shape),
    "spread": lambda c: np.broadcast_to(c.spread, c.weight.shape),
    "alive": lambda c: c.alive,
    "lean": lambda c: 2 * c.near - 1,
    "u": lambda c: np.broadcast_to(c.field, c.weight.shape),
    "u^2": lambda c: np.broadcast_to(c.field**2, c.weight.shape),
}
"""What the gain of a weight depends on; taken both ways round."""

UNITS: dict[str, Of] = {
    "1": lambda c: np.ones_like(c.m),
    "m": lambda c: c.m,
    "m^3": lambda c: c.m**3,
    "share": lambda c: c.share,
    "share m": lambda c: c.share * c.m,
    "share u": lambda c: c.share * c.field,
    "u": lambda c: c.field,
    "tanh u": lambda c: np.tanh(c.field),
    "u^2": lambda c: c.field**2,
    "spread": lambda c: c.spread,
}
"""What the response of the unit itself asks for."""

NEIGHBOURS: dict[str, Of] = {
    "near": lambda c: c.near,
    "alive": lambda c: c.alive,
    "near alive": lambda c: c.near * c.alive,
    "near share": lambda c: c.near * c.share,
    "spread": lambda c: np.broadcast_to(c.spread, c.weight.shape),
    "chance": lambda c: c.chance,
    "alive^2": lambda c: c.alive_square,
    "variance": lambda c: np.broadcast_to(c.variance, c.weight.shape),
    "share variance": lambda c: np.broadcast_to(c.share * c.variance, c.weight.shape),
}
"""What a neighbour adds to the drive: its state, and its trace, which lasts longer the less often it fires."""


def _gain(weight: Of, pair: Of) -> Of:
    return lambda c: weight(c) * (pair(c) + pair(c).T) / 2


def _drive(unit: Of, weight: Of, neighbour: Of) -> Of:
    return lambda c: unit(c) * (weight(c) * neighbour(c)).sum(axis=1)


_MOST = ("1", "share", "spread", "alive", "lean")
WEIGHT_FEATURES: dict[str, Of] = {
    f"{w} {pair}": _gain(WEIGHTS[w], PAIRS[pair])
    for w, among in (("W", tuple(PAIRS)), ("Wt", _MOST), ("W|t|", _MOST))
    for pair in among
}
"""Features of W'_kj; all are symmetric, and none couples units that are not coupled in the target."""

_BOTH = ("near", "alive", "near alive", "near share", "spread", "chance")
BIAS_FEATURES: dict[str, Of] = UNITS | {
    f"{unit} sum {w} {neighbour}": _drive(UNITS[unit], WEIGHTS[w], NEIGHBOURS[neighbour])
    for w in ("W", "Wt", "t")
    for unit, among in (("1", tuple(NEIGHBOURS)), ("share", _BOTH), ("u", ("near", "alive")))
    for neighbour in among
}
"""Features of b'_k - b_k."""

FEATURES = (*(f"b: {name}" for name in BIAS_FEATURES), *(f"W: {name}" for name in WEIGHT_FEATURES))


def learned_rule(
    machine: BoltzmannMachine, calibration: Calibration, synapse: Synapse, states_of: StatesOf
) -> Translation:
    """Translate by what small networks of this neuron taught; the calibration must hold it.

    Raises
    ------
    ValidationError
        Where the calibration holds no learned rule, or one for another synapse.
    """
    network = calibration.network
    if network is None:
        raise ValidationError(
            "rule: 'learned' needs a calibration with a network part; make one with calibrate_network() "
            "(boltzspike calibrate --network), or take another rule"
        )
    if network.synapse != synapse:
        raise ValidationError(f"rule: 'learned' here holds for {network.synapse}, not for {synapse}")
    if network.features != FEATURES:
        raise ValidationError(
            "calibration.network: was made with other features than this version's; make it anew "
            "(boltzspike calibrate --network)"
        )
    point = states_of(machine)
    weights, biases = apply(np.asarray(network.coefficients), machine, point)
    error = predicted_error(network, machine)
    return Translation(
        machine=machine,
        calibration=calibration,
        synapse=synapse,
        rule="learned",
        effective_weights=weights,
        effective_biases=biases,
        predicted_error=error,
        notes=(f"working point: {point.source}",),
        warnings=_warnings(network, machine, error),
    )


def apply(coefficients: Array, machine: BoltzmannMachine, point: WorkingPoint) -> tuple[Array, Array]:
    """Return the weights (n, n) and biases (n,) to hand to the neurons for a target at its working point."""
    context = Context.of(machine, point)
    of_bias, of_weight = np.split(coefficients, [len(BIAS_FEATURES)])
    weights = sum(c * of(context) for c, of in zip(of_weight, WEIGHT_FEATURES.values()))
    biases = sum(c * of(context) for c, of in zip(of_bias, BIAS_FEATURES.values()))
    return np.asarray(weights), np.asarray(machine.biases) + biases


def predicted_error(network: NetworkCalibration, machine: BoltzmannMachine) -> float:
    """Return the D_KL that the rule is expected to leave, from the strength and number of the weights."""
    return float(np.exp(np.asarray(network.error_model) @ strength(machine)))


def strength(machine: BoltzmannMachine) -> Array:
    """Return what the error model depends on: how strong the weights of a unit are together, and the size."""
    rows = np.sqrt((np.asarray(machine.weights) ** 2).sum(axis=1))
    return np.array([1.0, np.log(rows.mean() + 0.1), np.log(rows.max() + 0.1), np.log(machine.n_units)])


def _warnings(network: NetworkCalibration, machine: BoltzmannMachine, error: float) -> tuple[str, ...]:
    weights = np.abs(np.asarray(machine.weights))
    found = []
    if (largest := float(weights.max(initial=0.0))) > network.max_weight:
        found.append(f"largest |W| is {largest:.3g}; the learned rule saw up to {network.max_weight:.3g}")
    if (row := float(weights.sum(axis=1).max(initial=0.0))) > network.max_row:
        found.append(
            f"largest sum of |W| of a unit is {row:.3g}; the learned rule saw up to {network.max_row:.3g}"
        )
    if error > WARNED_ERROR:
        found.append(
            f"the learned rule expects D_KL = {error:.2g} (within a factor of {network.error_factor:.2g}); "
            "tuning the network lowers it"
        )
    return tuple(found)
