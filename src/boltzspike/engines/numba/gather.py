"""Compiled gathering: what ``samples.gather`` defines, from what a block's kernel leaves of a pass.

A block's spikes come ordered by step, as ``(step, source)`` with the source of ``row.Output``: where lanes are
chains it is unit * lanes + lane, where they are units it is the unit (``lanes`` = 1).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from boltzspike.gathered import Gathered, Intervals, JointOccupancy, Occupancy, PairCounts
from boltzspike.samples import NEVER, Record, at_draws

Array = np.ndarray
_NO_STEP = 2**62
_UNITS_A_THREAD = 256
"""Units from which on pairs are counted by several threads."""


class PassGatherer:
    """Gathers one pass of ``start <= step < stop``; blocks may come from several threads."""

    def __init__(self, record: Record, before: Array, refractory_steps: Array, start: int, stop: int) -> None:
        """``before`` (chains, units) holds the last spikes before ``start``."""
        self.record, self.start, self.stop = record, start, stop
        self.before, self.refractory = before, refractory_steps
        chains, n = before.shape
        self.spiked = np.zeros((chains, n) if record.occupancy else (0, 0), dtype=np.int64)
        self.joint = np.zeros((chains, 2 ** len(record.joint)) if record.joint else (0, 0), dtype=np.int64)
        self.place = np.full(n, -1)
        self.place[list(record.joint)] = np.arange(len(record.joint))
        self.last = before.copy() if record.intervals is not None else np.zeros((0, 0), dtype=np.int64)
        bins = record.intervals
        if bins is not None:
            self.intervals = np.zeros((n, bins.number), dtype=np.int64)
            self.bursts = np.zeros((n, bins.longest), dtype=np.int64)
            self.carried_on, self.last_burst = np.zeros((2, chains, n), dtype=np.int64)
        self.lock = Lock()

    def take(self, steps: Array, sources: Array, first_chain: int, lanes: int) -> None:
        """Gather the spikes of one block of ``lanes`` chains; steps count from ``start``."""
        record, bins = self.record, self.record.intervals
        block = slice(first_chain, first_chain + lanes)
        if record.occupancy:
            _count_spikes(sources, lanes, self.spiked[block])
        if record.joint:
            _count_joint(
                steps, sources, self.start, self.stop, lanes, self.refractory, self.before[block], self.place,
                np.array(record.joint), self.joint[block],
            )  # fmt: skip
        if bins is not None:
            with self.lock:  # the counts are of all chains
                _count_intervals(
                    steps, sources, self.start, lanes, self.refractory, self.last[block], bins.width, bins.gap,
                    self.intervals, self.bursts, self.carried_on[block], self.last_burst[block],
                )  # fmt: skip

    def drawn(self, states: Array, every: int) -> Array:
        """Return the draws ``every`` so many steps among those that a pass has left."""
        between = self.record.draws_every
        return states if every == between else states[:, at_draws(self.start, self.stop, between, every)]

    def energies(self, states: Array) -> Array | None:
        """Return the energies of the draws, (chains, draws)."""
        energy = self.record.energy
        if energy is None:
            return None
        chosen = self.drawn(states, energy.every)
        energies = np.zeros(chosen.shape[:2])
        _energies(chosen, energy.weights, energy.biases, energies)
        return energies

    def gathered(self, last_spike: Array, states: Array, *, threads: int) -> Gathered:
        """Return all counts; ``last_spike`` (chains, units) is that after the pass, ``states`` are its draws."""
        record = self.record
        occupancy = joint = intervals = None
        if record.occupancy:
            # a spike keeps z at 1 for the refractory period, of which a part may lie before or after the pass
            still = np.maximum(self.before + self.refractory - self.start, 0)
            yet = np.maximum(last_spike + self.refractory - self.stop, 0)
            on = self.spiked * self.refractory + still - yet
            occupancy = Occupancy(on=on[:, None], steps=np.array([self.stop - self.start]))
        if record.joint:
            joint = JointOccupancy(units=tuple(record.joint), steps=self.joint)
        if record.intervals is not None:
            intervals = Intervals(
                bins=record.intervals,
                intervals=self.intervals,
                bursts=self.bursts,
                carried_on=self.carried_on,
                last_burst=self.last_burst,
            )
        pairs = None
        if record.pairs_every:
            pairs = count_pairs(self.drawn(states, record.pairs_every), threads=threads)
        return Gathered(occupancy=occupancy, pairs=pairs, joint=joint, intervals=intervals)


def count_pairs(states: Array, *, threads: int) -> PairCounts:
    """Count the draws with z_k = z_j = 1 in states (chains, draws, units): 64 draws a machine word."""
    n = states.shape[-1]
    draws = states.reshape(-1, n)
    by_draw = np.zeros((-(-len(draws) // 64), n), dtype=np.uint64)
    _pack(draws, by_draw)
    words, counts = np.ascontiguousarray(by_draw.T), np.zeros((n, n), dtype=np.int64)
    if threads > 1 and n >= _UNITS_A_THREAD:
        with ThreadPoolExecutor(threads) as pool:
            bands = np.linspace(0, n, 4 * threads + 1).astype(int)
            list(pool.map(lambda first, last: _count_pairs(words, counts, first, last), bands[:-1], bands[1:]))
    else:
        _count_pairs(words, counts, 0, n)
    return PairCounts(counts=counts, draws=len(draws))


@intrinsic
def _popcount(typingctx, word):
    """Return the number of bits set in a uint64."""
    if word != types.uint64:
        return None

    def emit(context, builder, sig, args):
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), emit


@numba.njit(nogil=True, cache=True)
def _count_spikes(sources, lanes, spiked):
    for source in sources:
        spiked[source % lanes, source // lanes] += 1


@numba.njit(nogil=True, cache=True)
def _pack(draws, words):
    """Put draw r of all units into bit r of their words, (words, units)."""
    for r in range(draws.shape[0]):
        bit = np.uint64(r & 63)
        row = words[r >> 6]
        for k in range(draws.shape[1]):
            row[k] |= np.uint64(draws[r, k]) << bit


@numba.njit(nogil=True, cache=True)
def _count_pairs(words, counts, first, last):
    """Count the common bits of rows ``first <= k < last`` of words (units, words) with rows 0 .. k."""
    length = words.shape[1]
    for k in range(first, last):
        for j in range(k + 1):
            common = np.uint64(0)
            for w in range(length):
                common += _popcount(words[k, w] & words[j, w])  # type: ignore[call-arg]
            counts[k, j] = counts[j, k] = common


@numba.njit(nogil=True, cache=True)
def _energies(states, weights, biases, energies):
    chains, draws, n = states.shape
    on = np.empty(n, dtype=np.int64)
    for c in range(chains):
        for d in range(draws):
            count, energy = 0, 0.0
            for k in range(n):
                if states[c, d, k]:
                    energy -= biases[k]
                    for i in range(count):
                        energy -= weights[k, on[i]]
                    on[count] = k
                    count += 1
            energies[c, d] = energy


@numba.njit(nogil=True, cache=True)
def _leave(code, since, until, off_at, counts):
    """Let the units of one chain go off that do so by ``until``; return the code and since when it holds."""
    n = len(off_at)
    while True:
        first, when = -1, until + 1
        for i in range(n):
            if off_at[i] < when:
                first, when = i, off_at[i]
        if first < 0:
            return code, since
        counts[code] += when - since
        code ^= 1 << (n - 1 - first)
        since = when
        off_at[first] = _NO_STEP


@numba.njit(nogil=True, cache=True)
def _count_joint(steps, sources, start, stop, lanes, refractory, before, place, units, counts):
    """Count the steps in each joint state of ``units`` in each chain of a block."""
    chains, n = before.shape[0], len(units)
    off_at = np.full((chains, n), _NO_STEP)
    code, since = np.zeros(chains, dtype=np.int64), np.full(chains, start)
    for c in range(chains):
        for i in range(n):
            until = before[c, units[i]] + refractory[units[i]]
            if until > start:
                off_at[c, i] = until
                code[c] |= 1 << (n - 1 - i)
    for s in range(len(steps)):
        unit = sources[s] // lanes
        i = place[unit]
        if i < 0:
            continue
        c, now = sources[s] % lanes, start + steps[s]
        code[c], since[c] = _leave(code[c], since[c], now, off_at[c], counts[c])
        counts[c, code[c]] += now - since[c]
        since[c] = now
        code[c] |= 1 << (n - 1 - i)
        off_at[c, i] = now + refractory[unit]
    for c in range(chains):
        code[c], since[c] = _leave(code[c], since[c], stop, off_at[c], counts[c])
        counts[c, code[c]] += stop - since[c]


@numba.njit(nogil=True, cache=True)
def _count_intervals(
    steps, sources, start, lanes, refractory, last, width, gap, intervals, bursts, carried_on, last_burst
):
    """Count intervals and bursts as ``samples.count_intervals``; ``last`` is brought up to date."""
    bins, longest = intervals.shape[1] - 1, bursts.shape[1] - 1
    for s in range(len(steps)):
        c, k, now = sources[s] % lanes, sources[s] // lanes, start + steps[s]
        interval = now - last[c, k]
        never = last[c, k] <= NEVER
        last[c, k] = now
        if not never:
            intervals[k, min(interval // width, bins)] += 1
        if never or interval > refractory[k] + gap:
            if last_burst[c, k]:
                bursts[k, min(last_burst[c, k] - 1, longest)] += 1
            last_burst[c, k] = 1
        elif last_burst[c, k]:
            last_burst[c, k] += 1
        else:
            carried_on[c, k] += 1
