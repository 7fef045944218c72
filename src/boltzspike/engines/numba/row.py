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

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from boltzspike.simd import (
    LANES,
    bits,
    broadcast,
    element,
    fmuladd,
    load,
    negative,
    pick,
    put,
    select,
    store,
    trailing_zeros,
)

Array = np.ndarray
ROW = 2 * LANES
HIGH_HALF, ROW_SHIFT = 16, 32
ALL_BELOW = 0xFF00FF
"""The lanes of a row as bits: those of the upper half apart, else LLVM joins the masks of halves by shuffles."""
PICKED = 0
"""Thresholds of a law that is a table of eight values, each as likely."""
KERNEL_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "_nrt": False}
"""Without numba's runtime references to arrays aren't counted. Each count is a call, made in each step where numba
can't see that it need not; together they had cost as much as the neurons."""
MAX_DEGREE = 6
"""Of the membrane's polynomial."""
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
    """float32 [MAX_DEGREE + 1]: polynomial of (1 - exp(-x)) / x, constant first."""
    refractory: Array
    """int32 [unit], steps."""
    renewal: Array
    """float32 [trace][interval]: increment of a synaptic trace after an interval in steps."""
    renewal_length: int
    targets: Array
    """Chain lanes: int32 [connection], where the conductance of the target lies in the block's state."""
    weights: Array
    """Chain lanes: float32 [connection]. Unit lanes: int16 [source][target], in units of ``scales``; the sign says
    which synapse."""
    scales: Array
    """Unit lanes: float32 [source]."""
    connections: Array
    """Chain lanes: int32 [(delay * units + source) * traces + trace], the first connection of each."""
    delays: Array
    """Chain lanes: int32 [delay], steps, rising; the last is the longest, whose spikes are the oldest kept."""


class Block(NamedTuple):
    """The state of one block, flat arrays that the kernel writes to; of many, the same with one axis more."""

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
    """int64 [row + 1], scratch: row << 32 | the lanes that spike in this step, of the rows where one does; the
    upper half of the lanes from bit 16."""


class Output(NamedTuple):
    """What a pass leaves behind."""

    states: Array
    """int8 (chains of all blocks, draws, units)."""
    every: int
    """Steps between draws, 0 for none."""
    until_draw: int
    """Steps up to and including that of the first draw."""
    kept: Array
    """int64 (blocks of this call,): number of spikes kept of each."""
    spike_step: Array
    """int32 (blocks of this call, spikes), steps from the start of the pass; no room: don't keep spikes."""
    spike_source: Array
    """int32 (blocks of this call, spikes): row * 16 + lane."""


@njit(forceinline=True)
def block_of(blocks, b):
    """Return one of many blocks."""
    return Block(
        blocks.dynamics[b],
        blocks.free_at[b],
        blocks.generator[b],
        blocks.arriving[b],
        blocks.sources[b],
        blocks.increments[b],
        blocks.spiking[b],
    )


@njit(forceinline=True)
def sfc32(generator):
    """Advance the generator of each lane: Chris Doty-Humphrey's sfc32, eleven instructions for eight words."""
    a, b, c, counter = generator
    word = a + b + counter
    turned = (c << 21) | (c >> 11)
    return word, (b ^ (b >> 9), c + (c << 3), turned + word, counter + broadcast(np.int32(1)))


@njit(forceinline=True)
def load_generator(block):
    """Return the generator of each lane."""
    state = block.generator
    return load(state, 0), load(state, LANES), load(state, 2 * LANES), load(state, 3 * LANES)


@njit(forceinline=True)
def store_generator(block, generator):
    """Keep it for the next pass."""
    for i in range(4):
        store(block.generator, i * LANES, generator[i])


@njit(forceinline=True)
def load_relaxation(tables):
    """Return the coefficients of the membrane's polynomial, constant first."""
    c = tables.relaxation
    return (
        broadcast(c[0]), broadcast(c[1]), broadcast(c[2]), broadcast(c[3]), broadcast(c[4]), broadcast(c[5]),
        broadcast(c[6]),
    )  # fmt: skip


