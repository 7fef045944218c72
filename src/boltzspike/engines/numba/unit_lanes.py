"""The kernel for large networks: a row is sixteen units of one chain."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import njit

from boltzspike.engines.numba.row import (
    ALL_BELOW,
    FIELDS,
    G_INH,
    KERNEL_OPTIONS,
    ROW,
    ROW_SHIFT,
    block_of,
    keep_spike,
    load_generator,
    load_relaxation,
    next_lane,
    rest,
    step_rows,
    store_generator,
)
from boltzspike.engines.numba.versions import KERNEL_VERSION
from boltzspike.simd import (
    LANES,
    broadcast,
    element,
    fmuladd,
    load,
    load_int16,
    maximum,
    put,
    store,
)


@njit(forceinline=True)
def add_spike(sums, weights, target, spike, one_trace):
    """Add one spike to the sums of eight targets: of exc max(w, 0), of inh max(w, 0) and of inh w."""
    at, exc, inh = spike
    w = load_int16(weights, at + target)
    positive = maximum(w, broadcast(np.float32(0.0)))
    of_exc = fmuladd(exc, positive, sums[0])
    of_inh = of_exc if one_trace else fmuladd(inh, positive, sums[1])
    return of_exc, of_inh, fmuladd(inh, w, sums[2])


@njit(forceinline=True)
def add_two_spikes(sums, weights, target, first, second, one_trace):
    """Add two."""
    return add_spike(add_spike(sums, weights, target, first, one_trace), weights, target, second, one_trace)


@njit(forceinline=True)
def deliver(dynamics, at, sums):
    """Give eight targets their input: positive weights to g_exc, negative ones to g_inh."""
    store(dynamics, at, load(dynamics, at) + sums[0])
    inh = at + G_INH * ROW
    store(dynamics, inh, load(dynamics, inh) + (sums[1] - sums[2]))


@njit(forceinline=True)
def fire(step, count, slot, units, traces, tables, block, output, b, kept):
    """Put the spikes of a step, in ``count`` rows, under way and their neurons to rest; return the spikes kept."""
    entry = slot * units
    for i in range(count):
        noted = element(block.spiking, i)
        row, spiked = noted >> ROW_SHIFT, noted & ALL_BELOW
        while spiked:
            lane, spiked = next_lane(spiked)
            unit = row * ROW + lane
            refractory, scale = element(tables.refractory, unit), element(tables.scales, unit)
            interval = min(step - element(block.free_at, unit) + refractory, tables.renewal_length - 1)
            put(block.sources, entry, unit)
            for trace in range(traces):
                renewal = element(tables.renewal, trace * tables.renewal_length + interval)
                put(block.increments, entry * traces + trace, renewal * scale)
            entry += 1
            rest(block, tables, row, lane, step + refractory)
            kept = keep_spike(output, b, kept, step, unit)
    put(block.arriving, slot, entry - slot * units)
    return kept


@njit(forceinline=True)
def spike_of(entry, traces, width, block):
    """Return where the weights of a spike are, and its increments."""
    exc = element(block.increments, entry * traces)
    inh = element(block.increments, entry * traces + traces - 1)
    return element(block.sources, entry) * width, broadcast(exc), broadcast(inh)


@njit(forceinline=True)
def arrive(slot, units, traces, rows, tables, block, one_trace):
    """Deliver the spikes of ``slot``, up to four at a time: conductances are loaded and stored once for them."""
    width, weights, dynamics = rows * ROW, tables.weights, block.dynamics
    nothing = broadcast(np.float32(0.0))
    nought = nothing, nothing, nothing
    entry, last = slot * units, slot * units + element(block.arriving, slot)
    while entry + 4 <= last:
        spike0, spike1 = spike_of(entry, traces, width, block), spike_of(entry + 1, traces, width, block)
        spike2, spike3 = spike_of(entry + 2, traces, width, block), spike_of(entry + 3, traces, width, block)
        for row in range(rows):
            for half in range(2):
                k = row * ROW + half * LANES
                sums = add_two_spikes(nought, weights, k, spike0, spike1, one_trace)
                sums = add_two_spikes(sums, weights, k, spike2, spike3, one_trace)
                deliver(dynamics, row * FIELDS * ROW + half * LANES, sums)
        entry += 4
    if entry + 2 <= last:
        spike0, spike1 = spike_of(entry, traces, width, block), spike_of(entry + 1, traces, width, block)
        for row in range(rows):
            for half in range(2):
                sums = add_two_spikes(nought, weights, row * ROW + half * LANES, spike0, spike1, one_trace)
                deliver(dynamics, row * FIELDS * ROW + half * LANES, sums)
        entry += 2
    if entry < last:
        spike = spike_of(entry, traces, width, block)
        for row in range(rows):
            for half in range(2):
                sums = add_spike(nought, weights, row * ROW + half * LANES, spike, one_trace)
                deliver(dynamics, row * FIELDS * ROW + half * LANES, sums)


@cache
def unit_lanes_kernel(
    *,
    conductance: bool,
    levels: int,
    bits_a_draw: int,
    degree: int,
    one_trace: bool,
    version: int = KERNEL_VERSION,
) -> Any:
    """Return the compiled kernel for one setting of its constants: see ``chain_lanes_kernel``.

    ``one_trace``: the two synapses share their time constant.
    """

    @njit(**KERNEL_OPTIONS)
    def run_blocks(first_block, last_block, steps, first_slot, slots, units, traces, tables, blocks, output):
        """Advance the blocks ``first_block <= b < last_block``, a chain each."""
        relaxation = load_relaxation(tables)
        rows = -(-units // ROW)
        for b in range(first_block, last_block):
            block = block_of(blocks, b)
            generator = load_generator(block)
            slot, kept, draw, until_draw = first_slot, 0, 0, output.until_draw
            for step in range(steps):
                now = broadcast(np.int32(step))
                count, generator = step_rows(
                    rows, block, tables, generator, now, relaxation, conductance, levels, bits_a_draw, degree
                )
                # g has decayed already. The delay is a step at least, so these are no spikes of this step
                oldest = slot + 1 if slot + 1 < slots else 0
                arrive(oldest, units, traces, rows, tables, block, one_trace)
                kept = fire(step, count, slot, units, traces, tables, block, output, b - first_block, kept)
                slot = oldest

                until_draw -= 1
                if until_draw == 0:
                    for unit in range(units):
                        output.states[b, draw, unit] = block.free_at[unit] > step
                    draw += 1
                    until_draw = output.every

            store_generator(block, generator)
            output.kept[b - first_block] = kept
        return version

    return run_blocks
