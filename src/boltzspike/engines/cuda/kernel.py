"""The persistent kernel: a team of threads advances a chain through all steps of a launch.

A thread owns the units k = x, x + threads, ... of its chain and keeps their state from the first step to the last.
Who spikes sets a bit in shared memory. When all of the team have come to the one barrier of a step, those who
spiked list themselves, by unit: so sums of weights, and with them all bits, don't depend on which thread came
first. The bits of a step are written before its barrier, read after it, and cleared after the next: of three sets
each does one. A list is read a delay of a step or more after it was made, so past a barrier too. The order of
events is that of ``boltzspike.program``.

Teams of small chains share a warp, where they fill it, and meet in it; else they share a block, or have their own.

Indices are unsigned throughout: numba lets signed ones count from the end, and tests for it at every access.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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
HELD = RATE_EXC
"""Rows of parameters up to here are kept in registers."""
WARP = WORD = 32
GUIDE_SHIFT, CELLS = 24, 256
"""The highest bits of a word, beyond so many, say where the search for its number of events begins."""
LONG_BEFORE = -(2**30)
"""Steps before a launch at which a spike counts as earlier than all; launches are shorter."""
KEEPS = frozenset({"states", "voltages", "spikes", "on", "joint"})
"""What a launch may leave, see ``Output``."""
SIMULATED = bool(numba.config.ENABLE_CUDASIM)  # type: ignore[attr-defined]

u32, u64, i32 = np.uint32, np.uint64, np.int32
philox4x32 = cuda.jit(streams.philox4x32, device=True)


@dataclass(frozen=True)
class Teams:
    """How the threads of a block are dealt to chains."""

    threads: int
    """Of a chain."""
    chains: int
    """Of a block."""
    in_warp: bool
    """No team is in two warps."""

    @staticmethod
    def of(units: int, *, block: int, most: int) -> Teams:
        """Return teams for chains of so many units.

        Parameters
        ----------
        block
            Threads that small chains are put together to, a multiple of a warp.
        most
            Threads of a chain, at most; units beyond share them.
        """
        threads = -(-units // -(-units // most))
        a_warp = WARP // threads
        # with more lanes idle than a fifth it is better to meet in blocks
        if 5 * threads * a_warp >= 4 * WARP:
            return Teams(threads, a_warp * (block // WARP), True)
        return Teams(threads, max(block // threads, 1), False)

    def block(self, chains: int) -> int:
        """Return the threads of a block that holds so many chains, or all it can."""
        full, more = (
            divmod(min(chains, self.chains), WARP // self.threads)
            if self.in_warp
            else (0, min(chains, self.chains))
        )
        return full * WARP + more * self.threads


class Tables(NamedTuple):
    """A program as the kernel reads it; what it lacks is there as an array of no entries."""

    parameters: Array
    """Real (PARAMETERS, units), flat."""
    refractory: Array
    """int32 (units,), steps."""
    clamp: Array
    bounds: Array
    """uint32: the largest words that are worth no more than 0, 1, ... events, of one law after another."""
    none: Array
    """int32 (laws,): where in ``bounds`` no event is, or would be, had the law such a word."""
    guide: Array
    """int32 (laws, CELLS), flat: where in ``bounds`` the search begins, by the highest bits of the word."""
    law: Array
    """int32 (units, sources)."""
    source_weights: Array
    """Real (units, sources); the sign says which synapse."""
    weights: Array
    """Real (sources, targets), flat, or the entries of a sparse matrix by source; sign as above."""
    first: Array
    """int32 (units + 1,): the first sparse entry of each source."""
    targets: Array
    """int32 (entries,)."""


class Dynamics(NamedTuple):
    """The state, read at the first step and written at the last; all arrays flat.

    What is under way is in slot step % (delay + 1) of the step of the spike; it arrives a turn of the slots later.
    """

    u: Array
    """Real (chains, units), as all up to ``last_spike``."""
    excitation: Array
    inhibition: Array
    last_spike: Array
    """int64."""
    listed: Array
    """int32 (chains, slots): number of spikes."""
    sources: Array
    """int32 (chains, slots, units): the units of those spikes, in their order."""
    carried: Array
    """Real (chains, slots, units, kinds): what each carries to excitatory and inhibitory synapses, or to both."""


class Output(NamedTuple):
    """What a launch leaves; what is not kept has no entries."""

    every: int
    """Steps between draws; 0: none."""
    states: Array
    """uint8 (chains, draws, ceil(units / 8)), packed as by ``np.packbits``."""
    voltages: Array
    """Real (chains, steps, units), from threshold."""
    kept: Array
    """int64 (chains,): number of spikes."""
    spike_step: Array
    spike_unit: Array
    """(chains, room)."""
    on: Array
    """int32 (chains, units), flat: steps with z = 1."""
    place: Array
    """int32 (units,): bit of the unit in the joint state, -1 where it is in none."""
    joint: Array
    """int64 (chains, 2^n): steps in each joint state."""


@cuda.jit(device=True)
def count_events(bounds, at, word):
    """Return where in ``bounds`` a word belongs, from a place at or before it."""
    while word > bounds[at]:
        at = u32(at + 1)
    return at


@cuda.jit(device=True)
def bit_of(k):
    """Return the bit of a unit in its word."""
    return u32(u32(1) << u32(k % WORD))


@cache
def chain_kernel(
    *,
    units: int,
    teams: Teams,
    delay: int,
    conductance: bool,
    renewing: bool,
    alike: bool,
    kinds: int,
    sparse: bool,
    clamped: bool,
    sources: int,
    dtype: np.dtype,
    registers: int,
    keeps: frozenset[str],
) -> Any:
    """Return the kernel for one setting of its constants.

    Parameters
    ----------
    delay
        Steps.
    alike
        All units share tau_syn: what a spike carries is then the same for all its targets.
    kinds
        1: excitatory and inhibitory synapses carry the same, 2: each its own.
    clamped
        Some units are clamped.
    registers
        Of a thread, at most.
    keeps
        What is recorded, some of ``KEEPS``: what is not takes no registers.
    """
    real = getattr(numba, dtype.name)
    threads, teams_of_block, in_warp = teams.threads, teams.chains, teams.in_warp
    a_warp = WARP // threads if in_warp else 0
    meet_in_warp = in_warp and not SIMULATED
    a_thread = -(-units // threads)
    calls = -(-sources // streams.SOURCES_PER_CALL)
    words, state_bytes, slots, inputs = -(-units // WORD), -(-units // 8), delay + 1, max(sources, 1)
    words_a_thread, bytes_a_thread = -(-words // threads), -(-state_bytes // threads)
    per_target = renewing and not alike
    assert keeps <= KEEPS
    keep_states, keep_voltages, keep_spikes, count_on, count_joint = (
        name in keeps for name in ("states", "voltages", "spikes", "on", "joint")
    )
    # the simulator knows no registers; float64 is there to be compared
    options = {} if SIMULATED else {"max_registers": registers, "fastmath": dtype == np.float32}

    @cuda.jit(device=True)
    def meet():
        if meet_in_warp:
            cuda.syncwarp()
        else:
            cuda.syncthreads()

    @cuda.jit(device=True)
    def slot_of(chain, slot):
        """Return the place of a slot of a chain."""
        return u64(u64(chain) * u64(slots) + u64(slot))

    @cuda.jit(device=True)
    def weight_of(source, k):
        """Return the place of a weight."""
        if units < 2**16:
            return u32(u32(source) * u32(units) + k)
        return u64(u64(source) * u64(units) + u64(k))

    @cuda.jit(device=True)
    def carried_at(carried, place, w):
        """Return what a spike carries to a synapse of this weight."""
        if kinds == 1:
            return carried[place]
        return carried[u64(u64(2) * place + (u64(0) if w > 0 else u64(1)))]

    @cuda.jit(device=True)
    def parameter(parameters, row, k):
        return parameters[u32(u32(row) * u32(units) + k)]

    @cuda.jit(device=True)
    def rank_of(spiking, phase, team, k):
        """Return how many units below k spiked."""
        place = cuda.popc(u32(spiking[phase, team, u32(k // WORD)] & u32(bit_of(k) - u32(1))))
        for word in range(k // WORD):
            place += cuda.popc(spiking[phase, team, u32(word)])
        return u32(place)

    @cuda.jit(**options)
    def run(start, steps, chains, seed_low, seed_high, tables, dynamics, arriving, output):
        thread = u32(cuda.threadIdx.x)
        if in_warp:
            lane = int(thread % WARP)
            team, x = u32(thread // WARP * a_warp + lane // threads), u32(lane % threads)
            idle = lane >= a_warp * threads
        else:
            team, x = u32(thread // threads), u32(thread % threads)
            idle = False
        chain = u32(cuda.blockIdx.x * teams_of_block + team)
        alive = not idle and chain < chains
        mine = u32(units) if alive else u32(0)
        team = team if alive else u32(0)
        parameters = tables.parameters

        # by step % 3: who spiked, and how many; who is on (at draws); the joint state
        spiking = cuda.shared.array((3, teams_of_block, words), numba.uint32)
        fired = cuda.shared.array((3, teams_of_block), numba.int32)
        on_bits = cuda.shared.array((3, teams_of_block, words), numba.uint32)
        joint_state = cuda.shared.array((3, teams_of_block), numba.int32)
        before, phase, following = u32(2), u32(0), u32(1)

        u = cuda.local.array(a_thread, real)
        excitation = cuda.local.array(a_thread, real)
        inhibition = cuda.local.array(a_thread, real)
        last_spike = cuda.local.array(a_thread, numba.int32)
        interval = cuda.local.array(a_thread, numba.int32)
        on_steps = cuda.local.array(a_thread, numba.int32)
        refractory = cuda.local.array(a_thread, numba.int32)
        held = cuda.local.array((a_thread, HELD), real)
        exciting = cuda.local.array((a_thread, inputs), real)
        inhibiting = cuda.local.array((a_thread, inputs), real)
        guide_at = cuda.local.array((a_thread, inputs), numba.uint64)
        none_at = cuda.local.array((a_thread, inputs), numba.int32)
        for i in range(a_thread):
            k = u32(x + i * threads)
            if k < mine:
                at = u64(u64(chain) * u64(units) + u64(k))
                u[i] = dynamics.u[at]
                excitation[i] = dynamics.excitation[at]
                inhibition[i] = dynamics.inhibition[at]
                last_spike[i] = i32(max(dynamics.last_spike[at] - start, LONG_BEFORE))
                refractory[i] = tables.refractory[k]
                on_steps[i] = i32(max(last_spike[i] + refractory[i], 0))
                for row in range(HELD):
                    held[i, row] = parameter(parameters, row, k)
                for s in range(sources):
                    w, law = tables.source_weights[k, s], u32(tables.law[k, s])
                    exciting[i, s] = w if w > 0 else real(0)
                    inhibiting[i, s] = -w if w < 0 else real(0)
                    guide_at[i, s] = u64(u64(law) * u64(CELLS))
                    none_at[i, s] = tables.none[law]
        if alive:
            for i in range(words_a_thread):
                w = u32(x + i * threads)
                if w < words:
                    for at_phase in range(2):
                        spiking[u32(at_phase), team, w] = 0
                        on_bits[u32(at_phase), team, w] = 0
            if x == 0:
                for at_phase in range(2):
                    fired[u32(at_phase), team] = 0
                    joint_state[u32(at_phase), team] = 0
        meet()

        slot, kept, draw = u32(start % slots), np.int64(0), u32(0)
        until_draw = i32(output.every - start % output.every if keep_states else -1)
        for now in range(steps):
            step = start + now
            low, high = np.uint64(step & 0xFFFFFFFF), np.uint64(step >> 32)
            due = dynamics.listed[slot_of(chain, slot)] if alive else i32(0)
            first_entry = u64(slot_of(chain, slot) * u64(units))
            if keep_states:
                until_draw = i32(until_draw - 1)

            if sparse:
                # one chain a block; no source has two synapses with one target
                for entry in range(due):
                    place = u64(first_entry + u64(entry))
                    source = u32(dynamics.sources[place])
                    for synapse in range(tables.first[source] + x, tables.first[u32(source + 1)], threads):
                        k, w = u32(tables.targets[u32(synapse)]), tables.weights[u32(synapse)]
                        kind = u32(0) if w > 0 else u32(1)
                        carried = carried_at(dynamics.carried, place, w)
                        if per_target:
                            carried = -math.expm1(-carried * parameter(parameters, RATE_EXC + kind, k))
                        arriving[chain, kind, k] += abs(w) * carried
                    cuda.syncthreads()

            for i in range(a_thread):
                k = u32(x + i * threads)
                if k < mine:
                    # 1. Arrivals: background, then recurrent spikes
                    exc, inh = excitation[i], inhibition[i]
                    for call in range(calls):
                        block = high | np.uint64(call << 16)
                        drawn = philox4x32(low, block, np.uint64(k), np.uint64(chain), seed_low, seed_high)
                        for b in range(min(streams.SOURCES_PER_CALL, sources - streams.SOURCES_PER_CALL * call)):
                            s = streams.SOURCES_PER_CALL * call + b
                            begin = u32(tables.guide[u64(guide_at[i, s] + (drawn[b] >> u64(GUIDE_SHIFT)))])
                            end = count_events(tables.bounds, begin, u32(drawn[b]))
                            events = real(i32(end - none_at[i, s]))
                            exc += events * exciting[i, s]
                            inh += events * inhibiting[i, s]
                    if sparse:
                        if due > 0:
                            exc += arriving[chain, 0, k]
                            inh += arriving[chain, 1, k]
                            arriving[chain, 0, k] = 0
                            arriving[chain, 1, k] = 0
                    else:
                        place, listed = first_entry, i32(0)
                        while listed < due:
                            w = tables.weights[weight_of(dynamics.sources[place], k)]
                            carried = carried_at(dynamics.carried, place, w)
                            if per_target:
                                kind = u32(0) if w > 0 else u32(1)
                                carried = -math.expm1(-carried * parameter(parameters, RATE_EXC + kind, k))
                            exc += max(w, real(0)) * carried
                            inh += max(-w, real(0)) * carried
                            place, listed = u64(place + u64(1)), i32(listed + 1)

                    # 2. Membrane
                    free = now - last_spike[i] >= refractory[i]
                    spiked = False
                    if free and not (clamped and tables.clamp[k] != FREE):
                        x_total = held[i, LEAK]
                        if conductance:
                            x_total += exc + inh
                        drive = held[i, BIAS] + held[i, E_EXC] * exc + held[i, E_INH] * inh
                        u_inf = drive / x_total
                        u[i] = u_inf + (u[i] - u_inf) * math.exp(-x_total)
                        spiked = u[i] >= 0
                    else:
                        u[i] = held[i, RESET]
                        if clamped:
                            spiked = free and tables.clamp[k] == 1

                    # 3. Threshold
                    if spiked:
                        u[i] = held[i, RESET]
                        interval[i] = i32(min(now - last_spike[i], -LONG_BEFORE))
                        last_spike[i] = i32(now)
                        on_steps[i] = i32(on_steps[i] + refractory[i])
                        cuda.atomic.or_(spiking, (phase, team, u32(k // WORD)), bit_of(k))
                        cuda.atomic.add(fired, (phase, team), i32(1))

                    # 4. Decay
                    excitation[i] = exc * held[i, DECAY_EXC]
                    inhibition[i] = inh * held[i, DECAY_INH]

                    if keep_voltages:
                        output.voltages[chain, now, k] = u[i]
                    on = now - last_spike[i] < refractory[i]
                    if keep_states and until_draw == 0 and on:
                        # packbits puts the first of eight into the highest bit
                        cuda.atomic.or_(on_bits, (phase, team, u32(k // WORD)), bit_of(u32(k ^ u32(7))))
                    if count_joint and on and output.place[k] >= 0:
                        cuda.atomic.or_(joint_state, (phase, team), i32(1 << output.place[k]))
            if alive:
                for i in range(words_a_thread):
                    w = u32(x + i * threads)
                    if w < words:
                        spiking[following, team, w] = 0
                        if keep_states:
                            on_bits[following, team, w] = 0
                if x == 0:
                    fired[following, team] = 0
                    if count_joint:
                        joint_state[following, team] = 0
            meet()

            # all have spiked who do: list them by unit
            if alive:
                count = fired[phase, team]
                if count > 0:
                    for i in range(a_thread):
                        k = u32(x + i * threads)
                        if k < mine and last_spike[i] == now:
                            rank = rank_of(spiking, phase, team, k)
                            place = u64(first_entry + u64(rank))
                            dynamics.sources[place] = k
                            for side in range(kinds):
                                carried = real(1)
                                if per_target:
                                    carried = real(interval[i])
                                elif renewing:
                                    rate = parameter(parameters, RATE_EXC + side, k)
                                    carried = -math.expm1(-real(interval[i]) * rate)
                                dynamics.carried[u64(u64(kinds) * place + u64(side))] = carried
                            if keep_spikes:
                                output.spike_step[chain, kept + rank] = step
                                output.spike_unit[chain, kept + rank] = k
                if keep_spikes:
                    kept += count
                if x == 0:
                    dynamics.listed[slot_of(chain, slot)] = count
                    if count_joint:
                        cuda.atomic.add(output.joint, (chain, u32(joint_state[phase, team])), 1)
                if keep_states and until_draw == 0:
                    for i in range(bytes_a_thread):
                        byte = u32(x + i * threads)
                        if byte < state_bytes:
                            word = on_bits[phase, team, u32(byte // 4)]
                            output.states[chain, draw, byte] = word >> u32(8 * (byte % 4)) & u32(255)
            if keep_states and until_draw == 0:
                draw = u32(draw + 1)
                until_draw = i32(output.every)
            slot = u32(slot + 1) if slot + 1 < slots else u32(0)
            before, phase, following = phase, following, before

        for i in range(a_thread):
            k = u32(x + i * threads)
            if k < mine:
                at = u64(u64(chain) * u64(units) + u64(k))
                dynamics.u[at] = u[i]
                dynamics.excitation[at] = excitation[i]
                dynamics.inhibition[at] = inhibition[i]
                if last_spike[i] >= 0:
                    dynamics.last_spike[at] = start + last_spike[i]
                if count_on:
                    output.on[at] = on_steps[i] - max(last_spike[i] + refractory[i] - steps, 0)
        if keep_spikes and alive and x == 0:
            output.kept[chain] = kept

    return run


@cuda.jit
def count_pairs(states, first, stride, units, counts):
    """Add up the draws with z_k = z_j = 1 for k >= j, a pair a thread; the blocks along z share the chains.

    ``states`` as in ``Output``; ``first`` is the first draw that counts, and ``stride`` the way to the next.
    """
    k, j, part = (
        cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x,
        cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y,
        cuda.blockIdx.z,
    )
    if k >= units or j > k:
        return
    together = 0
    for chain in range(part, states.shape[0], cuda.gridDim.z):
        for draw in range(first, states.shape[1], stride):
            together += (
                (states[chain, draw, k // 8] >> (7 - k % 8)) & (states[chain, draw, j // 8] >> (7 - j % 8)) & 1
            )
    cuda.atomic.add(counts, (k, j), together)
