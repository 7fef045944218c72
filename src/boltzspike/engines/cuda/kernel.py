"""The persistent kernel: a row of threads advances a chain through all steps of a launch.

A thread owns the units k = x, x + threads, ... of its chain and keeps their state from the first step to the last
(in registers, where it owns one). Threads of a chain meet twice a step: after the thresholds, when it is known who
spiked, and after the spikes were listed, ordered by unit: so sums of weights, and with them all bits, don't depend
on which thread came first. The order of events is that of ``boltzspike.program``.

Rows of small chains share a block. They don't share data; each meets the others at the barriers alone.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import cuda

from boltzspike import streams
from boltzspike.program import FREE

Array = Any

LEAK, BIAS, E_EXC, E_INH, RESET, DECAY_EXC, DECAY_INH, RATE_EXC, RATE_INH, PARAMETERS = range(10)
"""Rows of ``Tables.parameters``; potentials are measured from threshold, conductances in c_m/dt."""
MOST_THREADS = 512
"""Of a chain. Units beyond so many share threads."""
REGISTERS = 65536 // MOST_THREADS
"""Of a thread, at most: a multiprocessor has 65,536, and a block must fit one."""
OPTIONS = {} if numba.config.ENABLE_CUDASIM else {"max_registers": REGISTERS}  # type: ignore[attr-defined]
"""The simulator knows no registers."""
WORD = 32

philox4x32 = cuda.jit(streams.philox4x32, device=True)


class Tables(NamedTuple):
    """A program as the kernel reads it; what it lacks is there as an array of no entries."""

    parameters: Array
    """Real (PARAMETERS, units)."""
    refractory: Array
    """int64 (units,), steps."""
    clamp: Array
    thresholds: Array
    """uint32: cumulative Poisson distributions, one after another."""
    offsets: Array
    """int32 (units, sources + 1): where the thresholds of each source begin and end."""
    source_weights: Array
    """Real (units, sources); the sign says which synapse."""
    weights: Array
    """Real (sources, targets), or the entries of a sparse matrix by source (entries, 1); sign as above."""
    first: Array
    """int32 (units + 1,): the first sparse entry of each source."""
    targets: Array
    """int32 (entries,)."""


class Dynamics(NamedTuple):
    """The state, read at the first step and written at the last; first axis: chains."""

    u: Array
    excitation: Array
    inhibition: Array
    last_spike: Array
    listed: Array
    """int32 (chains, delay + 1): number of spikes at index step % (delay + 1)."""
    sources: Array
    """int32 (chains, delay + 1, units): the units of those spikes, in their order."""
    carried: Array
    """Real (chains, delay + 1, units, 2): what each carries to excitatory and inhibitory synapses."""


class Output(NamedTuple):
    """What a launch leaves; what is not kept has no entries."""

    every: int
    """Steps between draws; 0: none."""
    states: Array
    """int8 (chains, draws, units)."""
    voltages: Array
    """Real (chains, steps, units), from threshold."""
    kept: Array
    """int64 (chains,): number of spikes."""
    spike_step: Array
    spike_unit: Array
    """(chains, room)."""
    spikes: Array
    """int64 (chains, units): how often each unit spiked."""
    place: Array
    """int32 (units,): bit of the unit in the joint state, -1 where it is in none."""
    joint: Array
    """int64 (chains, 2^n): steps in each joint state."""


@cuda.jit(device=True)
def count_events(thresholds, first, last, word):
    """Count the thresholds that do not exceed the word: linear over short tables, else by bisection."""
    low, high = first, last
    while high - low > 8:
        middle = (low + high) // 2
        if word >= thresholds[middle]:
            low = middle + 1
        else:
            high = middle
    while low < high and word >= thresholds[low]:
        low += 1
    return low - first


@cuda.jit(device=True)
def count_bits(spiking, row, phase, unit):
    """Count the units below ``unit`` that spiked: its place in the list."""
    below = 0
    for word in range(unit // WORD):
        below += cuda.popc(spiking[row, phase, word])
    mask = (np.uint32(1) << np.uint32(unit % WORD)) - np.uint32(1)
    return below + cuda.popc(spiking[row, phase, unit // WORD] & mask)


@cache
def chain_kernel(
    *,
    units: int,
    threads: int,
    rows: int,
    conductance: bool,
    renewing: bool,
    alike: bool,
    sparse: bool,
    clamped: bool,
    sources: int,
    dtype: np.dtype,
) -> Any:
    """Return the kernel for one setting of its constants.

    Parameters
    ----------
    threads
        Of a chain.
    rows
        Chains of a block, at most.
    alike
        All units share tau_syn: what a spike carries is then the same for all its targets.
    clamped
        Some units are clamped.
    """
    real = getattr(numba, dtype.name)
    one = dtype.type(1)
    a_thread = -(-units // threads)
    calls = -(-sources // streams.SOURCES_PER_CALL)
    words = -(-units // WORD)
    per_target = renewing and not alike

    @cuda.jit(**OPTIONS)
    def run(start, steps, chains, seed_low, seed_high, tables, dynamics, arriving, output):
        x, row = cuda.threadIdx.x, cuda.threadIdx.y
        chain = cuda.blockIdx.x * cuda.blockDim.y + row
        alive = chain < chains
        mine = units if alive else 0
        parameters, source_weights, weights = tables.parameters, tables.source_weights, tables.weights
        slots = dynamics.listed.shape[1]
        keep_spikes, keep_voltages = output.spike_step.shape[1] > 0, output.voltages.shape[1] > 0
        count_spikes, count_joint = output.spikes.shape[1] > 0, output.joint.shape[1] > 0

        # by the parity of the step: who spiked, how many, and the joint state
        spiking = cuda.shared.array((rows, 2, words), numba.uint32)
        fired = cuda.shared.array((rows, 2), numba.int32)
        joint_state = cuda.shared.array((rows, 2), numba.int32)
        for parity in range(2):
            for word in range(x, words, threads):
                spiking[row, parity, word] = 0
            if x == 0:
                fired[row, parity] = 0
                joint_state[row, parity] = 0

        u = cuda.local.array(a_thread, real)
        excitation = cuda.local.array(a_thread, real)
        inhibition = cuda.local.array(a_thread, real)
        last_spike = cuda.local.array(a_thread, numba.int64)
        interval = cuda.local.array(a_thread, numba.int64)
        for i in range(a_thread):
            k = x + i * threads
            if k < mine:
                u[i] = dynamics.u[chain, k]
                excitation[i] = dynamics.excitation[chain, k]
                inhibition[i] = dynamics.inhibition[chain, k]
                last_spike[i] = dynamics.last_spike[chain, k]
        cuda.syncthreads()

        slot, phase, kept, draw = start % slots, 0, 0, 0
        until_draw = output.every - start % output.every if output.every > 0 else -1
        for step in range(start, start + steps):
            low, high = np.uint64(step & 0xFFFFFFFF), np.uint64(step >> 32)
            due = dynamics.listed[chain, slot] if alive else 0
            until_draw -= 1

            if sparse:
                # one chain a block; no source has two synapses with one target
                for entry in range(due):
                    source = dynamics.sources[chain, slot, entry]
                    for at in range(tables.first[source] + x, tables.first[source + 1], threads):
                        k, w = tables.targets[at], weights[at, 0]
                        kind = 0 if w > 0 else 1
                        carried = dynamics.carried[chain, slot, entry, kind]
                        if per_target:
                            carried = -math.expm1(-carried * parameters[RATE_EXC + kind, k])
                        arriving[chain, kind, k] += abs(w) * carried
                    cuda.syncthreads()

            for i in range(a_thread):
                k = x + i * threads
                if k < mine:
                    # 1. Arrivals: background, then recurrent spikes
                    exc, inh = excitation[i], inhibition[i]
                    for call in range(calls):
                        block = high | np.uint64(call << 16)
                        drawn = philox4x32(low, block, np.uint64(k), np.uint64(chain), seed_low, seed_high)
                        for b in range(min(streams.SOURCES_PER_CALL, sources - streams.SOURCES_PER_CALL * call)):
                            s = streams.SOURCES_PER_CALL * call + b
                            first, last = tables.offsets[k, s], tables.offsets[k, s + 1]
                            events = count_events(tables.thresholds, first, last, drawn[b])
                            w = source_weights[k, s]
                            if w >= 0:
                                exc += real(events) * w
                            else:
                                inh -= real(events) * w
                    if sparse:
                        if due > 0:
                            exc += arriving[chain, 0, k]
                            inh += arriving[chain, 1, k]
                            arriving[chain, 0, k] = 0
                            arriving[chain, 1, k] = 0
                    else:
                        for entry in range(due):
                            w = weights[dynamics.sources[chain, slot, entry], k]
                            kind = 0 if w > 0 else 1
                            carried = dynamics.carried[chain, slot, entry, kind]
                            if per_target:
                                carried = -math.expm1(-carried * parameters[RATE_EXC + kind, k])
                            if w > 0:
                                exc += w * carried
                            else:
                                inh -= w * carried

                    # 2. Membrane
                    free = step - last_spike[i] >= tables.refractory[k]
                    held = clamped and tables.clamp[k] != FREE
                    spiked = False
                    if free and not held:
                        x_total = parameters[LEAK, k]
                        if conductance:
                            x_total += exc + inh
                        drive = parameters[BIAS, k] + parameters[E_EXC, k] * exc + parameters[E_INH, k] * inh
                        u_inf = drive / x_total
                        u[i] = u_inf + (u[i] - u_inf) * math.exp(-x_total)
                        spiked = u[i] >= 0
                    else:
                        u[i] = parameters[RESET, k]
                        spiked = free and tables.clamp[k] == 1

                    # 3. Threshold
                    if spiked:
                        u[i] = parameters[RESET, k]
                        interval[i] = step - last_spike[i]
                        last_spike[i] = step
                        cuda.atomic.or_(spiking, (row, phase, k // WORD), np.uint32(1) << np.uint32(k % WORD))
                        cuda.atomic.add(fired, (row, phase), 1)
                        if count_spikes:
                            output.spikes[chain, k] += 1

                    # 4. Decay
                    excitation[i] = exc * parameters[DECAY_EXC, k]
                    inhibition[i] = inh * parameters[DECAY_INH, k]

                    if keep_voltages:
                        output.voltages[chain, step - start, k] = u[i]
                    if until_draw == 0 or count_joint:
                        on = step - last_spike[i] < tables.refractory[k]
                        if until_draw == 0:
                            output.states[chain, draw, k] = on
                        if count_joint and on and output.place[k] >= 0:
                            cuda.atomic.or_(joint_state, (row, phase), 1 << output.place[k])
            cuda.syncthreads()

            # all have spiked who do: list them by unit; what the next step needs is cleared meanwhile
            count = fired[row, phase]
            if count > 0:
                for i in range(a_thread):
                    k = x + i * threads
                    if k < mine and last_spike[i] == step:
                        entry = count_bits(spiking, row, phase, k)
                        dynamics.sources[chain, slot, entry] = k
                        for kind in range(2):
                            carried = one
                            if per_target:
                                carried = real(interval[i])
                            elif renewing:
                                carried = -math.expm1(-real(interval[i]) * parameters[RATE_EXC + kind, k])
                            dynamics.carried[chain, slot, entry, kind] = carried
                        if keep_spikes:
                            output.spike_step[chain, kept + entry] = step
                            output.spike_unit[chain, kept + entry] = k
            for word in range(x, words, threads):
                spiking[row, 1 - phase, word] = 0
            if x == 0:
                fired[row, 1 - phase] = 0
                if alive:
                    dynamics.listed[chain, slot] = count
                    if count_joint:
                        output.joint[chain, joint_state[row, phase]] += 1
                joint_state[row, 1 - phase] = 0
            cuda.syncthreads()

            kept += count
            slot = slot + 1 if slot + 1 < slots else 0
            phase = 1 - phase
            if until_draw == 0:
                draw += 1
                until_draw = output.every

        for i in range(a_thread):
            k = x + i * threads
            if k < mine:
                dynamics.u[chain, k] = u[i]
                dynamics.excitation[chain, k] = excitation[i]
                dynamics.inhibition[chain, k] = inhibition[i]
                dynamics.last_spike[chain, k] = last_spike[i]
        if alive and x == 0:
            output.kept[chain] = kept

    return run


@cuda.jit
def count_pairs(states, every, counts):
    """Count the draws with z_k = z_j = 1, a pair a thread.

    ``states`` (chains, draws, units); ``every`` is the first draw that counts and the stride to the next.
    """
    k, j = cuda.grid(2)
    units = states.shape[2]
    if k >= units or j > k:
        return
    together = 0
    for chain in range(states.shape[0]):
        for draw in range(every[0], states.shape[1], every[1]):
            together += states[chain, draw, k] & states[chain, draw, j]
    counts[k, j] = together
    counts[j, k] = together
