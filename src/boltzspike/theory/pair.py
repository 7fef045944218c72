r"""The law of two coupled neurons from their population density: no simulation, any weight.

The joint density of two neurons (``density_dynamics``) is a matrix P: state of the one by state of the other. A
step without spikes takes it to ``M P M^T``; a spike of one neuron makes the S of the other jump by ``w (1 - y)``,
y being what the synapse has not yet recovered of the spike before. Spikes fall on the middle of a step on
average: the partner jumps before its step with weight 1/2 - delay/h and after it with 1/2 + delay/h; a spike so
caused acts back within the step. The stationary P is the eigenvector of the largest eigenvalue, 1.

*Reduction.* A neuron has some 700 unknowns, but what it visits spans far less: P is kept in the span of the
densities that are reached within a few steps and jumps from the stationary one, singular values below
``TOLERANCE`` of the largest cut, probability conserved.

*y* is kept exact at the end of the refractory period; after it, it is a two-valued variable that drops to 0 at
rate 1/tau_rec, which has the right mean.

*Teeth.* Of synapses in parallel (``model.synapse``) the later ones act at ages of the source that the law knows:
where it passes from one refractory slot to a certain next, and, with the opposite sign, where it is free again. A
source that spikes at once then makes S jump by the difference.

*Steps.* The error in h is of first order, so two steps are extrapolated to 0. Measured for S1
(docs/translation.md): the gain of a pair with W' = 2 is 1.55 (simulated 1.50), with W' = -2 it is 1.22 (1.19).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigs

from boltzspike.model.background import PoissonBackground
from boltzspike.model.neuron import Neuron
from boltzspike.theory.density_dynamics import DensityStep, build_step
from boltzspike.theory.density_grid import V_DEGREE, Resolution, describe_bombardment
from boltzspike.theory.psp import arrivals, shaped_area

Array = np.ndarray

TOLERANCE = 3e-3
_ROUNDS = 5
_PROBES = (-1.0, -0.4, -0.1, 0.1, 0.4, 1.0)
"""Jumps that span what is visited, in units of the largest."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairLaw:
    """The machines of two equal units that the laws of pairs are."""

    weight: Array
    bias: Array


