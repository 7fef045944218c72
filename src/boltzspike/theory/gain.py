r"""Linear response of a pair of coupled neurons, from the population density of one: how much they over-couple.

To first order in the weight, neuron k follows the trace r_j of its partner, ``delta <z_k>(t) = W int chi_k(s)
r_j(t - s) ds``, and the partner that of k. So for weights W both ways

``Cov(z_k, z_j) = W [int chi_k(s) C_j(s) ds + int chi_j(s) C_k(s) ds]``, ``C_j(s) = Cov(r_j(t - s), z_j(t))``.

A Boltzmann machine has ``W p_k q_k p_j q_j``. Their ratio is the gain, ``1/kappa``; it is 1 for memoryless
neurons and traces as long as the state. chi is the response of p(z=1) to the drive in units of alpha, r the drive
that a weight of 1 causes, normalised so that W is the weight of the PSP rule.

*chi.* A jump of S decays with tau_syn, as every input does. The density, shifted by a jump and left to itself
(``density_dynamics``), gives its response X(s); then ``chi = dX/ds + X/tau_syn``.

*C.* With the density, the first moments E[r; state] and E[y; state] are advanced, y the part of the resources
that is not recovered: a spike adds ``1 - y`` to r and leaves ``U + (1 - U) y``. That is exact. Started at its
stationary value and left to the density alone, E[r; state] gives E[r(0) z(s)].

Measured: docs/translation.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from boltzspike.errors import UnsupportedFeature, require
from boltzspike.model.background import PoissonBackground
from boltzspike.model.neuron import Neuron
from boltzspike.theory.density_dynamics import DensityStep, build_step
from boltzspike.theory.density_grid import Resolution, describe_bombardment
from boltzspike.theory.psp import arrivals, shaped_area

Array = np.ndarray
Shape = Literal["exponential", "alpha", "rectangular", "cut"]

GRID = Resolution().coarsened(2.5)
"""p differs by .0006 from that of the finest grid, kappa by .002 (S1)."""
STEP = 0.5
"""ms; kappa differs by .001 from that of half the step (S1)."""
MEMORY = 20.0
"""Correlations are followed for this many times the longest time constant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """How the drive by a synapse follows the spikes of its source."""

    tau_syn: float
    """Decay, ms."""
    tau_refrac: float
    """ms."""
    shape: Shape = "exponential"
    """``"exponential"``; ``"alpha"``: ``t/tau_syn exp(1 - t/tau_syn)``; ``"rectangular"``: 1 while z = 1, else 0;
    ``"cut"``: exponential while z = 1, else 0. The last two belong to the last spike alone."""
    use: float = 1.0
    """Share of the resources that a spike uses, Tsodyks and Markram's U."""
    tau_rec: float = 0.0
    """Recovery of the resources, ms. 0: additive; tau_syn with ``use=1``: renewing."""
    teeth: int | None = None
    """Parallel synapses of a coupling (``model.synapse``); for exponential shapes."""

    def __post_init__(self) -> None:
        """Validate."""
        for name in ("tau_syn", "tau_refrac"):
            require(getattr(self, name) > 0, f"Trace.{name}", "> 0 ms", getattr(self, name))
        require(
            self.shape in ("exponential", "alpha", "rectangular", "cut"),
            "Trace.shape",
            "a known shape",
            self.shape,
        )
        require(0 < self.use <= 1, "Trace.use", "in (0, 1]", self.use)
        require(self.tau_rec >= 0, "Trace.tau_rec", ">= 0 ms", self.tau_rec)
        fits = self.teeth is None or self.shape == "exponential"
        require(fits, "Trace.teeth", f"None with the shape {self.shape!r}", self.teeth)

    @property
    def arrivals(self) -> tuple[Array, Array]:
        """When a spike acts after its first arrival, ms, and with which share of the weight."""
        return arrivals(self.teeth, tau_syn=self.tau_syn, tau_refrac=self.tau_refrac)

    def scale(self, tau_eff: float) -> float:
        """Return the drive at the peak for weight 1: the PSP of a single spike then averages to 1 over tau_refrac.

        The rectangle stands for the PSP itself; the cut exponential is uncut for as long as tau_refrac.
        """
        if self.shape == "rectangular":
            return 1.0
        kernel = "alpha" if self.shape == "alpha" else "exponential"
        area = shaped_area(
            self.teeth, tau_syn=self.tau_syn, tau_eff=tau_eff, tau_refrac=self.tau_refrac, kernel=kernel
        )
        return tau_eff * self.tau_refrac / area


