"""The matched rule: gain and mean matching, from the population density of one neuron and of a pair.

``W'_kj = W_kj g(W_kj)``, ``g(W) = kappa - slope S tanh(W/S)``: the gain of a weakly coupled pair from linear
response (``theory/gain.py``), its change with the weight from the law of two pairs (``theory/pair.py``).

``b'_k = b_k + sum_j [W_kj z_kj - W'_kj r(z_kj)] + c_k``, r(p) the mean trace of a neuron that is on with
probability p. The drive is matched where k is undecided (weight p_k (1 - p_k) given the others), as there lies
the Fisher information. But traces outlast the states: only a share ``presence = (E[r|z=1] - E[r|z=0])/(dr/dp)``
follows the present. So ``z_kj = p_j + presence (mean of z_j while k is undecided - p_j)``. c_k makes the mean
over the target of the neuron's own response equal p_k: the response is no exact logistic.

Nothing is simulated.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import scipy
from scipy.special import expit, logit

from boltzspike.calibration import Calibration
from boltzspike.errors import UnsupportedFeature
from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.model.synapse import Synapse
from boltzspike.theory.gain import Trace, linear_response
from boltzspike.theory.pair import pair_law
from boltzspike.translation.result import Translation
from boltzspike.translation.working_point import StatesOf, WorkingPoint

BIASES = np.linspace(-5.0, 5.0, 9)
PAIR_WEIGHT = 2.0
"""Weight, as handed to the neurons, of the pairs from which the change of the gain is taken."""
SATURATION = 3.0
"""The gain is followed linearly up to about this weight."""
WARNED_WEIGHT = 4.0
ONE_STEP = 0.1
"""ms: the delay where none is given is one time step, and this is the default one."""
_ITERATIONS = 50


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Matching:
    """What the rule takes from a neuron and its synapse."""

    kappa: float
    """Weight to hand to a pair for a small weight 1, at p = 1/2."""
    slope: float
    """Decrease of that with the weight."""
    bias: Array
    """Bias handed to the neuron, shape (m,)."""
    response: Array
    """logit p(z=1) at these biases, shape (m,)."""
    mean_trace: Array
    """Mean trace at these biases, shape (m,)."""
    presence: float
    """Share of the trace that follows the present state of its neuron, at p = 1/2; the rest follows its past."""

    def gain(self, weight: Array) -> Array:
        """Return W'/W."""
        return np.asarray(self.kappa - self.slope * SATURATION * np.tanh(weight / SATURATION))

    def p(self, bias: Array) -> Array:
        """Return p(z=1) of the neuron; beyond the table its logit goes on in a straight line."""
        inside = np.clip(bias, self.bias[0], self.bias[-1])
        curve = scipy.interpolate.PchipInterpolator(self.bias, self.response)
        ends = (self.response[[1, -1]] - self.response[[0, -2]]) / (self.bias[[1, -1]] - self.bias[[0, -2]])
        beyond = bias - inside
        return np.asarray(expit(curve(inside) + np.where(beyond < 0, ends[0], ends[1]) * beyond))

    def trace(self, p: Array) -> Array:
        """Return the mean trace of a neuron that is on with probability p; trace/p is held beyond the table."""
        at = np.clip(logit(np.clip(p, 1e-12, 1 - 1e-12)), self.response[0], self.response[-1])
        return np.asarray(
            p * scipy.interpolate.PchipInterpolator(self.response, self.mean_trace / expit(self.response))(at)
        )


def recovery_of(synapse: Synapse, tau_syn: float) -> float | None:
    """Return tau_rec (ms) of a synapse whose spikes use all that has recovered; ``None`` for any other."""
    if synapse.plasticity == "renewing":
        return tau_syn
    if synapse.plasticity == "additive":
        return 0.0
    return synapse.tau_rec if synapse.U == 1 and synapse.tau_fac == 0 else None


def supports(calibration: Calibration, synapse: Synapse) -> bool:
    """Return whether the matched rule can treat this neuron and synapse."""
    return not untreated(calibration, synapse)


def untreated(calibration: Calibration, synapse: Synapse) -> tuple[str, ...]:
    """Return what of this neuron and synapse the matched rule can't treat, in words."""
    neuron = calibration.neuron
    recovery = recovery_of(synapse, neuron.tau_syn_exc)
    asked = {
        "alpha kernels": neuron.kernel != "exponential",
        "unequal tau_syn": neuron.tau_syn_exc != neuron.tau_syn_inh,
        "U < 1 or facilitation": recovery is None,
        "teeth of synapses that depress": synapse.teeth is not None and recovery != 0,
    }
    return tuple(name for name, there in asked.items() if there)


def matching_of(calibration: Calibration, synapse: Synapse) -> Matching:
    """Return kappa, its slope and the response of a neuron and synapse; a few seconds, once for a calibration.

    Raises
    ------
    UnsupportedFeature
        For alpha kernels, unequal tau_syn, or synapses with U < 1 or facilitation.
    """
    return _matching_of(_Case(calibration, synapse))


