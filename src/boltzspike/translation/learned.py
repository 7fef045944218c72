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

    "While k is undecided" is an average over the target, weighted with p_k (1 - p_k) given the other units.
    """

    weight: Array
    """W_kj."""
    p: Array
    """p_k."""
    mean_field: Array
    """b_k + sum_j W_kj p_j."""
    near: Array
    """[k, j]: mean of z_j while k is undecided."""
    field: Array
    """Mean of u_k = b_k + sum_j W_kj z_j while k is undecided."""
    square: Array
    """Mean of u_k^2 while k is undecided."""

    @staticmethod
    def of(machine: BoltzmannMachine, point: WorkingPoint) -> Context:
        """Return the context of a machine at its working point."""
        weight, p = np.asarray(machine.weights), point.marginals()
        undecided = point.undecided(machine)
        return Context(
            weight=weight,
            p=p,
            mean_field=np.asarray(machine.biases) + weight @ p,
            near=undecided.neighbours,
            field=undecided.field,
            square=undecided.square,
        )


def _both(x: Array) -> Array:
    return x[:, None] + x[None, :]


def _lean(c: Context) -> Array:
    """Return how far the neighbours lean to 1 (positive) or 0 while the unit is undecided, both ways round."""
    lean = 2 * c.near - 1
    return np.asarray(lean + lean.T)


WEIGHT_FEATURES: dict[str, Callable[[Context], Array]] = {
    "W": lambda c: c.weight,
    "W |W|": lambda c: c.weight * np.abs(c.weight),
    "W^2": lambda c: c.weight**2,
    "W lean": lambda c: c.weight * _lean(c),
    "W^2 lean": lambda c: c.weight**2 * _lean(c),
    "W lean^2": lambda c: c.weight * _lean(c) ** 2,
    "W lean_k lean_j": lambda c: c.weight * (2 * c.near - 1) * (2 * c.near - 1).T,
    "W u": lambda c: c.weight * _both(c.field),
    "W u^2": lambda c: c.weight * _both(c.square),
    "W^2 u": lambda c: c.weight**2 * _both(c.field),
    "W <u>^2": lambda c: c.weight * _both(c.field**2),
}
"""Features of W'_kj; all are symmetric, and none couples units that are not coupled in the target."""

BIAS_FEATURES: dict[str, Callable[[Context], Array]] = {
    "1": lambda c: np.ones_like(c.p),
    "m": lambda c: 2 * c.p - 1,
    "m^2": lambda c: (2 * c.p - 1) ** 2,
    "U": lambda c: c.mean_field,
    "u": lambda c: c.field,
    "sum W p": lambda c: c.weight @ c.p,
    "sum W^2": lambda c: (c.weight**2).sum(axis=1),
    "sum W^2 p": lambda c: c.weight**2 @ c.p,
    "sum W near^2": lambda c: (c.weight * c.near**2).sum(axis=1),
    "sum W^2 near": lambda c: (c.weight**2 * c.near).sum(axis=1),
    "u^2 sum W": lambda c: c.square * c.weight.sum(axis=1),
    "u sum W near": lambda c: c.field * (c.weight * c.near).sum(axis=1),
    "u sum W^2 near": lambda c: c.field * (c.weight**2 * c.near).sum(axis=1),
    "sum W near u_j": lambda c: (c.weight * c.near) @ c.field,
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
