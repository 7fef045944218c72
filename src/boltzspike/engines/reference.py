"""The reference engine: one step at a time in float64 NumPy. It defines what every other engine must do.

The order of events in a step stands in ``boltzspike.program``; each of its four points is one block here.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any

import numpy as np

from boltzspike import streams
from boltzspike.engines import check_features
from boltzspike.engines.start import start
from boltzspike.inputs import Initial
from boltzspike.program import FREE, Program, positive
from boltzspike.samples import PackedStates, Record, Samples, Spikes, gathering, in_passes

Array = np.ndarray
NO_SPIKE = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceState:
    """State before step ``step``; arrays are (chains, units) unless said otherwise."""

    seed: int
    step: int
    u: Array
    """Membrane potential, mV."""
    excitation: Array
    """Excitatory conductance (uS) or current (nA)."""
    inhibition: Array
    """Magnitude of the inhibitory conductance (uS) or current (nA)."""
    rising_exc: Array
    """What feeds the excitatory variable of an alpha synapse; 0 for exponential ones."""
    rising_inh: Array
    last_spike: Array
    """Step of the last spike, ``LONG_AGO`` if there was none."""
    held: Array
    """Steps of the refractory period after it."""
    resources: Array
    """R at the last spike (Tsodyks-Markram synapses)."""
    utilization: Array
    """u at the last spike."""
    under_way: Array
    """Spikes not yet arrived, (slots, chains, units), at index step % slots, of the step in which they were
    emitted or, late by jitter, seem to be: the interval to the spike before in steps (renewing synapses), else the
    amplitude A; 0 where there is none."""


class ReferenceEngine:
    """Readable NumPy."""

    name = "reference"
    features = frozenset(
        {"conductance", "current", "alpha", "renewing", "additive", "tsodyks-markram", "clamp", "sparse", "delays",
         "jitter", "parallel-synapses", "random-refractory", "shared-background", "replay", "varying-bias",
         "varying-clamp", "varying-rates", "waves"}
    )  # fmt: skip
    chain_keyed = True

    def __init__(self, *, threads: int | None = None) -> None:
        """Ignore ``threads``: this engine is serial."""

    def prepare(self, program: Program) -> ReferenceRunner:
        """Return a runner."""
        check_features(self, program)
        return ReferenceRunner(program)


class ReferenceRunner:
    """Runs one program."""

    def __init__(self, program: Program) -> None:
        """Build the tables that depend on the program alone."""
        self.program = p = program
        self.decay_exc = np.exp(-p.dt / p.tau_syn_exc)
        self.decay_inh = np.exp(-p.dt / p.tau_syn_inh)
        self.step_mean_exc = p.tau_syn_exc / p.dt * -np.expm1(-p.dt / p.tau_syn_exc)
        self.step_mean_inh = p.tau_syn_inh / p.dt * -np.expm1(-p.dt / p.tau_syn_inh)
        # mean over a step of e (t/tau) exp(-t/tau), the answer of an alpha synapse to what feeds it
        self.step_mean_rising_exc = np.e * (self.step_mean_exc - self.decay_exc)
        self.step_mean_rising_inh = np.e * (self.step_mean_inh - self.decay_inh)
        self.rates = np.unique(p.background_rates)
        self.thresholds = [streams.poisson_thresholds(rate * p.dt) for rate in self.rates]
        self.synapses = _by_delay(p)
        if p.pool is not None:
            drawn = p.pool.rates[: p.pool.drawn]
            self.pool_thresholds = [streams.poisson_thresholds(rate * p.dt) for rate in drawn]
            self.pool_exc, self.pool_inh = positive(p.pool.weights), positive(-p.pool.weights)

    approximation = "noise: exact Poisson, float64"
    cpu = platform.machine()

    def init(self, *, seed: int, chains: int, initial: Initial | None = None) -> ReferenceState:
        """Start at v_reset, the synaptic variables at their stationary means, no spike before, or as given."""
        p = self.program
        begin = start(p, chains, initial)
        shape = begin.v.shape
        return ReferenceState(
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
            under_way=begin.under_way,
        )

    def run(self, state: ReferenceState, steps: int, record: Record) -> tuple[Samples, ReferenceState]:
        """Advance by ``steps``, in passes, each gathered before the next."""
        p = self.program
        chains, n = state.u.shape
        per_pass = record.steps_a_pass(chains, n, p.shortest_refractory)
        return in_passes(gathering(self._run_pass), state, steps, record, per_pass)

    def _run_pass(self, state: ReferenceState, steps: int, record: Record) -> tuple[Samples, ReferenceState]:
        p = self.program
        chains, units = len(state.u), np.arange(p.n_units)
        u, excitation, inhibition = state.u.copy(), state.excitation.copy(), state.inhibition.copy()
        rising_exc, rising_inh = state.rising_exc.copy(), state.rising_inh.copy()
        last_spike, under_way = state.last_spike.copy(), state.under_way.copy()
        held, resources, utilization = state.held.copy(), state.resources.copy(), state.utilization.copy()
        # an input raises the synaptic variable itself or, with alpha synapses, what feeds it
        raised_exc, raised_inh = (rising_exc, rising_inh) if p.alpha else (excitation, inhibition)
        states, voltages, emitted = [], [], []

        for step in range(state.step, state.step + steps):
            slots = p.slots
            i_offset, clamp = self._bias_and_clamp(step)

            # 1. Arrivals
            events = self._background_events(state.seed, chains, step)
            raised_exc += (events * np.maximum(p.background_weights, 0)).sum(axis=2)
            raised_inh += (events * np.maximum(-p.background_weights, 0)).sum(axis=2)
            if p.pool is not None:
                shared = self._pool_events(state.seed, chains, step)
                raised_exc += (self.pool_exc @ shared.T).T
                raised_inh += (self.pool_inh @ shared.T).T
            for delay, synapses in self.synapses.items():
                arriving = under_way[(step - 1 - delay) % slots]
                if arriving.any():
                    raised_exc += self._recurrent(arriving, synapses, p.tau_syn_exc, sign=1)
                    raised_inh += self._recurrent(arriving, synapses, p.tau_syn_inh, sign=-1)

            # 2. Membrane
            mean_exc = excitation * self.step_mean_exc + rising_exc * self.step_mean_rising_exc
            mean_inh = inhibition * self.step_mean_inh + rising_inh * self.step_mean_rising_inh
            if p.conductance_based:
                g_tot = p.g_l + mean_exc + mean_inh
                current = p.g_l * p.v_rest + mean_exc * p.e_rev_exc + mean_inh * p.e_rev_inh + i_offset
            else:
                g_tot = p.g_l
                current = p.g_l * p.v_rest + mean_exc - mean_inh + i_offset
            u_inf = current / g_tot
            free = step - last_spike >= held
            u = np.where(free, u_inf + (u - u_inf) * np.exp(-p.dt * g_tot / p.c_m), p.v_reset)

            # 3. Threshold
            spiked = free & np.where(clamp == FREE, u >= p.v_thresh, clamp == 1)
            u = np.where(spiked | (clamp != FREE), p.v_reset, u)
            interval = step - last_spike
            carried = np.ones(u.shape)
            if p.renewing:
                carried = interval
            elif p.tsodyks_markram:
                left = resources * (1 - utilization)
                recovered = left + (1 - left) * -np.expm1(-_ratio(interval * p.dt, p.tau_rec))
                used = p.U + utilization * (1 - p.U) * np.exp(-_ratio(interval * p.dt, p.tau_fac))
                resources = np.where(spiked, recovered, resources)
                utilization = np.where(spiked, used, utilization)
                carried = used * recovered / p.U
            # the slot whose spikes were all delivered is empty again; those of this step may be late
            under_way[(step + p.jitter_steps) % slots] = NO_SPIKE
            chain, unit = np.nonzero(spiked)
            late = streams.jitter(state.seed, chain, unit, step, p.jitter_steps) if p.jitter_steps else 0
            under_way[(step + late) % slots, chain, unit] = carried[spiked]
            last_spike = np.where(spiked, step, last_spike)
            if p.refractory_law is not None:
                words = streams.refractory_words(state.seed, np.arange(chains)[:, None], units, step)
                held = np.where(spiked, p.refractory_law.periods(words, units), held)

            # 4. Decay
            excitation[:] = (excitation + rising_exc * np.e * p.dt / p.tau_syn_exc) * self.decay_exc
            inhibition[:] = (inhibition + rising_inh * np.e * p.dt / p.tau_syn_inh) * self.decay_inh
            rising_exc *= self.decay_exc
            rising_inh *= self.decay_inh

            if record.states_every and (step + 1) % record.states_every == 0:
                states.append((step - last_spike < held).astype(np.int8))
            if record.voltages:
                voltages.append(u)
            if record.spikes:
                chain, unit = np.nonzero(spiked)
                emitted.append(np.stack([chain, np.full_like(chain, step), unit]))

        after = ReferenceState(
            seed=state.seed,
            step=state.step + steps,
            u=u,
            excitation=excitation,
            inhibition=inhibition,
            rising_exc=rising_exc,
            rising_inh=rising_inh,
            last_spike=last_spike,
            held=held,
            resources=resources,
            utilization=utilization,
            under_way=under_way,
        )
        empty = np.zeros((chains, 0, p.n_units))
        samples = Samples(
            start=state.step,
            stop=after.step,
            dt=p.dt,
            packed=PackedStates.of(_stack(states, empty.astype(np.int8))) if record.states_every else None,
            voltages=_stack(voltages, empty) if record.voltages else None,
            spikes=self._spikes(emitted, state, after.step) if record.spikes else None,
        )
        return samples, after

    def _bias_and_clamp(self, step: int) -> tuple[Array, Array]:
        """Return the bias current and the clamps of a step, (units,) each."""
        p, courses = self.program, self.program.courses
        if courses is None:
            return p.i_offset, p.clamp
        segment = courses.segment(step)
        swing = courses.swing(step) @ courses.current_wave
        return p.i_offset + courses.current[segment] + swing, courses.clamp[segment]

    def _background_events(self, seed: int, chains: int, step: int) -> Array:
        """Return the number of background spikes of this step, shape (chains, units, sources)."""
        rates, courses = self.program.background_rates, self.program.courses
        words = streams.words(seed, np.arange(chains), np.arange(len(rates)), step, rates.shape[1])
        if courses is not None and courses.change_rates:
            swing = np.tensordot(courses.swing(step), courses.rates_wave, axes=1)
            now = np.maximum(rates + courses.rates[courses.segment(step)] + swing, 0)
            return streams.poisson_counts(words, np.broadcast_to(now * self.program.dt, words.shape))
        events = np.zeros(words.shape)
        for rate, thresholds in zip(self.rates, self.thresholds):
            alike = rates == rate
            events[:, alike] = np.searchsorted(thresholds, words[:, alike], side="right")
        return events

    def _pool_events(self, seed: int, chains: int, step: int) -> Array:
        """Return the number of spikes of each shared source in this step, shape (chains, sources)."""
        pool = self.program.pool
        assert pool is not None
        words = streams.pool_words(seed, np.arange(chains), pool.drawn, step)
        columns = [
            np.searchsorted(table, words[:, k], side="right") for k, table in enumerate(self.pool_thresholds)
        ]
        for source in range(pool.drawn, len(pool.rates)):
            phase = (step + np.arange(chains) * pool.shift[source]) % pool.length[source]
            key = source * pool.stride + phase
            columns.append(np.searchsorted(pool.events, key, "right") - np.searchsorted(pool.events, key, "left"))
        return np.stack(columns, axis=1).astype(np.float64)

    def _recurrent(self, carried: Array, synapses: _Synapses, tau_syn: Array, *, sign: int) -> Array:
        """Return what the arriving spikes add, shape (chains, targets); ``tau_syn`` is the target's."""
        amount = carried[:, synapses.source]
        if self.program.renewing:
            amount = -np.expm1(-amount * self.program.dt / tau_syn[synapses.target])
        return (synapses.into_target @ (amount * np.maximum(sign * synapses.weight, 0)).T).T

    def _spikes(self, emitted: list[Array], state: ReferenceState, stop: int) -> Spikes:
        chain, step, unit = np.concatenate(emitted, axis=1) if emitted else np.zeros((3, 0), dtype=np.int64)
        order = np.lexsort((unit, step, chain))
        chain, unit, step = chain[order], unit[order], step[order]
        law, words = self.program.refractory_law, streams.refractory_words(state.seed, chain, unit, step)
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


@dataclass(frozen=True, slots=True, eq=False)
class _Synapses:
    """Synapses of one delay: arrays (synapses,), and the matrix that adds them up, (targets, synapses)."""

    target: Array
    source: Array
    weight: Array
    into_target: Any


def _by_delay(program: Program) -> dict[int, _Synapses]:
    from scipy.sparse import csr_array

    target, source, weight, delay = program.synapses()
    groups = {}
    for steps in np.unique(delay):
        chosen = np.flatnonzero(delay == steps)
        ones = (np.ones(len(chosen)), (target[chosen], np.arange(len(chosen))))
        into_target = csr_array(ones, shape=(program.n_units, len(chosen)))
        groups[int(steps)] = _Synapses(target[chosen], source[chosen], weight[chosen], into_target)
    return groups


def _ratio(time: Array, tau: float) -> Array:
    """Return time / tau, infinite for tau = 0."""
    return time / tau if tau > 0 else np.full(np.shape(time), np.inf)


def _stack(rows: list[Array], empty: Array) -> Array:
    return np.stack(rows, axis=1) if rows else empty
