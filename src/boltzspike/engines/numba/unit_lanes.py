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
    RESET,
    ROW,
    ROW_SHIFT,
    V,
    load_generator,
    load_relaxation,
    next_lane,
    step_rows,
    store_generator,
)
from boltzspike.engines.numba.versions import KERNEL_VERSION
from boltzspike.simd import (
    LANES,
    broadcast,
    fmuladd,
    load,
    load_int16,
    maximum,
    store,
)


@njit(forceinline=True)
def add_spike(sums, weights, at, exc, inh, one_trace):
    """Add one spike to the sums of eight targets: of exc max(w, 0), of inh max(w, 0) and of inh w."""
    w = load_int16(weights, at)
    positive = maximum(w, broadcast(np.float32(0.0)))
    of_exc = fmuladd(exc, positive, sums[0])
    of_inh = of_exc if one_trace else fmuladd(inh, positive, sums[1])
    return of_exc, of_inh, fmuladd(inh, w, sums[2])


@njit(forceinline=True)
def deliver(dynamics, at, sums):
    """Give eight targets their input: positive weights to g_exc, negative ones to g_inh."""
    store(dynamics, at, load(dynamics, at) + sums[0])
    inh = at + G_INH * ROW
    store(dynamics, inh, load(dynamics, inh) + (sums[1] - sums[2]))


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

    @njit(nogil=True, cache=True)
    def run_block(steps, first_slot, slots, units, traces, tables, block, output):
        """Advance one chain; return the number of spikes kept."""
        dynamics, free_at = block.dynamics, block.free_at
        arriving, sources, increments, spiking = block.arriving, block.sources, block.increments, block.spiking
        weights = tables.weights
        rows = len(free_at) // ROW
        width, inh = rows * ROW, traces - 1
        nothing = broadcast(np.float32(0.0))
        relaxation = load_relaxation(tables)
        generator = load_generator(block)
        keep_spikes = len(output.spike_step) > 0
        kept, draw, until_draw = 0, 0, output.until_draw
        slot = first_slot
        for step in range(steps):
            now = broadcast(np.int32(step))
            count, generator = step_rows(
                rows, block, tables, generator, now, relaxation, conductance, levels, bits_a_draw, degree
            )

            entries = slot * units
            for i in range(count):
                row, spiked = spiking[i] >> ROW_SHIFT, spiking[i] & ALL_BELOW
                while spiked:
                    lane, spiked = next_lane(spiked)
                    unit = row * ROW + lane
                    refractory = tables.refractory[unit]
                    interval = min(step - free_at[unit] + refractory, tables.renewal_length - 1)
                    sources[entries] = unit
                    for trace in range(traces):
                        renewal = tables.renewal[trace * tables.renewal_length + interval]
                        increments[entries * traces + trace] = renewal * tables.scales[unit]
                    entries += 1
                    free_at[unit] = step + refractory
                    # the next step does it again, unless the refractory period is one step
                    dynamics[(row * FIELDS + V) * ROW + lane] = tables.parameters[
                        row * tables.parameter_stride + RESET * ROW + lane
                    ]
                    if keep_spikes:
                        output.spike_step[kept] = step
                        output.spike_source[kept] = unit
                        kept += 1
            arriving[slot] = entries - slot * units
            slot = slot + 1 if slot + 1 < slots else 0

            # the oldest slot arrives with the next step; g has decayed already. Four spikes at a time, so
            # that conductances are loaded and stored once for four
            entry, last = slot * units, slot * units + arriving[slot]
            while entry + 4 <= last:
                w0, w1 = sources[entry] * width, sources[entry + 1] * width
                w2, w3 = sources[entry + 2] * width, sources[entry + 3] * width
                i = entry * traces
                exc0, inh0 = broadcast(increments[i]), broadcast(increments[i + inh])
                i += traces
                exc1, inh1 = broadcast(increments[i]), broadcast(increments[i + inh])
                i += traces
                exc2, inh2 = broadcast(increments[i]), broadcast(increments[i + inh])
                i += traces
                exc3, inh3 = broadcast(increments[i]), broadcast(increments[i + inh])
                for row in range(rows):
                    for half in range(2):
                        k = row * ROW + half * LANES
                        sums = add_spike((nothing, nothing, nothing), weights, w0 + k, exc0, inh0, one_trace)
                        sums = add_spike(sums, weights, w1 + k, exc1, inh1, one_trace)
                        sums = add_spike(sums, weights, w2 + k, exc2, inh2, one_trace)
                        sums = add_spike(sums, weights, w3 + k, exc3, inh3, one_trace)
                        deliver(dynamics, row * FIELDS * ROW + half * LANES, sums)
                entry += 4
            while entry < last:
                w0, i = sources[entry] * width, entry * traces
                exc0, inh0 = broadcast(increments[i]), broadcast(increments[i + inh])
                for row in range(rows):
                    for half in range(2):
                        k = row * ROW + half * LANES
                        sums = add_spike((nothing, nothing, nothing), weights, w0 + k, exc0, inh0, one_trace)
                        deliver(dynamics, row * FIELDS * ROW + half * LANES, sums)
                entry += 1

            until_draw -= 1
            if until_draw == 0:
                for unit in range(units):
                    output.states[0, draw, unit] = free_at[unit] > step
                draw += 1
                until_draw = output.every

        store_generator(block, generator)
        return kept, version

    return run_block
