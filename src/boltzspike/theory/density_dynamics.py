r"""The population density of one LIF neuron in time: one step of it as matrices, on the grid of ``density.py``.

The state of a neuron is *free* at (S, v), or *refractory* for some time at S. A step of length h advances

- the free density by ``exp(L h)``, L the generator of (S, v) with outflow at threshold,
- the refractory one, kept in ``slots = tau_refrac/h`` slots of age (i + 1/2) h, by ``exp(A_S h)`` to the next.

Spikes count as of the middle of their step, and so does what is released from the last slot: the mean refractory
period is tau_refrac exactly, and the error is of second order in h.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import expm

from boltzspike.model.neuron import Neuron
from boltzspike.theory.density_grid import (
    _V_MASS,
    _V_SIGN,
    S_DEGREE,
    V_DEGREE,
    Bombardment,
    Levels,
    Resolution,
    Synapses,
    _shift_matrix,
    build_levels,
    build_synapses,
)

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class DensityStep:
    """The matrices of one step; forward, they act on coefficient vectors. ``m`` S-unknowns, ``f`` free ones."""

    h: float  # ms
    slots: int
    synapses: Synapses
    decay: Array  # exp(A_S h), shape (m, m)
    decay_half: Array
    free: Array  # exp(L h), shape (f, f)
    flux: Array  # spikes per step by S, shape (m, f)
    release: Array  # free density at the end of the step from what is released in its middle, shape (f, m)
    refire: Array  # spikes by S from what is released in the middle of the step, shape (m, m)
    to_threshold: Array  # spikes by S until all have fired, shape (m, f)
    sojourn: Array  # time spent in each free state until firing, shape (f, f), ms
    inject: Array  # of h(S) at the reset, shape (f, m)
    free_mass: Array
    """Weights with free_mass @ f = probability of being free, shape (f,)."""

    def jump(self, size: float) -> Array:
        """Return the matrix of a jump of S by ``size`` nA, shape (m, m); the same in every slot and level."""
        return _shift_matrix(self.synapses.faces, size)

    def jump_free(self, size: float, x: Array) -> Array:
        """Return free densities x, shape (f, ...), after a jump of S."""
        m = len(self.synapses.mass)
        layers = x.reshape(-1, m, *x.shape[1:])
        return np.einsum("ab,lb...->la...", self.jump(size), layers).reshape(x.shape)

    @cached_property
    def stationary(self) -> tuple[Array, Array]:
        """Slots (slots, m) and free density (f,) of the stationary neuron; total probability 1."""
        m, mass = len(self.synapses.mass), self.synapses.mass
        held = self.decay_half @ np.linalg.matrix_power(self.decay, self.slots - 1) @ self.decay_half
        fires = np.flatnonzero(np.repeat(self.synapses.s_mid > 0, S_DEGREE + 1))
        balance = np.eye(len(fires)) - (self.to_threshold @ self.inject @ held)[np.ix_(fires, fires)]
        balance[0] = mass[fires]
        pi = np.zeros(m)
        pi[fires] = np.linalg.solve(balance, np.eye(len(fires))[0])
        free = self.sojourn @ (self.inject @ (held @ pi))
        slots = np.empty((self.slots, m))
        slots[0] = self.decay_half @ pi
        for i in range(1, self.slots):
            slots[i] = self.decay @ slots[i - 1]
        rate = 1 / (self.slots * self.h + float(self.free_mass @ free))
        return slots * (self.h * rate), free * rate

    @property
    def p(self) -> float:
        """Stationary probability of being refractory."""
        return float((self.stationary[0] @ self.synapses.mass).sum())

    def advance(self, slots: Array, free: Array) -> tuple[Array, Array, Array]:
        """Return slots and free density one step later, and the spikes of the step by S (not yet in slot 0)."""
        released = self.decay_half @ slots[-1]
        spikes = self.flux @ free + self.refire @ released
        later = np.empty_like(slots)
        later[1:] = slots[:-1] @ self.decay.T
        later[0] = 0.0
        return later, self.free @ free + self.release @ released, spikes


def build_step(
    neuron: Neuron, input_: Bombardment, mu: float, *, h: float, nodes: int = 1, grid: Resolution | None = None
) -> DensityStep:
    """Return the matrices of a step of about ``h`` ms at mean potential ``mu``; tau_refrac is a multiple of it."""
    grid = grid or Resolution().coarsened(1.6)
    slots = max(round(neuron.tau_refrac / h), 1)
    h = neuron.tau_refrac / slots
    synapses = build_synapses(neuron, input_, (mu - neuron.v_thresh) * input_.mean_g, nodes, grid)
    levels = build_levels(neuron, input_, synapses, grid)
    generator, inject, flux = _free_generator(synapses, levels)
    inverse = np.linalg.inv(generator)
    half, whole = expm(generator * (h / 2)), expm(generator * h)
    identity = np.eye(len(generator))
    flux_half = flux @ inverse @ (half - identity)
    widths = np.diff(levels.faces)
    free_mass = np.zeros((len(widths), V_DEGREE + 1, len(synapses.mass)))
    free_mass[:, 0] = widths[:, None] * synapses.mass
    return DensityStep(
        h=h, slots=slots, synapses=synapses,
        decay=expm(synapses.generator * h), decay_half=expm(synapses.generator * (h / 2)),
        free=whole, flux=flux @ inverse @ (whole - identity),
        release=half @ inject, refire=flux_half @ inject,
        to_threshold=-flux @ inverse, sojourn=-inverse, inject=inject, free_mass=free_mass.ravel(),
    )  # fmt: skip


def _free_generator(synapses: Synapses, v: Levels) -> tuple[Array, Array, Array]:
    """Return the generator of the free density, what a release at the reset adds, and the flux at threshold."""
    q, order = S_DEGREE + 1, V_DEGREE + 1
    cells, m = len(synapses.s_mid), len(synapses.mass)
    levels = len(v.faces) - 1
    each = np.arange(cells)

    def within(blocks: Array) -> Array:
        full = np.zeros((cells, q, cells, q))
        full[each, :, each, :] = blocks
        return full.reshape(m, m)

    generator = np.zeros((levels, order, m, levels, order, m))
    inject = np.zeros((levels, order, m, m))
    above = within(v.above)
    for level in range(levels):
        for l in range(order):
            per_mass = 1 / ((v.faces[level + 1] - v.faces[level]) * _V_MASS[l])
            generator[level, l, :, level, l, :] += synapses.generator
            for k in range(order):
                generator[level, l, :, level, k, :] += per_mass * within(v.block(level, l, k))
                if level > 0:
                    generator[level, l, :, level - 1, k, :] += per_mass * _V_SIGN[l] * within(v.up[level])
                if level < levels - 1:
                    generator[level, l, :, level + 1, k, :] -= per_mass * _V_SIGN[k] * within(v.down[level + 1])
            if level == v.at_reset - 1:
                inject[level, l] += per_mass * (np.eye(m) - above)
            if level == v.at_reset:
                inject[level, l] += per_mass * _V_SIGN[l] * above
    flux = np.zeros((m, levels, order, m))
    flux[:, -1] = within(v.up[-1])[:, None, :]
    f = levels * order * m
    return generator.reshape(f, f), inject.reshape(f, m), flux.reshape(m, f)
