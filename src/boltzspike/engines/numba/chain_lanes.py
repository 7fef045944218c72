"""The kernel for small networks: a row is one unit in sixteen chains."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import njit

from boltzspike.engines.numba.row import (
    ALL_BELOW,
    FIELDS,
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
from boltzspike.simd import LANES, broadcast, fmuladd, load, store

LOW_HALF = 2**LANES - 1


@cache
def chain_lanes_kernel(
    *, conductance: bool, levels: int, bits_a_draw: int, degree: int, version: int = KERNEL_VERSION
) -> Any:
    """Return the compiled kernel for one setting of its constants.

    Parameters
    ----------
    conductance
        Whether synapses are conductances.
    levels
        Thresholds of the background noise.
    packed
        Whether one random word serves four draws of noise.
    degree
        Degree of the membrane's polynomial.
    version
        Part of the cache's key.
    """

    @njit(nogil=True, cache=True)
    def run_block(steps, first_slot, slots, units, traces, tables, block, output):
        """Advance sixteen chains; return the number of spikes kept."""
        dynamics, free_at = block.dynamics, block.free_at
        arriving, sources, increments, spiking = block.arriving, block.sources, block.increments, block.spiking
        relaxation = load_relaxation(tables)
        generator = load_generator(block)
        keep_spikes = len(output.spike_step) > 0
        chains, kept, draw, until_draw = output.states.shape[0], 0, 0, output.until_draw
        slot = first_slot
        nothing = broadcast(np.float32(0.0))
        for step in range(steps):
            now = broadcast(np.int32(step))
            count, generator = step_rows(
                units, block, tables, generator, now, relaxation, conductance, levels, bits_a_draw, degree
            )

            first = slot * units
            for i in range(count):
                unit, spiked, entry = spiking[i] >> ROW_SHIFT, spiking[i] & ALL_BELOW, first + i
                # nearly always one half of the row
                first_half, last_half = int(spiked & LOW_HALF == 0), int(spiked > LOW_HALF)
                sources[entry] = unit << 2 | first_half << 1 | last_half
                refractory = tables.refractory[unit]
                while spiked:
                    lane, spiked = next_lane(spiked)
                    neuron = unit * ROW + lane
                    interval = min(step - free_at[neuron] + refractory, tables.renewal_length - 1)
                    for trace in range(traces):
                        increments[(entry * traces + trace) * ROW + lane] = tables.renewal[
                            trace * tables.renewal_length + interval
                        ]
                    free_at[neuron] = step + refractory
                    # the next step does it again, unless the refractory period is one step
                    dynamics[(unit * FIELDS + V) * ROW + lane] = tables.parameters[
                        unit * tables.parameter_stride + RESET * ROW + lane
                    ]
                    if keep_spikes:
                        output.spike_step[kept] = step
                        output.spike_source[kept] = neuron
                        kept += 1
            arriving[slot] = count

            # what is due arrives with the next step; g has decayed already. The oldest slot is left empty
            for delay in range(len(tables.delays)):
                due = slot - tables.delays[delay]
                due = due + slots if due < 0 else due
                oldest = delay == len(tables.delays) - 1
                first = due * units
                for entry in range(first, first + arriving[due]):
                    source = sources[entry]
                    for half in range(source >> 1 & 1, (source & 1) + 1):
                        for trace in range(traces):
                            at = (entry * traces + trace) * ROW + half * LANES
                            increment = load(increments, at)
                            if oldest:
                                store(increments, at, nothing)
                            key = (delay * units + (source >> 2)) * traces + trace
                            for k in range(tables.connections[key], tables.connections[key + 1]):
                                g = tables.targets[k] + half * LANES
                                weight = broadcast(tables.weights[k])
                                store(dynamics, g, fmuladd(increment, weight, load(dynamics, g)))
            slot = slot + 1 if slot + 1 < slots else 0

            until_draw -= 1
            if until_draw == 0:
                for unit in range(units):
                    for chain in range(chains):
                        output.states[chain, draw, unit] = free_at[unit * ROW + chain] > step
                draw += 1
                until_draw = output.every

        store_generator(block, generator)
        return kept, version

    return run_block