def jump_response(step: DensityStep, count: int) -> Array:
    """Return the change of p(z=1) per nA at times 0, h, ... after a small jump of S, shape (count,), 1/nA."""
    slots, free = step.stationary
    size = 0.1 * float(np.ptp(step.synapses.faces)) / 12  # a tenth of a standard deviation
    up, down = step.jump(size), step.jump(-size)
    slots = slots @ ((up - down).T / (2 * size))
    free = (step.jump_free(size, free) - step.jump_free(-size, free)) / (2 * size)
    return _follow(step, slots, free, count)


def trace_memory(step: DensityStep, trace: Trace, count: int) -> tuple[float, Array]:
    """Return the mean trace and Cov(trace at t - s, z at t) for s = 0, h, ..., in units of the trace's peak."""
    slots, free = step.stationary
    mass = step.synapses.mass
    if trace.shape in ("rectangular", "cut"):
        age = (np.arange(step.slots) + 0.5) * step.h
        value = np.exp(-age / trace.tau_syn) if trace.shape == "cut" else np.ones_like(age)
        slots, free = slots * value[:, None], 0 * free
    else:
        slots, free = _stationary_trace(step, trace)
    mean = float((slots @ mass).sum() + step.free_mass @ free)
    return mean, _follow(step, slots, free, count) - mean * step.p


def _stationary_trace(step: DensityStep, trace: Trace) -> tuple[Array, Array]:
    """Return the stationary E[r; state], by iteration from 0: it converges with the memory of the neuron."""
    slots, free = step.stationary
    recovery = math.exp(-step.h / trace.tau_rec) if trace.tau_rec > 0 else 0.0
    decay, peak = math.exp(-step.h / trace.tau_syn), math.e * step.h / trace.tau_syn
    spikes = step.decay_half @ step.advance(slots, free)[2]

    def advance(moment: tuple[Array, Array], kept: float) -> tuple[Array, Array, Array]:
        """Return a decaying moment one step later, slot 0 still empty, and what spikes in mid-step hold of it."""
        later, loose, entering = step.advance(*moment)
        return later * kept, loose * kept, step.decay_half @ entering * math.sqrt(kept)

    def carried(moment: tuple[Array, Array], added: Array) -> tuple[Array, Array]:
        """Return a moment that decays with tau_syn one step later, with what the spikes of the step add."""
        later, loose, entering = advance(moment, decay)
        later[0] = (entering + added) * math.sqrt(decay)
        return later, loose

    lacking, rising, present = ((0 * slots, 0 * free) for _ in range(3))
    for _ in range(_steps(step, max(trace.tau_syn, trace.tau_rec))):
        later, loose, y = advance(lacking, recovery)
        later[0] = (trace.use * spikes + (1 - trace.use) * y) * math.sqrt(recovery)
        lacking, added = (later, loose), spikes - y
        if trace.shape == "alpha":
            fed = present[0] + peak * rising[0], present[1] + peak * rising[1]
            rising, present = carried(rising, added), carried(fed, added * (peak / 2))
        else:
            present = carried(present, added)
    return present


def _steps(step: DensityStep, tau: float) -> int:
    slowest = max(tau, step.slots * step.h)
    return math.ceil(MEMORY * slowest / step.h)


def _follow(step: DensityStep, slots: Array, free: Array, count: int) -> Array:
    """Return the probability of being refractory at times 0, h, ... of a density left to itself."""
    on = np.empty(count)
    for n in range(count):
        on[n] = (slots @ step.synapses.mass).sum()
        slots, free, spikes = step.advance(slots, free)
        slots[0] = step.decay_half @ spikes
    return on


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearResponse:
    """Response of a neuron and its synapse at a range of biases. All is in Boltzmann units."""

    bias: Array
    """Bias handed to the neuron, shape (m,)."""
    p: Array
    """p(z=1), shape (m,)."""
    mean_trace: Array
    """Mean drive that a synapse of weight 1 hands on, shape (m,)."""
    regression: Array
    """E[r | z = 1] - E[r | z = 0] of that drive r, shape (m,)."""
    overlap: Array
    """[k, j]: int chi_k(s) Cov(r_j(t - s), z_j(t)) ds, shape (m, m)."""

    @property
    def kappa(self) -> Array:
        """Weight to hand to a pair for a small weight 1, at biases k and j, shape (m, m)."""
        variance = self.p * (1 - self.p)
        return np.asarray(np.outer(variance, variance) / (self.overlap + self.overlap.T))


