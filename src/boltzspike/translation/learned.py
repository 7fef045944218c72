"""The learned rule: what small random networks of a neuron teach about the parameters that a target needs.

The law of a small LIF network is a Boltzmann distribution to a very good approximation, only at other weights and
biases than the ones handed to it. So random small networks are simulated once for a neuron, the machine (W, b)
that describes each one's samples is fitted, and the parameters (W', b') that were handed to it are regressed on
features of (W, b): see ``teaching``. The target itself is never simulated.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
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

    "While k is undecided" is an average over the target, weighted with p_k (1 - p_k) given the other units.
    """

    weight: Array
    """W_kj."""
    p: Array
    """p_k."""
    near: Array
    """[k, j]: mean of z_j while k is undecided."""
    chance: Array
    """[k, j]: mean of p_j given the others, while k is undecided."""
    alive: Array
    """[k, j]: mean of p_j (1 - p_j) given the others, while k is undecided: how often j then fires or stops."""
    alive_square: Array
    """[k, j]: mean of its square."""
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
            p=point.marginals(),
            near=undecided.neighbours,
            chance=undecided.chance,
            alive=undecided.alive,
            alive_square=undecided.alive_square,
            field=undecided.field,
            spread=undecided.square - undecided.field**2,
            share=undecided.share,
        )


Of = Callable[[Context], Array]

_TURN = 2.0
"""Weight, and variance of the drive, at which a response has changed most of its way from weak to strong."""


def _level(c: Context) -> Array:
    return np.tanh(c.weight / _TURN)


WEIGHTS: dict[str, Of] = {
    "W": lambda c: c.weight,
    "Wt": lambda c: c.weight * _level(c),
    "W|t|": lambda c: c.weight * np.abs(_level(c)),
    "t": _level,
}
"""Functions of the weight, t = tanh(W/2)."""

UNITS: dict[str, Of] = {
    "1": lambda c: np.ones_like(c.p),
    "p": lambda c: c.p,
    "m": lambda c: 2 * c.p - 1,
    "variance": lambda c: c.p * (1 - c.p),
    "share": lambda c: c.share,
    "spread": lambda c: c.spread / (_TURN + c.spread),
    "u": lambda c: np.tanh(c.field / 2),
    "field": lambda c: c.field,
}
"""What a unit does."""

PAIRS: dict[str, Of] = {
    "near": lambda c: c.near,
    "lean": lambda c: 2 * c.near - 1,
    "chance": lambda c: c.chance,
    "alive": lambda c: c.alive,
    "alive2": lambda c: c.alive_square,
}
"""What a neighbour does while the unit is undecided."""


def bias_feature(name: str) -> Of:
    """Return a feature of b'_k - b_k: a product of ``UNITS``, or of these times a sum over the neighbours.

    ``"u sum Wt near share"`` is u_k sum_j W_kj t_kj near_kj share_j.
    """
    own, _, drive = name.partition(" sum ")
    of_unit = [UNITS[factor] for factor in own.split()]
    if not drive:
        return lambda c: _product(of_unit, c)
    weight, *of_neighbour = drive.split()
    terms = [WEIGHTS[weight], *(_of_neighbour(factor) for factor in of_neighbour)]
    return lambda c: _product(of_unit, c) * _product(terms, c).sum(axis=1)


def weight_feature(name: str) -> Of:
    """Return a feature of W'_kj, symmetric, and 0 for units that are not coupled in the target.

    ``"Wt alive"`` is W_kj t_kj (alive_kj + alive_jk)/2, ``"W share x share"`` W_kj share_k share_j.
    """
    weight, *factors = name.split()
    of_weight, of_neighbour = WEIGHTS[weight], _of_neighbour(factors[0])
    if len(factors) == 1:
        return lambda c: of_weight(c) * (of_neighbour(c) + of_neighbour(c).T) / 2
    return lambda c: of_weight(c) * of_neighbour(c) * of_neighbour(c).T


def _of_neighbour(factor: str) -> Of:
    if factor in PAIRS:
        return PAIRS[factor]
    of_unit = UNITS[factor]
    return lambda c: np.broadcast_to(of_unit(c), c.weight.shape)


def _product(factors: Sequence[Of], c: Context) -> Array:
    return np.asarray(functools.reduce(operator.mul, (factor(c) for factor in factors)))


_OF_BIASES = (
    "1 sum W near share", "1 sum W p", "1 sum Wt alive", "1 sum Wt u", "1 sum W|t| near", "1 sum t alive2",
    "field", "m m m", "m sum t share variance", "share m", "share sum W near share", "share sum Wt alive",
    "share sum t near u", "spread sum W p", "spread sum W spread", "spread sum Wt alive2",
    "spread sum Wt chance", "spread sum Wt near u", "spread sum Wt p", "spread sum Wt share",
    "spread sum W|t| near alive", "spread sum t spread", "spread sum t variance", "u", "u sum W near",
    "u sum Wt near share", "u sum Wt share variance", "u u",
)  # fmt: skip
_OF_WEIGHTS = (
    "W 1", "W alive2", "W m", "W share", "W share x share", "Wt 1", "Wt chance", "Wt share", "t chance",
)  # fmt: skip
BIAS_FEATURES: dict[str, Of] = {name: bias_feature(name) for name in _OF_BIASES}
WEIGHT_FEATURES: dict[str, Of] = {name: weight_feature(name) for name in _OF_WEIGHTS}
FEATURES = (*(f"b: {name}" for name in BIAS_FEATURES), *(f"W: {name}" for name in WEIGHT_FEATURES))
"""Chosen stepwise (``benchmarks/rule_features.py``). All but the weights is bounded, the field of a unit aside,
and no product grows faster than the weights: so the rule does not go astray with weights beyond its own."""


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
