"""The reference engine: one step at a time in float64 NumPy. It defines what every other engine must do.

The order of events in a step stands in ``boltzspike.program``; each of its four points is one block here.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

import numpy as np

from boltzspike import streams
from boltzspike.engines import check_features
from boltzspike.program import FREE, Program
from boltzspike.samples import PackedStates, Record, Samples, Spikes, gathering, in_passes

Array = np.ndarray
NO_SPIKE = 0
LONG_AGO = -(2**40)


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
    under_way: Array
    """Spikes not yet arrived, (delay + 1, chains, units), at index step % (delay + 1): the interval to the
    spike before in steps, 0 where no spike was emitted."""


class ReferenceEngine:
    """Readable NumPy."""

    name = "reference"
    features = frozenset({"conductance", "current", "alpha", "renewing", "additive", "clamp"})

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
        self.weights_exc, self.weights_inh = np.maximum(p.weights, 0), np.maximum(-p.weights, 0)
        self.rates = np.unique(p.background_rates)
        self.thresholds = [streams.poisson_thresholds(rate * p.dt) for rate in self.rates]

    approximation = "noise: exact Poisson, float64"
    cpu = platform.machine()

    def init(self, *, seed: int, chains: int) -> ReferenceState:
        """Start at v_reset, with the synaptic variables at their stationary means, no spike before."""
        p = self.program
        excitation, inhibition = p.mean_input()
        area, feeding = (np.e, 1.0) if p.alpha else (1.0, 0.0)
        shape = (chains, p.n_units)
        return ReferenceState(
            seed=streams.check_seed(seed),
            step=0,
            u=np.broadcast_to(p.v_reset, shape).copy(),
            excitation=np.broadcast_to(area * excitation, shape).copy(),
            inhibition=np.broadcast_to(area * inhibition, shape).copy(),
            rising_exc=np.broadcast_to(feeding * excitation, shape).copy(),
            rising_inh=np.broadcast_to(feeding * inhibition, shape).copy(),
            last_spike=np.full(shape, LONG_AGO, dtype=np.int64),
            under_way=np.zeros((p.delay_steps + 1, *shape), dtype=np.int64),
        )

    def run(self, state: ReferenceState, steps: int, record: Record) -> tuple[Samples, ReferenceState]:
        """Advance by ``steps``, in passes, each gathered before the next."""
        p = self.program
        chains, n = state.u.shape
        per_pass = record.steps_a_pass(chains, n, int(p.refractory_steps.min()))
        return in_passes(gathering(self._run_pass), state, steps, record, per_pass)

    def _run_pass(self, state: ReferenceState, steps: int, record: Record) -> tuple[Samples, ReferenceState]:
        p = self.program
        chains = len(state.u)
        u, excitation, inhibition = state.u.copy(), state.excitation.copy(), state.inhibition.copy()
        rising_exc, rising_inh = state.rising_exc.copy(), state.rising_inh.copy()
        last_spike, under_way = state.last_spike.copy(), state.under_way.copy()
        # an input raises the synaptic variable itself or, with alpha synapses, what feeds it
        raised_exc, raised_inh = (rising_exc, rising_inh) if p.alpha else (excitation, inhibition)
        states, voltages, emitted = [], [], []

        for step in range(state.step, state.step + steps):
            slot = step % (p.delay_steps + 1)

            # 1. Arrivals
            events = self._background_events(state.seed, chains, step)
            raised_exc += (events * np.maximum(p.background_weights, 0)).sum(axis=2)
            raised_inh += (events * np.maximum(-p.background_weights, 0)).sum(axis=2)
            raised_exc += self._recurrent(under_way[slot], self.weights_exc, p.tau_syn_exc)
            raised_inh += self._recurrent(under_way[slot], self.weights_inh, p.tau_syn_inh)

            # 2. Membrane
            mean_exc = excitation * self.step_mean_exc + rising_exc * self.step_mean_rising_exc
            mean_inh = inhibition * self.step_mean_inh + rising_inh * self.step_mean_rising_inh
            if p.conductance_based:
                g_tot = p.g_l + mean_exc + mean_inh
                current = p.g_l * p.v_rest + mean_exc * p.e_rev_exc + mean_inh * p.e_rev_inh + p.i_offset
            else:
                g_tot = p.g_l
                current = p.g_l * p.v_rest + mean_exc - mean_inh + p.i_offset
            u_inf = current / g_tot
            free = step - last_spike >= p.refractory_steps
            u = np.where(free, u_inf + (u - u_inf) * np.exp(-p.dt * g_tot / p.c_m), p.v_reset)

            # 3. Threshold
            spiked = free & np.where(p.clamp == FREE, u >= p.v_thresh, p.clamp == 1)
            u = np.where(spiked | (p.clamp != FREE), p.v_reset, u)
            under_way[slot] = np.where(spiked, step - last_spike, NO_SPIKE)
            last_spike = np.where(spiked, step, last_spike)

            # 4. Decay
            excitation[:] = (excitation + rising_exc * np.e * p.dt / p.tau_syn_exc) * self.decay_exc
            inhibition[:] = (inhibition + rising_inh * np.e * p.dt / p.tau_syn_inh) * self.decay_inh
            rising_exc *= self.decay_exc
            rising_inh *= self.decay_inh

            if record.states_every and (step + 1) % record.states_every == 0:
                states.append((step - last_spike < p.refractory_steps).astype(np.int8))
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

    def _background_events(self, seed: int, chains: int, step: int) -> Array:
        """Return the number of background spikes of this step, shape (chains, units, sources)."""
        rates = self.program.background_rates
        words = streams.words(seed, np.arange(chains), np.arange(len(rates)), step, rates.shape[1])
        events = np.zeros(words.shape)
        for rate, thresholds in zip(self.rates, self.thresholds):
            alike = rates == rate
            events[:, alike] = np.searchsorted(thresholds, words[:, alike], side="right")
        return events

    def _recurrent(self, intervals: Array, weights: Array, tau_syn: Array) -> Array:
        """Return what the arriving spikes add, shape (chains, targets); ``tau_syn`` is the target's."""
        if not intervals.any():
            return np.zeros(intervals.shape)
        arrived = np.broadcast_to((intervals != NO_SPIKE)[:, None, :], (len(intervals), *weights.shape))
        if self.program.renewing:
            increment = -np.expm1(-intervals[:, None, :] * self.program.dt / tau_syn[:, None])
        else:
            increment = np.ones(arrived.shape)
        return np.einsum("ckj,kj->ck", np.where(arrived, increment, 0.0), weights)

    def _spikes(self, emitted: list[Array], state: ReferenceState, stop: int) -> Spikes:
        chain, step, unit = np.concatenate(emitted, axis=1) if emitted else np.zeros((3, 0), dtype=np.int64)
        order = np.lexsort((unit, step, chain))
        return Spikes(
            chain=chain[order],
            unit=unit[order],
            step=step[order],
            before=state.last_spike,
            refractory_steps=self.program.refractory_steps,
            start=state.step,
            stop=stop,
        )


def _stack(rows: list[Array], empty: Array) -> Array:
    return np.stack(rows, axis=1) if rows else empty
