"""The kernel for small networks: a row is one unit in sixteen chains."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import njit

from boltzspike.engines.numba.row import (
    ALL_BELOW,
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
from boltzspike.simd import LANES, broadcast, element, fmuladd, load, put, store

LOW_HALF = 2**LANES - 1


@njit(forceinline=True)
def fire(step, count, slot, units, traces, tables, block, output, b, kept):
    """Put the spikes of a step, in ``count`` rows, under way and their neurons to rest; return the spikes kept."""
    for i in range(count):
        noted, entry = element(block.spiking, i), slot * units + i
        unit, spiked = noted >> ROW_SHIFT, noted & ALL_BELOW
        # nearly always one half of the row
        first_half, last_half = int(spiked & LOW_HALF == 0), int(spiked > LOW_HALF)
        put(block.sources, entry, unit << 2 | first_half << 1 | last_half)
        refractory = element(tables.refractory, unit)
        while spiked:
            lane, spiked = next_lane(spiked)
            neuron = unit * ROW + lane
            interval = min(step - element(block.free_at, neuron) + refractory, tables.renewal_length - 1)
            for trace in range(traces):
                renewal = element(tables.renewal, trace * tables.renewal_length + interval)
                put(block.increments, (entry * traces + trace) * ROW + lane, renewal)
            rest(block, tables, unit, lane, step + refractory)
            kept = keep_spike(output, b, kept, step, neuron)
    put(block.arriving, slot, count)
    return kept


@njit(forceinline=True)
def arrive(slot, slots, units, traces, tables, block):
    """Deliver what is due in the step after that of ``slot``; the oldest slot is left empty."""
    nothing = broadcast(np.float32(0.0))
    for delay in range(len(tables.delays)):
        due = slot - tables.delays[delay]
        due = due + slots if due < 0 else due
        oldest = delay == len(tables.delays) - 1
        for entry in range(due * units, due * units + element(block.arriving, due)):
            source = element(block.sources, entry)
            for half in range(source >> 1 & 1, (source & 1) + 1):
                for trace in range(traces):
                    at = (entry * traces + trace) * ROW + half * LANES
                    increment = load(block.increments, at)
                    if oldest:
                        store(block.increments, at, nothing)
                    key = (delay * units + (source >> 2)) * traces + trace
                    for k in range(element(tables.connections, key), element(tables.connections, key + 1)):
                        g = element(tables.targets, k) + half * LANES
                        weight = broadcast(element(tables.weights, k))
                        store(block.dynamics, g, fmuladd(increment, weight, load(block.dynamics, g)))


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
    bits_a_draw
        Random bits that make a draw.
    degree
        Degree of the membrane's polynomial.
    version
        Part of the cache's key.
    """

    @njit(**KERNEL_OPTIONS)
    def run_blocks(first_block, last_block, steps, first_slot, slots, units, traces, tables, blocks, output):
        """Advance the blocks ``first_block <= b < last_block``, sixteen chains each."""
        relaxation = load_relaxation(tables)
        for b in range(first_block, last_block):
            block = block_of(blocks, b)
            generator = load_generator(block)
            first_chain, last_chain = b * ROW, min((b + 1) * ROW, output.states.shape[0])
            slot, kept, draw, until_draw = first_slot, 0, 0, output.until_draw
            for step in range(steps):
                now = broadcast(np.int32(step))
                count, generator = step_rows(
                    units, block, tables, generator, now, relaxation, conductance, levels, bits_a_draw, degree
                )
                # g has decayed already. Delays are a step at least, so these are no spikes of this step
                arrive(slot, slots, units, traces, tables, block)
                kept = fire(step, count, slot, units, traces, tables, block, output, b - first_block, kept)
                slot = slot + 1 if slot + 1 < slots else 0

                until_draw -= 1
                if until_draw == 0:
                    for unit in range(units):
                        for chain in range(first_chain, last_chain):
                            on = block.free_at[unit * ROW + chain - first_chain] > step
                            output.states[chain, draw, unit] = on
                    draw += 1
                    until_draw = output.every

            store_generator(block, generator)
            output.kept[b - first_block] = kept
        return version

    return run_blocks
