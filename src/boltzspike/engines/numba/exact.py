"""The exact path: the reference engine's loop, compiled; float64, exact exponential, exact Poisson counts.

It follows ``engines/reference.py`` block by block and draws the same random numbers, so it emits the same
spikes. What is faster must agree with it in distribution.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np

from boltzspike import streams
from boltzspike.engines.numba.versions import instruction_set
from boltzspike.program import FREE, Program
from boltzspike.samples import PackedStates, Record, Samples, Spikes, gathering, in_passes

Array = np.ndarray
LONG_AGO = -(2**40)

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
    under_way: Array
    """(chains, delay + 1, units): intervals in steps, 0 where no spike was emitted."""


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
def _run_chain(
    chain, seed_low, seed_high, start, steps,
    u, excitation, inhibition, rising_exc, rising_inh, last_spike, under_way,
    dt, conductance, alpha, renewing, refractory, clamp,
    c_m, g_l, v_rest, v_reset, v_thresh, i_offset, e_exc, e_inh, tau_exc, tau_inh,
    weights, source_weights, thresholds, offsets,
    every, states, voltages, spike_step, spike_unit,
):  # fmt: skip
    n, sources = source_weights.shape
    slots = under_way.shape[0]
    decay_exc, decay_inh = np.exp(-dt / tau_exc), np.exp(-dt / tau_inh)
    mean_exc, mean_inh = -tau_exc / dt * np.expm1(-dt / tau_exc), -tau_inh / dt * np.expm1(-dt / tau_inh)
    mean_rising_exc, mean_rising_inh = np.e * (mean_exc - decay_exc), np.e * (mean_inh - decay_inh)
    raised_exc, raised_inh = (rising_exc, rising_inh) if alpha else (excitation, inhibition)
    emitted = 0
    draw = 0
    for step in range(start, start + steps):
        slot = step % slots
        low, high = np.uint64(step & 0xFFFFFFFF), np.uint64(step >> 32)

        # 1. Arrivals: background, then recurrent spikes
        for k in range(n):
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
        for j in range(n):
            interval = under_way[slot, j]
            if interval == 0:
                continue
            for k in range(n):
                w = weights[k, j]
                if w > 0:
                    raised_exc[k] += w * (-np.expm1(-interval * dt / tau_exc[k]) if renewing else 1.0)
                elif w < 0:
                    raised_inh[k] -= w * (-np.expm1(-interval * dt / tau_inh[k]) if renewing else 1.0)

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
            under_way[slot, k] = 0
            if spiked:
                u[k] = v_reset[k]
                under_way[slot, k] = step - last_spike[k]
                last_spike[k] = step
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

    def __init__(self, program: Program, *, threads: int) -> None:
        """Gather the tables that depend on the program alone."""
        self.program = p = program
        self.threads = threads
        self.cpu = instruction_set()
        n, sources = p.background_rates.shape
        tables = [[streams.poisson_thresholds(rate * p.dt) for rate in rates] for rates in p.background_rates]
        lengths = np.array([[len(table) for table in row] for row in tables], dtype=np.int64).reshape(n, sources)
        ends = np.cumsum(lengths).reshape(n, sources)
        first = np.concatenate([[0], ends[:-1, -1]]) if sources else np.zeros(n, dtype=np.int64)
        self.offsets = np.concatenate([first[:, None], ends], axis=1)
        self.thresholds = np.concatenate([np.zeros(0, np.uint64), *(table for row in tables for table in row)])

    approximation = "noise: exact Poisson, float64"

    def init(self, *, seed: int, chains: int) -> ExactState:
        """Start at v_reset, with the synaptic variables at their stationary means, no spike before."""
        p = self.program
        excitation, inhibition = p.mean_input()
        area, feeding = (np.e, 1.0) if p.alpha else (1.0, 0.0)
        shape = (chains, p.n_units)
        return ExactState(
            seed=streams.check_seed(seed),
            step=0,
            u=np.broadcast_to(p.v_reset, shape).copy(),
            excitation=np.broadcast_to(area * excitation, shape).copy(),
            inhibition=np.broadcast_to(area * inhibition, shape).copy(),
            rising_exc=np.broadcast_to(feeding * excitation, shape).copy(),
            rising_inh=np.broadcast_to(feeding * inhibition, shape).copy(),
            last_spike=np.full(shape, LONG_AGO, dtype=np.int64),
            under_way=np.zeros((chains, p.delay_steps + 1, p.n_units), dtype=np.int64),
        )

    def run(self, state: ExactState, steps: int, record: Record) -> tuple[Samples, ExactState]:
        """Advance by ``steps``, in passes, each gathered before the next."""
        chains, n = state.u.shape
        per_pass = record.steps_a_pass(chains, n, int(self.program.refractory_steps.min()))
        return in_passes(gathering(self._run_pass), state, steps, record, per_pass)

    def _run_pass(self, state: ExactState, steps: int, record: Record) -> tuple[Samples, ExactState]:
        p = self.program
        chains, n = state.u.shape
        after = ExactState(
            state.seed, state.step + steps, state.u.copy(), state.excitation.copy(), state.inhibition.copy(),
            state.rising_exc.copy(), state.rising_inh.copy(), state.last_spike.copy(), state.under_way.copy(),
        )  # fmt: skip
        every = record.states_every or 0
        draws = after.step // every - state.step // every if every else 0
        states = np.zeros((chains, draws, n), dtype=np.int8)
        voltages = np.zeros((chains, steps if record.voltages else 0, n))
        room = n * (steps // int(p.refractory_steps.min()) + 1) if record.spikes else 0
        spike_step = np.zeros((chains, room), dtype=np.int64)
        spike_unit = np.zeros((chains, room), dtype=np.int32)
        seed = np.uint64(state.seed & 0xFFFFFFFF), np.uint64(state.seed >> 32)

        def run_chain(c: int) -> int:
            return _run_chain(
                c, *seed, state.step, steps,
                after.u[c], after.excitation[c], after.inhibition[c], after.rising_exc[c], after.rising_inh[c],
                after.last_spike[c], after.under_way[c],
                p.dt, p.conductance_based, p.alpha, p.renewing, p.refractory_steps, p.clamp,
                p.c_m, p.g_l, p.v_rest, p.v_reset, p.v_thresh, p.i_offset, p.e_rev_exc, p.e_rev_inh,
                p.tau_syn_exc, p.tau_syn_inh, p.weights, p.background_weights, self.thresholds, self.offsets,
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
            spikes=None
            if not record.spikes
            else Spikes(
                chain=np.repeat(np.arange(chains), counts),
                unit=np.concatenate([units[:count] for units, count in zip(spike_unit, counts)]).astype(np.int64),
                step=np.concatenate([row[:count] for row, count in zip(spike_step, counts)]),
                before=state.last_spike,
                refractory_steps=p.refractory_steps,
                start=state.step,
                stop=after.step,
            ),
        )
        return samples, after