@njit(forceinline=True)
def noise(word, thresholds, jumps, at, levels):
    """Return what the background adds in a step, its constant part aside."""
    if levels == PICKED:
        return pick(load(jumps, at), word)
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
    c0, c1, c2, c3, c4, c5, c6 = relaxation
    # the arrivals of this step are there already: what they are is known long before they are needed
    g_exc = load(dynamics, at)
    g_inh = load(dynamics, at + G_INH * ROW)
    v = load(dynamics, at + V * ROW)
    bias, leak = load(tables.bias, bias_at), load(parameters, constant + LEAK * ROW)
    if conductance:
        x = leak + g_exc + g_inh
        n = fmuladd(load(parameters, constant + E_EXC * ROW), g_exc, bias)
        n = fmuladd(load(parameters, constant + E_INH * ROW), g_inh, n)
        phi = fmuladd(c6, x, c5) if degree >= 6 else c5
        phi = fmuladd(phi, x, c4) if degree >= 5 else c4
        phi = fmuladd(phi, x, c3) if degree >= 4 else c3
        phi = fmuladd(phi, x, c2) if degree >= 3 else c2
        phi = fmuladd(phi, x, c1) if degree >= 2 else c1
        phi = fmuladd(phi, x, c0)
        v = fmuladd(phi, n - x * v, v)
    else:
        v = fmuladd(leak, v, bias + (g_exc - g_inh))
    store(dynamics, at, fmuladd(g_exc, load(parameters, constant + DECAY_EXC * ROW), noise_exc))
    store(dynamics, at + G_INH * ROW, fmuladd(g_inh, load(parameters, constant + DECAY_INH * ROW), noise_inh))
    v = select(load(block.free_at, free_at) > now, load(parameters, constant + RESET * ROW), v)
    store(dynamics, at + V * ROW, v)
    return v


@njit(forceinline=True)
def step_row(row, words, block, tables, now, relaxation, conductance, levels, degree):
    """Step sixteen neurons with a random word for each half and synapse; return the lanes that spike, as bits."""
    at, lane_at = row * FIELDS * ROW, row * ROW
    constant, exc = row * tables.parameter_stride, row * tables.noise_stride
    # a table is the same for all lanes
    inh, half = (exc + LANES, 0) if levels == PICKED else (exc + levels * ROW, LANES)
    v_low = advance(
        block, at, lane_at, tables, constant, lane_at,
        noise(words[0], tables.thresholds, tables.jumps, exc, levels),
        noise(words[1], tables.thresholds, tables.jumps, inh, levels),
        now, relaxation, conductance, degree,
    )  # fmt: skip
    v_high = advance(
        block, at + LANES, lane_at + LANES, tables, constant + LANES, lane_at + LANES,
        noise(words[2], tables.thresholds, tables.jumps, exc + half, levels),
        noise(words[3], tables.thresholds, tables.jumps, inh + half, levels),
        now, relaxation, conductance, degree,
    )  # fmt: skip
    return (bits(negative(v_low)) | bits(negative(v_high)) << HIGH_HALF) ^ ALL_BELOW


@njit(forceinline=True)
def next_lane(spiked):
    """Return the first lane that spikes, and the lanes after it."""
    bit = trailing_zeros(spiked)
    return bit - (bit >> 4 << 3), spiked & spiked - 1


@njit(forceinline=True)
def note(spiking, count, row, spiked):
    """Note the lanes of a row that spike; without a branch, which would be guessed wrong at every spike."""
    put(spiking, count, row << ROW_SHIFT | spiked)
    return count + int(spiked != 0)


@njit(forceinline=True)
def rest(block, tables, row, lane, until):
    """Put a neuron that spiked to its reset potential, up to a step."""
    put(block.free_at, row * ROW + lane, until)
    # the next step does it again, unless the refractory period is one step
    reset = element(tables.parameters, row * tables.parameter_stride + RESET * ROW + lane)
    put(block.dynamics, (row * FIELDS + V) * ROW + lane, reset)


@njit(forceinline=True)
def keep_spike(output, b, kept, step, neuron):
    """Keep a spike of the block that is the b-th of this call, if spikes are kept; return how many are."""
    if output.spike_step.shape[1] == 0:
        return kept
    output.spike_step[b, kept] = step
    output.spike_source[b, kept] = neuron
    return kept + 1


@njit(forceinline=True)
def step_rows(rows, block, tables, generator, now, relaxation, conductance, levels, bits_a_draw, degree):
    """Step all rows; return how many hold a spike, which ``block.spiking`` lists, and the generator."""
    spiking, count = block.spiking, 0
    for row in range(rows):
        word, generator = sfc32(generator)
        if bits_a_draw == 3:
            words = word >> 29, word >> 26, word >> 23, word >> 20
        elif bits_a_draw == 8:
            words = word, word << 8, word << 16, word << 24
        else:
            second, generator = sfc32(generator)
            third, generator = sfc32(generator)
            fourth, generator = sfc32(generator)
            words = word, second, third, fourth
        spiked = step_row(row, words, block, tables, now, relaxation, conductance, levels, degree)
        count = note(spiking, count, row, spiked)
    return count, generator
