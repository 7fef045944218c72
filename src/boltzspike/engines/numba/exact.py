"""The exact path: the reference engine's loop, compiled; float64, exact exponential, exact Poisson counts.

It follows ``engines/reference.py`` block by block and draws the same random numbers, so it emits the same
spikes. What is faster must agree with it in distribution.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np

from boltzspike import streams
from boltzspike.engines.start import start
from boltzspike.inputs import Initial
from boltzspike.program import FREE, Program
from boltzspike.samples import PackedStates, Record, Samples, Spikes, gathering, in_passes
from boltzspike.simd import instruction_set

Array = np.ndarray

_REFRACTORY_BLOCK, _POOL_BLOCK = streams.REFRACTORY_BLOCK, streams.POOL_BLOCK
_JITTER_BLOCK = streams.JITTER_BLOCK

_philox4x32 = numba.njit(inline="always")(streams.philox4x32)


@dataclass(frozen=True, slots=True, eq=False)
class ExactState:
    """State before step ``step``; the arrays are those of the reference engine, (chains, units) each."""

    seed: int
    step: int
    u: Array
    excitation: Array
    inhibition: Array
    rising_exc: Array
    rising_inh: Array
    last_spike: Array
    held: Array
    resources: Array
    utilization: Array
    under_way: Array
    """(chains, slots, units)."""
    first_chain: int = 0
    """Number of the first of these chains, for its random numbers: others may be advanced elsewhere."""


class Recurrent(NamedTuple):
    """Synapses by delay and source."""

    renewing: bool
    delays: Array
    """The delays that occur, int64, steps."""
    first: Array
    """int64 [delay * units + source], and one more: the first synapse of each."""
    target: Array
    weight: Array


class ShortTerm(NamedTuple):
    """Tsodyks-Markram synapses."""

    active: bool
    utilization: float
    tau_rec: float
    tau_fac: float


class Refractory(NamedTuple):
    """``RefractoryLaw``."""

    drawn: bool
    shortest: Array
    thresholds: Array
    first: Array


class Shared(NamedTuple):
    """``Pool``, its weights by source."""

    sources: int
    drawn: int
    thresholds: Array
    offsets: Array
    first: Array
    target: Array
    weight: Array
    length: Array
    shift: Array
    events: Array
    stride: int


class Changing(NamedTuple):
    """``Courses``."""

    active: bool
    change_rates: bool
    starts: Array
    current: Array
    clamp: Array
    base_rates: Array
    rates: Array
    frequency: Array
    phase: Array
    current_wave: Array
    rates_wave: Array


@numba.njit(nogil=True, cache=True)
def _events(thresholds, first, last, word):
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


@numba.njit(nogil=True, cache=True)
def _poisson_count(word, mean):
    """As ``streams.poisson_counts``."""
    level = (word + 0.5) * 2.0**-32
    probability = np.exp(-mean)
    cumulative = probability
    count = 0
    while level > cumulative and probability > 0:
        count += 1
        probability = probability * mean / count
        cumulative += probability
    return count


@numba.njit(nogil=True, cache=True)
def _follow(changing, step, dt, segment, swing, i_offset, bias, clamp):
    """Set the inputs of a step in place and return its segment."""
    while segment + 1 < len(changing.starts) and changing.starts[segment + 1] <= step:
        segment += 1
    for w in range(len(swing)):
        swing[w] = np.sin(2 * np.pi * changing.frequency[w] * ((step + 0.5) * dt) + changing.phase[w])
    for k in range(len(bias)):
        swung = 0.0
        for w in range(len(swing)):
            swung += swing[w] * changing.current_wave[w, k]
        bias[k] = i_offset[k] + changing.current[segment, k] + swung
        clamp[k] = changing.clamp[segment, k]
    return segment


@numba.njit(nogil=True, cache=True)
def _words(step, block, unit, chain, seed_low, seed_high):
    """Return the four random words of a counter; not inlined, for what is drawn rarely."""
    low, high = np.uint64(step & 0xFFFFFFFF), np.uint64(step >> 32)
    return _philox4x32(low, high | np.uint64(block << 16), np.uint64(unit), np.uint64(chain), seed_low, seed_high)


@numba.njit(nogil=True, cache=True)
def _arrive_changing(
    changing, segment, swing, chain, step, seed_low, seed_high, dt, source_weights, raised_exc, raised_inh
):
    """Add the events of private sources whose rates change."""
    n, sources = source_weights.shape
    for k in range(n):
        for s in range(sources):
            if s % 4 == 0:
                words = _words(step, s // 4, k, chain, seed_low, seed_high)
            swung = 0.0
            for w in range(len(swing)):
                swung += swing[w] * changing.rates_wave[w, k, s]
            mean = max(changing.base_rates[k, s] + changing.rates[segment, k, s] + swung, 0.0) * dt
            count = _poisson_count(words[s % 4], mean)
            if source_weights[k, s] >= 0:
                raised_exc[k] += count * source_weights[k, s]
            else:
                raised_inh[k] -= count * source_weights[k, s]


@numba.njit(nogil=True, cache=True)
def _arrive_shared(shared, chain, step, seed_low, seed_high, raised_exc, raised_inh):
    """Add the events of the shared sources."""
    for s in range(shared.sources):
        if s < shared.drawn:
            if s % 4 == 0:
                words = _words(step, _POOL_BLOCK, s // 4, chain, seed_low, seed_high)
            count = _events(shared.thresholds, shared.offsets[s], shared.offsets[s + 1], words[s % 4])
        else:
            key = s * shared.stride + (step + chain * shared.shift[s]) % shared.length[s]
            at = np.searchsorted(shared.events, key)
            count = 0
            while at + count < len(shared.events) and shared.events[at + count] == key:
                count += 1
        if count:
            for i in range(shared.first[s], shared.first[s + 1]):
                w = shared.weight[i]
                if w > 0:
                    raised_exc[shared.target[i]] += count * w
                else:
                    raised_inh[shared.target[i]] -= count * w


@numba.njit(nogil=True, cache=True)
def _use_resources(short_term, time, k, resources, utilization):
    """Update the resources of a unit that spikes, ``time`` after its last; return the amplitude of its spike."""
    recovery = -np.expm1(-time / short_term.tau_rec) if short_term.tau_rec > 0 else 1.0
    facilitated = np.exp(-time / short_term.tau_fac) if short_term.tau_fac > 0 else 0.0
    left = resources[k] * (1 - utilization[k])
    resources[k] = left + (1 - left) * recovery
    rest = short_term.utilization
    utilization[k] = rest + utilization[k] * (1 - rest) * facilitated
    return utilization[k] * resources[k] / rest


@numba.njit(nogil=True, cache=True)
def _run_chain(
    chain, seed_low, seed_high, start, steps,
    u, excitation, inhibition, rising_exc, rising_inh, last_spike, refractory, resources, utilization, under_way,
    dt, conductance, alpha, constant_clamp,
    c_m, g_l, v_rest, v_reset, v_thresh, constant_bias, e_exc, e_inh, tau_exc, tau_inh,
    recurrent, jitter_steps, short_term, refractory_law, shared, changing, source_weights, thresholds, offsets,
    every, states, voltages, spike_step, spike_unit,
):  # fmt: skip
    n, sources = source_weights.shape
    slots = under_way.shape[0]
    decay_exc, decay_inh = np.exp(-dt / tau_exc), np.exp(-dt / tau_inh)
    mean_exc, mean_inh = -tau_exc / dt * np.expm1(-dt / tau_exc), -tau_inh / dt * np.expm1(-dt / tau_inh)
    mean_rising_exc, mean_rising_inh = np.e * (mean_exc - decay_exc), np.e * (mean_inh - decay_inh)
    raised_exc, raised_inh = (rising_exc, rising_inh) if alpha else (excitation, inhibition)
    i_offset, clamp = constant_bias.copy(), constant_clamp.copy()
    segment, swing = 0, np.zeros(len(changing.frequency))
    inputs_change, rates_change, any_shared = changing.active, changing.change_rates, shared.sources > 0
    renewing, delays, first, target, weight = recurrent
    short_term_active, refractory_drawn = short_term.active, refractory_law.drawn
    emitted = 0
    draw = 0
    for step in range(start, start + steps):
        oldest = (step + jitter_steps) % slots
        if inputs_change:
            segment = _follow(changing, step, dt, segment, swing, constant_bias, i_offset, clamp)
        low, high = np.uint64(step & 0xFFFFFFFF), np.uint64(step >> 32)

        # 1. Arrivals: background, then recurrent spikes
        for k in range(n if not rates_change else 0):
            for block in range((sources + 3) // 4):
                words = _philox4x32(
                    low, high | np.uint64(block << 16), np.uint64(k), np.uint64(chain), seed_low, seed_high
                )
                for i in range(min(4, sources - 4 * block)):
                    s = 4 * block + i
                    count = _events(thresholds, offsets[k, s], offsets[k, s + 1], words[i])
                    if source_weights[k, s] >= 0:
                        raised_exc[k] += count * source_weights[k, s]
                    else:
                        raised_inh[k] -= count * source_weights[k, s]
        if rates_change:
            _arrive_changing(
                changing, segment, swing, chain, step, seed_low, seed_high, dt, source_weights,
                raised_exc, raised_inh,
            )  # fmt: skip
        if any_shared:
            _arrive_shared(shared, chain, step, seed_low, seed_high, raised_exc, raised_inh)
        for q in range(len(delays)):
            due = (step - 1 - delays[q]) % slots
            for j in range(n):
                carried = under_way[due, j]
                if carried == 0:
                    continue
                for i in range(first[q * n + j], first[q * n + j + 1]):
                    k, w = target[i], weight[i]
                    if w > 0:
                        raised_exc[k] += w * (-np.expm1(-carried * dt / tau_exc[k]) if renewing else carried)
                    else:
                        raised_inh[k] -= w * (-np.expm1(-carried * dt / tau_inh[k]) if renewing else carried)

        for k in range(n):
            # 2. Membrane
            free = step - last_spike[k] >= refractory[k]
            if free and clamp[k] == FREE:
                g_exc = excitation[k] * mean_exc[k] + rising_exc[k] * mean_rising_exc[k]
                g_inh = inhibition[k] * mean_inh[k] + rising_inh[k] * mean_rising_inh[k]
                if conductance:
                    g_tot = g_l[k] + g_exc + g_inh
                    current = g_l[k] * v_rest[k] + g_exc * e_exc[k] + g_inh * e_inh[k] + i_offset[k]
                else:
                    g_tot = g_l[k]
                    current = g_l[k] * v_rest[k] + g_exc - g_inh + i_offset[k]
                u_inf = current / g_tot
                u[k] = u_inf + (u[k] - u_inf) * np.exp(-dt * g_tot / c_m[k])
                spiked = u[k] >= v_thresh[k]
            else:
                u[k] = v_reset[k]
                spiked = free and clamp[k] == 1

            # 3. Threshold
            under_way[oldest, k] = 0
            if spiked:
                u[k] = v_reset[k]
                carried = 1.0
                if renewing:
                    carried = float(step - last_spike[k])
                elif short_term_active:
                    time = (step - last_spike[k]) * dt
                    carried = _use_resources(short_term, time, k, resources, utilization)
                slot = step % slots
                if jitter_steps:
                    words = _words(step, _JITTER_BLOCK, k, chain, seed_low, seed_high)
                    slot = (step + np.int64(words[0] * np.uint64(jitter_steps + 1) >> np.uint64(32))) % slots
                under_way[slot, k] = carried
                last_spike[k] = step
                if refractory_drawn:
                    words = _words(step, _REFRACTORY_BLOCK, k, chain, seed_low, seed_high)
                    table = refractory_law.first
                    refractory[k] = refractory_law.shortest[k] + _events(
                        refractory_law.thresholds, table[k], table[k + 1], words[0]
                    )
                if len(spike_step):
                    spike_step[emitted], spike_unit[emitted] = step, k
                emitted += 1

            # 4. Decay
            excitation[k] = (excitation[k] + rising_exc[k] * np.e * dt / tau_exc[k]) * decay_exc[k]
            inhibition[k] = (inhibition[k] + rising_inh[k] * np.e * dt / tau_inh[k]) * decay_inh[k]
            rising_exc[k] *= decay_exc[k]
            rising_inh[k] *= decay_inh[k]

        if every and (step + 1) % every == 0:
            for k in range(n):
                states[draw, k] = step - last_spike[k] < refractory[k]
            draw += 1
        if len(voltages):
            voltages[step - start] = u
    return emitted


class ExactRunner:
    """Runs one program, a chain at a time on each thread."""

    def __init__(self, program: Program, *, threads: int, fallen_back: str | None = None) -> None:
        """Gather the tables that depend on the program; ``fallen_back``: why the fast path does not run it."""
        self.program = p = program
        self.threads = threads
        self.cpu = instruction_set()
        self.thresholds, self.offsets = _poisson_tables(p.background_rates * p.dt)
        self.recurrent, self.short_term = _recurrent(p), ShortTerm(p.tsodyks_markram, p.U, p.tau_rec, p.tau_fac)
        self.refractory, self.shared, self.changing = _refractory(p), _shared(p), _changing(p)
        self.approximation = "noise: exact Poisson, float64"
        if fallen_back:
            self.approximation += f"; the exact path, as the fast one does not support: {fallen_back}"

    def init(self, *, seed: int, chains: int, initial: Initial | None = None) -> ExactState:
        """Start at v_reset, the synaptic variables at their stationary means, no spike before, or as given."""
        p = self.program
        begin = start(p, chains, initial)
        shape = begin.v.shape
        return ExactState(
            seed=streams.check_seed(seed),
            step=0,
            u=begin.v,
            excitation=begin.excitation,
            inhibition=begin.inhibition,
            rising_exc=begin.rising_exc,
            rising_inh=begin.rising_inh,
            last_spike=begin.last_spike,
            held=np.broadcast_to(p.refractory_steps, shape).copy(),
            resources=np.ones(shape),
            utilization=np.full(shape, p.U),
            under_way=np.ascontiguousarray(begin.under_way.transpose(1, 0, 2)),
        )

    def run(self, state: ExactState, steps: int, record: Record) -> tuple[Samples, ExactState]:
        """Advance by ``steps``, in passes, each gathered before the next."""
        chains, n = state.u.shape
        per_pass = record.steps_a_pass(chains, n, self.program.shortest_refractory)
        return in_passes(gathering(self._run_pass), state, steps, record, per_pass)

    def _run_pass(self, state: ExactState, steps: int, record: Record) -> tuple[Samples, ExactState]:
        p = self.program
        chains, n = state.u.shape
        after = ExactState(
            state.seed, state.step + steps, state.u.copy(), state.excitation.copy(), state.inhibition.copy(),
            state.rising_exc.copy(), state.rising_inh.copy(), state.last_spike.copy(), state.held.copy(),
            state.resources.copy(), state.utilization.copy(), state.under_way.copy(),
            state.first_chain,
        )  # fmt: skip
        every = record.states_every or 0
        draws = after.step // every - state.step // every if every else 0
        states = np.zeros((chains, draws, n), dtype=np.int8)
        voltages = np.zeros((chains, steps if record.voltages else 0, n))
        room = n * (steps // p.shortest_refractory + 1) if record.spikes else 0
        spike_step = np.zeros((chains, room), dtype=np.int64)
        spike_unit = np.zeros((chains, room), dtype=np.int32)
        seed = np.uint64(state.seed & 0xFFFFFFFF), np.uint64(state.seed >> 32)

        def run_chain(c: int) -> int:
            return _run_chain(
                c + state.first_chain, *seed, state.step, steps,
                after.u[c], after.excitation[c], after.inhibition[c], after.rising_exc[c], after.rising_inh[c],
                after.last_spike[c], after.held[c], after.resources[c], after.utilization[c], after.under_way[c],
                p.dt, p.conductance_based, p.alpha, p.clamp,
                p.c_m, p.g_l, p.v_rest, p.v_reset, p.v_thresh, p.i_offset, p.e_rev_exc, p.e_rev_inh,
                p.tau_syn_exc, p.tau_syn_inh, self.recurrent, p.jitter_steps, self.short_term, self.refractory,
                self.shared, self.changing, p.background_weights, self.thresholds, self.offsets,
                every, states[c], voltages[c], spike_step[c], spike_unit[c],
            )  # fmt: skip

        with ThreadPoolExecutor(self.threads) as pool:
            counts = list(pool.map(run_chain, range(chains)))
        samples = Samples(
            start=state.step,
            stop=after.step,
            dt=p.dt,
            packed=PackedStates.of(states) if every else None,
            voltages=voltages if record.voltages else None,
            spikes=self._spikes(state, after.step, counts, spike_step, spike_unit) if record.spikes else None,
        )
        return samples, after

    def _spikes(self, state: ExactState, stop: int, counts: list[int], steps: Array, units: Array) -> Spikes:
        chain = np.repeat(np.arange(len(counts)), counts)
        unit = np.concatenate([row[:count] for row, count in zip(units, counts)]).astype(np.int64)
        step = np.concatenate([row[:count] for row, count in zip(steps, counts)])
        words = streams.refractory_words(state.seed, chain + state.first_chain, unit, step)
        law = self.program.refractory_law
        return Spikes(
            chain=chain,
            unit=unit,
            step=step,
            before=state.last_spike,
            refractory_steps=self.program.refractory_steps,
            start=state.step,
            stop=stop,
            drawn=None if law is None else law.periods(words, unit),
            drawn_before=None if law is None else state.held,
        )


# One compiled loop serves all programs, so what a program lacks is there as an array of no entries.


def _poisson_tables(means: Array) -> tuple[Array, Array]:
    """Return thresholds, and where those of each source begin and end: int64 (..., sources + 1)."""
    tables = [streams.poisson_thresholds(mean) for mean in means.ravel()]
    ends = np.cumsum([0, *map(len, tables)], dtype=np.int64)
    thresholds = np.concatenate([np.zeros(0, np.uint64), *tables])
    if means.ndim == 1:
        return thresholds, ends
    units, sources = means.shape
    return thresholds, ends[np.arange(units)[:, None] * sources + np.arange(sources + 1)]


def _recurrent(p: Program) -> Recurrent:
    target, source, weight, delay = p.synapses()
    delays, which = np.unique(delay, return_inverse=True)
    key = which * p.n_units + source
    order = np.argsort(key, kind="stable")
    first = np.searchsorted(key[order], np.arange(len(delays) * p.n_units + 1))
    return Recurrent(p.renewing, delays, first, target[order].astype(np.int32), weight[order])


def _refractory(p: Program) -> Refractory:
    law = p.refractory_law
    if law is None:
        return Refractory(False, np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros(1, np.int64))
    return Refractory(True, law.shortest.copy(), law.thresholds.copy(), law.first.copy())


def _shared(p: Program) -> Shared:
    none = np.zeros(0, dtype=np.int64)
    if p.pool is None:
        return Shared(
            0, 0, np.zeros(0, np.uint64), none, none, np.zeros(0, np.int32), np.zeros(0), none, none, none, 1
        )
    from scipy.sparse import csc_array

    pool, weights = p.pool, csc_array(p.pool.weights)
    thresholds, offsets = _poisson_tables(pool.rates[: pool.drawn] * p.dt)
    return Shared(
        len(pool.rates), pool.drawn, thresholds, offsets,
        weights.indptr.astype(np.int64), weights.indices.astype(np.int32), weights.data.astype(np.float64),
        pool.length.copy(), pool.shift.copy(), pool.events.copy(), pool.stride,
    )  # fmt: skip


def _changing(p: Program) -> Changing:
    courses = p.courses
    if courses is None:
        none = np.zeros((0, 0))
        return Changing(
            False, False, np.zeros(1, np.int64), none, np.zeros((0, 0), np.int8), none, np.zeros((0, 0, 0)),
            np.zeros(0), np.zeros(0), none, np.zeros((0, 0, 0)),
        )  # fmt: skip
    return Changing(
        True, courses.change_rates, courses.starts.copy(), courses.current.copy(), courses.clamp.copy(),
        p.background_rates.copy(), courses.rates.copy(), courses.frequency.copy(), courses.phase.copy(),
        courses.current_wave.copy(), courses.rates_wave.copy(),
    )  # fmt: skip