class _Case:
    """A key for the cache: descriptions compare by value and have no hash."""

    def __init__(self, calibration: Calibration, synapse: Synapse) -> None:
        self.calibration, self.synapse = calibration, synapse

    def __hash__(self) -> int:
        return hash((self.calibration.u0, self.calibration.alpha))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Case):
            return NotImplemented
        a, b = self.calibration, other.calibration
        same = a.neuron == b.neuron and a.background == b.background and self.synapse == other.synapse
        return same and (a.u0, a.alpha) == (b.u0, b.alpha)


@functools.lru_cache(maxsize=32)
def _matching_of(case: _Case) -> Matching:
    calibration, synapse = case.calibration, case.synapse
    neuron, background = calibration.neuron, calibration.background
    tau_syn = neuron.tau_syn_exc
    tau_rec = recovery_of(synapse, tau_syn)
    if tau_rec is None or not supports(calibration, synapse):
        raise UnsupportedFeature(
            "rule: 'matched' needs exponential kernels, tau_syn_exc = tau_syn_inh and a synapse that is renewing, "
            "additive, or has U = 1 and tau_fac = 0, and no teeth; got "
            f"kernel={neuron.kernel!r}, tau_syn_exc = {tau_syn:g} ms, tau_syn_inh = {neuron.tau_syn_inh:g} ms, "
            f"{synapse}; take rule='psp' or 'learned'"
        )
    trace = Trace(tau_syn=tau_syn, tau_refrac=neuron.tau_refrac, tau_rec=tau_rec, teeth=synapse.teeth)
    delay = synapse.delay if synapse.delay is not None else ONE_STEP
    u0, alpha = calibration.u0, calibration.alpha
    linear = linear_response(neuron, background, trace, u0=u0, alpha=alpha, bias=BIASES, delay=delay)
    middle = len(BIASES) // 2
    kappa = float(linear.kappa[middle, middle])
    slope_of_trace = scipy.interpolate.PchipInterpolator(linear.p, linear.mean_trace).derivative()(
        linear.p[middle]
    )
    law = pair_law(
        neuron, background, u0=u0, alpha=alpha, weight=[-PAIR_WEIGHT, PAIR_WEIGHT], tau_rec=tau_rec, delay=delay,
        teeth=synapse.teeth,
    )  # fmt: skip
    gains = np.array([-PAIR_WEIGHT, PAIR_WEIGHT]) / law.weight
    at = SATURATION * np.tanh(law.weight / SATURATION)
    return Matching(
        kappa=kappa,
        slope=float((gains[0] - gains[1]) / (at[1] - at[0])),
        bias=BIASES,
        response=logit(linear.p),
        mean_trace=linear.mean_trace,
        presence=float(linear.regression[middle] / slope_of_trace),
    )


def matched_rule(
    machine: BoltzmannMachine, calibration: Calibration, synapse: Synapse, states_of: StatesOf
) -> Translation:
    """Translate by the gain and the mean of the neuron's own theory; nothing is simulated."""
    matching = matching_of(calibration, synapse)
    point = states_of(machine)
    weights, biases = apply(matching, machine, point)
    largest = float(np.abs(machine.weights).max(initial=0.0))
    warnings = (
        (f"largest |W| is {largest:.3g}; the matched rule follows the gain up to {WARNED_WEIGHT:g}",)
        if largest > WARNED_WEIGHT
        else ()
    )
    return Translation(
        machine=machine,
        calibration=calibration,
        synapse=synapse,
        rule="matched",
        effective_weights=weights,
        effective_biases=biases,
        notes=(
            f"working point: {point.source}",
            f"kappa = {matching.kappa:.4f}, slope = {matching.slope:.4f} per unit of weight",
        ),
        warnings=warnings,
    )


def apply(matching: Matching, machine: BoltzmannMachine, point: WorkingPoint) -> tuple[Array, Array]:
    """Return the weights (n, n) and biases (n,) to hand to the neurons for a target at its working point."""
    target, biases = np.asarray(machine.weights), np.asarray(machine.biases)
    weights = target * matching.gain(target)
    p = point.marginals()
    near = p + matching.presence * (point.undecided(machine).neighbours - p)
    drive = (target * near - weights * matching.trace(near)).sum(axis=1)
    return weights, biases + drive + response_shift(matching, machine, point)


def response_shift(matching: Matching, machine: BoltzmannMachine, point: WorkingPoint) -> Array:
    """Return c_k with E[p(u_k + c_k)] = p_k over the target, p the response and u_k the drive of k; shape (n,)."""
    field = np.asarray(point.states, dtype=float) @ np.asarray(machine.weights) + np.asarray(machine.biases)
    wanted = point.probabilities @ expit(field)
    variance = point.probabilities @ (expit(field) * expit(-field))
    shift = np.zeros(machine.n_units)
    for _ in range(_ITERATIONS):
        missing = wanted - point.probabilities @ matching.p(field + shift)
        # a secant of the logistic: the slopes of response and logistic differ by less than a factor of two
        step = np.clip(missing / np.maximum(variance, 1e-12), -1, 1)
        shift = shift + 0.7 * step
        if np.abs(step).max() < 1e-8:
            break
    return shift
