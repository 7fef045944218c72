"""One step of one row of sixteen neurons: what the two layouts share.

The state of a row is ``[g_exc, g_inh, v][16]``, a neuron's three numbers sixteen floats apart, and
``free_at[16]``, the step at which each is free. Units of the kernel, all dimensionless or mV:

- conductances (or currents) are multiplied by ``dt / c_m`` and by the mean of ``exp(-t/tau_syn)`` over a step,
  so the step's mean conductance costs nothing;
- they are stored without the constant part of the background (``noise.py``), which sits in leak and bias;
- ``v`` is the potential relative to threshold, so that its sign bit says who is below.

Neurons are stepped in two halves of eight lanes; loop counts and flags that are constants of a kernel reach
these functions as arguments and vanish by inlining.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from boltzspike.simd import LANES, broadcast, fmuladd, load, select, store

Array = np.ndarray
ROW = 2 * LANES
G_EXC, G_INH, V, FIELDS = 0, 1, 2, 3
E_EXC, E_INH, LEAK, RESET, DECAY_EXC, DECAY_INH, PARAMETERS = 0, 1, 2, 3, 4, 5, 6
"""Rows of ``Tables.parameters``. LEAK is g_l dt/c_m, of current-based neurons the decay factor of v."""


class Tables(NamedTuple):
    """What a kernel reads, flat arrays. A stride is 0 where all rows are alike."""

    parameters: Array
    """float32 [row][PARAMETERS][16]."""
    parameter_stride: int
    bias: Array
    """float32 [row][16]: the constant drive of a step, mV."""
    thresholds: Array
    """int32 [row][exc, inh][k][16]: a jump happens where a random word is below."""
    jumps: Array
    """float32 [row][exc, inh][k][16]."""
    noise_stride: int
    relaxation: Array
    """float32 [4]: polynomial of (1 - exp(-x)) / x, constant first."""
    refractory: Array
    """int32 [unit], steps."""
    renewal: Array
    """float32 [trace][interval]: increment of a synaptic trace after an interval in steps."""
    renewal_length: int
    targets: Array
    """Chain lanes: int32 [connection], where the conductance of the target lies in the block's state."""
    weights: Array
    """float32, chain lanes: [connection]; unit lanes: [source][target], the sign says which synapse."""
    connections: Array
    """Chain lanes: int32 [(delay * units + source) * traces + trace], the first connection of each."""
    delays: Array
    """Chain lanes: int32 [delay], steps, rising; the last is the longest, whose spikes are the oldest kept."""


class Block(NamedTuple):
    """The state of one block, flat arrays that the kernel writes to."""

    dynamics: Array
    """float32 [row][FIELDS][16]."""
    free_at: Array
    """int32 [row][16], steps from the start of the pass."""
    generator: Array
    """int32 [4][8]: the random generator of each lane."""
    arriving: Array
    """int32 [slot]: how many entries are under way."""
    sources: Array
    """int32 [slot][entry]: the unit that spiked; chain lanes: unit << 2 | first << 1 | last, of the halves of
    the row that hold spikes."""
    increments: Array
    """float32 [slot][entry][trace]: what it adds to its traces; chain lanes: [slot][entry][trace][16]."""
    spiking: Array
    """int32 [row + 1], scratch: row << 16 | the lanes that spike in this step, of the rows where one does."""


class Output(NamedTuple):
    """What a pass leaves behind."""

    states: Array
    """int8 (chains of the block, draws, units)."""
    every: int
    """Steps between draws, 0 for none."""
    until_draw: int
    """Steps up to and including that of the first draw."""
    spike_step: Array
    """int32 [spike], steps from the start of the pass; empty: don't keep spikes."""
    spike_source: Array
    """int32 [spike]: row * 16 + lane."""


@njit(forceinline=True)
def sfc32(a, b, c, counter):
    """Advance the generator of each lane: Chris Doty-Humphrey's sfc32, eleven instructions for eight words."""
    word = a + b + counter
    return (
        word,
        b ^ (b >> 9),
        c + (c << 3),
        ((c << 21) | (c >> 11)) + word,
        counter + broadcast(np.int32(1)),
    )


@njit(forceinline=True)
def noise(word, thresholds, jumps, at, levels):
    """Return what the background adds in this step, its constant part aside."""
    none = broadcast(np.float32(0.0))
    total = select(word < load(thresholds, at), load(jumps, at), none)
    for k in range(1, levels):
        total = total + select(word < load(thresholds, at + k * ROW), load(jumps, at + k * ROW), none)
    return total


@njit(forceinline=True)
def advance(
    block, at, free_at, tables, constant, bias_at, noise_exc, noise_inh, now, relaxation, conductance, degree
):
    """Step eight neurons and return their v.

    ``v += phi(x) (n - x v)`` with x = g_tot dt/c_m, n = the drive, phi(x) = (1 - exp(-x))/x: the exact
    solution for a step of constant conductance, without exponential or division.
    """
    dynamics, parameters = block.dynamics, tables.parameters
    c0, c1, c2, c3 = relaxation
    g_exc = load(dynamics, at) + noise_exc
    g_inh = load(dynamics, at + G_INH * ROW) + noise_inh
    v = load(dynamics, at + V * ROW)
    bias, leak = load(tables.bias, bias_at), load(parameters, constant + LEAK * ROW)
    if conductance:
        x = leak + g_exc + g_inh
        n = fmuladd(load(parameters, constant + E_EXC * ROW), g_exc, bias)
        n = fmuladd(load(parameters, constant + E_INH * ROW), g_inh, n)
        phi = fmuladd(c3, x, c2) if degree >= 3 else c2
        phi = fmuladd(phi, x, c1) if degree >= 2 else c1
        phi = fmuladd(phi, x, c0)
        v = fmuladd(phi, n - x * v, v)
    else:
        v = fmuladd(leak, v, bias + (g_exc - g_inh))
    store(dynamics, at, g_exc * load(parameters, constant + DECAY_EXC * ROW))
    store(dynamics, at + G_INH * ROW, g_inh * load(parameters, constant + DECAY_INH * ROW))
    v = select(load(block.free_at, free_at) > now, load(parameters, constant + RESET * ROW), v)
    store(dynamics, at + V * ROW, v)
    return v