def linear_response(
    neuron: Neuron,
    background: PoissonBackground,
    trace: Trace,
    *,
    u0: float,
    alpha: float,
    bias: Array | list[float],
    delay: float = 0.0,
    h: float = STEP,
    grid: Resolution = GRID,
) -> LinearResponse:
    """Return the linear response of pairs of neurons.

    Parameters
    ----------
    neuron, background
        With exponential kernels and one tau_syn.
    trace
        Of the synapses between them.
    u0, alpha
        The logistic of the neuron: bias b is a mean potential ``u0 + alpha b``, mV.
    bias
        Where to evaluate, shape (m,).
    delay
        Of the synapses, ms.
    h, grid
        Resolution in time (ms) and in the state.

    Raises
    ------
    UnsupportedFeature
        For alpha kernels or unequal tau_syn of the background.
    """
    if neuron.kernel != "exponential" or neuron.tau_syn_exc != neuron.tau_syn_inh:
        raise UnsupportedFeature(
            "linear response: needs exponential kernels and tau_syn_exc = tau_syn_inh, got "
            f"kernel={neuron.kernel!r}, tau_syn_exc = {neuron.tau_syn_exc:g}, tau_syn_inh = "
            f"{neuron.tau_syn_inh:g} ms"
        )
    input_ = describe_bombardment(neuron, background)
    steps = [build_step(neuron, input_, u0 + alpha * float(b), h=h, grid=grid) for b in bias]
    tau_eff = neuron.c_m / input_.mean_g
    scale = trace.scale(tau_eff)
    count = _steps(steps[0], max(trace.tau_syn, trace.tau_rec, neuron.tau_syn_exc))
    found = [jump_response(step, count) for step in steps]
    memory = [trace_memory(step, trace, count) for step in steps]
    time = np.arange(count) * steps[0].h
    # parallel synapses follow the first with their shares: Cov(sum_i f_i r(t - d_i - s), z(t)) is a sum of shifts
    later, share = trace.arrivals
    shifted = lambda covariance, s: share @ [np.interp(s + d, time, covariance, right=0.0) for d in later]
    overlap = np.empty((len(steps), len(steps)))
    for j, (_, covariance) in enumerate(memory):
        delayed = shifted(covariance, time + delay)
        middle = (delayed[1:] + delayed[:-1]) / 2
        for k, response in enumerate(found):
            level = (response[1:] + response[:-1]) / 2
            overlap[k, j] = (np.diff(response) + level * (steps[0].h / neuron.tau_syn_exc)) @ middle
    p = np.array([step.p for step in steps])
    return LinearResponse(
        bias=np.asarray(bias, dtype=float),
        p=p,
        mean_trace=scale * share.sum() * np.array([mean for mean, _ in memory]),
        regression=scale * np.array([shifted(covariance, 0.0) for _, covariance in memory]) / (p * (1 - p)),
        overlap=scale * alpha * input_.mean_g * overlap,
    )


def best_recovery(
    neuron: Neuron, background: PoissonBackground, *, u0: float, alpha: float, delay: float = 0.0
) -> tuple[float, float, float]:
    """Return the recovery of depressing synapses (U = 1) with which a pair needs the least correction.

    Of two unbiased units with a small weight W handed over as it is, the coupling comes out as W/kappa and the
    mean drive as W rbar. To second order in W that costs

    ``D_KL = W^2 [(1/kappa - 1)^2/32 + (rbar - p/kappa)^2/4]``,

    both variances being 1/4: tau_rec minimises it. Renewing synapses (tau_rec = tau_syn) hand on too much; a
    longer recovery weakens those that fire again at once. Weights of order 1 want a little less
    (benchmarks/synapses.py).

    Returns
    -------
    tau_rec
        ms, between tau_syn and 3 tau_syn.
    kappa, mean_trace
        At tau_rec.

    Raises
    ------
    UnsupportedFeature
        As ``linear_response``.
    """
    tau_syn = neuron.tau_syn_exc
    at = tau_syn * np.array([1.0, 2.0, 3.0])
    found = [
        linear_response(
            neuron, background, Trace(tau_syn=tau_syn, tau_refrac=neuron.tau_refrac, tau_rec=tau_rec),
            u0=u0, alpha=alpha, bias=[0.0], delay=delay,
        )
        for tau_rec in at
    ]  # fmt: skip
    # 1/kappa and the trace vary as 1 - exp(-T/tau_rec) does: their inverses are smooth in tau_rec
    tau_rec = np.linspace(at[0], at[-1], 401)
    kappa = np.polyval(np.polyfit(at, [one.kappa[0, 0] for one in found], 2), tau_rec)
    trace = 1 / np.polyval(np.polyfit(at, [1 / one.mean_trace[0] for one in found], 2), tau_rec)
    p = found[0].p[0]
    cost = (1 / kappa - 1) ** 2 / 32 + (trace - p / kappa) ** 2 / 4
    k = int(np.argmin(cost))
    return float(tau_rec[k]), float(kappa[k]), float(trace[k])