def pair_law(
    neuron: Neuron,
    background: PoissonBackground,
    *,
    u0: float,
    alpha: float,
    weight: Array | list[float],
    bias: float = 0.0,
    tau_rec: float,
    delay: float = 0.0,
    teeth: int | None = None,
    steps: tuple[float, float] | None = None,
    grid: Resolution | None = None,
) -> PairLaw:
    """Return the Boltzmann parameters of pairs of equal neurons with symmetric weights.

    Parameters
    ----------
    neuron, background
        With exponential kernels and one tau_syn.
    u0, alpha
        The logistic of the neuron, mV.
    weight
        As handed to the neurons, in Boltzmann units of the PSP rule, shape (m,).
    bias
        As handed to them.
    tau_rec
        Recovery of the synapse, ms: tau_syn is renewing, 0 additive.
    delay
        ms; beyond half a step it counts as half a step.
    teeth
        Of additive synapses; more than three count as five, a rectangle to within .01 of the gain.
    steps
        Two steps, ms, that divide tau_refrac/teeth; the result is extrapolated linearly from them to 0.
        ``None``: a fifth and a tenth of tau_refrac, or a little less.
    grid
        Of the state.
    """
    input_ = describe_bombardment(neuron, background)
    tau_eff, tau = neuron.c_m / input_.mean_g, neuron.tau_syn_exc
    assert teeth is None or tau_rec == 0, "teeth need additive synapses"
    teeth = 5 if teeth is not None and teeth > 3 else teeth
    if steps is None:
        slots = -(-5 // (teeth or 1)) * (teeth or 1)
        steps = neuron.tau_refrac / slots, neuron.tau_refrac / (2 * slots)
    area = shaped_area(teeth, tau_syn=tau, tau_eff=tau_eff, tau_refrac=neuron.tau_refrac)
    _, shares = arrivals(teeth, tau_syn=tau, tau_refrac=neuron.tau_refrac)
    jumps = np.asarray(weight, dtype=float) * (alpha * neuron.c_m * neuron.tau_refrac / area)
    found = []
    for h in steps:
        step = build_step(neuron, input_, u0 + alpha * bias, h=h, grid=grid or Resolution().coarsened(2.5))
        largest = float(np.abs(jumps).max())
        one = _Reduced(step, [largest * x for x in _PROBES], tau_rec, shares)
        laws = []
        for jump in jumps:
            both, on = _stationary_pair(one, float(jump), min(delay / step.h, 0.5))
            odds = math.log((on - both) / (1 - 2 * on + both))
            laws.append((math.log(both / (on - both)) - odds, odds))
        found.append(np.array(laws))
    (first, second), (a, b) = steps, found
    limit = b + (b - a) * second / (first - second)
    return PairLaw(weight=limit[:, 0], bias=limit[:, 1])


class _Reduced:
    """One step of a neuron in the span of what it visits: slots by age, then free with y > 0, then with y = 0."""

    def __init__(self, step: DensityStep, probes: list[float], tau_rec: float, shares: Array) -> None:
        """Build the span, then project the step on it; ``shares`` are those of synapses in parallel."""
        remaining = math.exp(-step.h * step.slots / tau_rec) if tau_rec > 0 else 0.0
        taken = -float(shares[-1]) if len(shares) > 1 else 0.0
        self.step, self.amounts = step, (1 - remaining - taken, 1.0)
        v, u, scale = _visited(step, [step.jump(size) for size in probes])
        out, into = u / scale[:, None], (u * scale[:, None]).T
        self._v, self._out, self._into = v, out, into
        r, f, n = v.shape[1], u.shape[1], step.slots
        self.refractory = r
        self.size = n * r + 2 * f
        last, high, low = slice((n - 1) * r, n * r), slice(n * r, n * r + f), slice(n * r + f, None)
        recovery = math.exp(-step.h / tau_rec) if tau_rec > 0 else 0.0
        free = into @ step.free @ out
        matrix = np.zeros((self.size, self.size))
        for i in range(n - 1):
            matrix[(i + 1) * r : (i + 2) * r, i * r : (i + 1) * r] = v.T @ step.decay @ v
        matrix[high, last] = into @ step.release @ step.decay_half @ v
        matrix[high, high], matrix[low, high], matrix[low, low] = free * recovery, free * (1 - recovery), free
        flux = v.T @ step.decay_half @ step.flux @ out
        kept = math.sqrt(recovery)
        self.spikes = np.zeros((2, r, self.size))  # into slot 0, by the jump that they cause
        self.spikes[0][:, last] = v.T @ step.decay_half @ step.refire @ step.decay_half @ v
        self.spikes[0][:, high], self.spikes[1][:, high] = flux * kept, flux * (1 - kept)
        self.spikes[1][:, low] = flux
        matrix[:r] = self.spikes.sum(axis=0)
        self.matrix = matrix
        on = step.synapses.mass @ v
        self.on = np.concatenate([np.tile(on, n), np.zeros(2 * f)])
        self.mass = np.concatenate([np.tile(on, n), np.tile(step.free_mass @ out, 2)])
        slots, occupied = step.stationary
        within = np.arange(1, len(shares) - 1) * n // max(len(shares) - 1, 1)
        entered = [slice(slot * r, (slot + 1) * r) for slot in within] + [high]
        self.later = list(zip(shares[1:], entered))  # amount of a jump, and the states in which the source then is
        self.start = np.concatenate([(slots @ v).ravel(), np.tile(into @ occupied / 2, 2)])

    def jump(self, size: float) -> Array:
        """Return the matrix of a jump of S."""
        r, f, n = self._v.shape[1], self._out.shape[1], self.step.slots
        jumped = np.zeros((self.size, self.size))
        held = self._v.T @ self.step.jump(size) @ self._v
        for i in range(n):
            jumped[i * r : (i + 1) * r, i * r : (i + 1) * r] = held
        free = self._into @ self.step.jump_free(size, self._out)
        jumped[n * r : n * r + f, n * r : n * r + f] = jumped[n * r + f :, n * r + f :] = free
        return jumped


def _visited(step: DensityStep, shifts: list[Array]) -> tuple[Array, Array, Array]:
    """Return bases of refractory and of free densities, and the scale in which the latter is orthonormal."""
    m = len(step.synapses.mass)
    in_v = step.free_mass.reshape(-1, V_DEGREE + 1, m)
    heaviest = int(np.argmax(np.abs(step.synapses.mass)))
    widths = in_v[:, 0, heaviest] / step.synapses.mass[heaviest]
    scale = np.sqrt((widths[:, None, None] / (2 * np.arange(V_DEGREE + 1) + 1)[:, None]) * np.ones(m)).ravel()

    def jumped(x: Array) -> list[Array]:
        layers = x.reshape(-1, m, x.shape[1])
        return [np.einsum("ab,lbr->lar", shift, layers).reshape(x.shape) for shift in shifts]

    slots, free = step.stationary
    held, loose = slots.T / np.abs(slots).max(), free[:, None] / np.abs(free).max()
    for _ in range(_ROUNDS):
        after = jumped(loose)
        reached = [loose, step.free @ loose, *after, *(step.free @ x for x in after)]
        spikes = step.flux @ np.concatenate(reached[:-2], axis=1)
        released = step.decay_half @ held
        reached.append(step.release @ released)
        entered = [held, step.decay @ held, *(shift @ held for shift in shifts)]
        entered += [step.decay_half @ spikes, step.decay_half @ step.refire @ released]
        v, weight_v = _span(np.concatenate(entered, axis=1), step.synapses.mass)
        u, weight_u = _span(np.concatenate(reached, axis=1) * scale[:, None], step.free_mass / scale)
        held, loose = v * weight_v, (u * weight_u) / scale[:, None]
    return v, u, scale


def _span(x: Array, kept: Array) -> tuple[Array, Array]:
    """Return an orthonormal basis of the columns, ``kept`` in it exactly, and the weight of each direction."""
    first = kept[:, None] / np.linalg.norm(kept)
    rest = x - first @ (first.T @ x)
    directions, weight, _ = np.linalg.svd(rest, full_matrices=False)
    number = int((weight > TOLERANCE * weight[0]).sum())
    weights = np.concatenate([[np.linalg.norm(x)], weight[:number]])
    return np.concatenate([first, directions[:, :number]], axis=1), weights / weights[0]


def _stationary_pair(one: _Reduced, size: float, delay: float) -> tuple[float, float]:
    """Return P(both on) and P(the first on) of two equal neurons; the delay in steps."""
    r, n, late, early = one.refractory, one.size, 0.5 + delay, 0.5 - delay
    jumps = [one.jump(size * amount) for amount in one.amounts]
    change = [early * one.matrix @ x + late * x @ one.matrix - one.matrix for x in jumps]
    after = [x[:r, :r] - np.eye(r) for x in jumps]
    caused = [[early * spikes @ (x - np.eye(n)) for x in jumps] for spikes in one.spikes]
    echoes = []
    for amount, state in one.later:
        x = one.jump(size * amount)
        answers = [early * spikes @ (x - np.eye(n)) for spikes in one.spikes]
        back = [of_spike[state, state] - np.eye(of_spike[state, state].shape[0]) for of_spike in jumps]
        echoes.append((state, early * one.matrix @ x + late * x @ one.matrix - one.matrix, answers, back))

    def advance(flat: Array) -> Array:
        joint = flat.reshape(n, n)
        # equal neurons: the joint density stays symmetric
        later = one.matrix @ joint @ one.matrix.T
        for d in range(2):
            spiked = joint @ one.spikes[d].T
            push = change[d] @ spiked
            for c in range(2):
                # both spike in one step: each spike moves the other neuron too
                push[:r] += caused[c][d] @ spiked @ after[c].T
                push[:r] += after[d] @ (one.spikes[c] @ spiked) @ after[c].T / 2
            later[:, :r] += push
            later[:r] += push.T
        for state, changed, answers, back in echoes:
            arrived = joint @ one.matrix[state].T
            push = changed @ arrived
            for answer, moved in zip(answers, back):
                push[:r] += answer @ arrived @ moved.T
            later[:, state] += push
            later[state] += push.T
        return later.ravel()

    operator = LinearOperator((n * n, n * n), matvec=advance, dtype=float)
    _, vectors = eigs(operator, k=1, which="LM", v0=np.outer(one.start, one.start).ravel(), ncv=12, tol=1e-5)
    joint = vectors[:, 0].real.reshape(n, n)
    total = one.mass @ joint @ one.mass
    return float(one.on @ joint @ one.on / total), float(one.on @ joint @ one.mass / total)
