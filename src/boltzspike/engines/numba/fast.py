"""The fast path: float32, explicit vectors, noise matched in moments; runs what ``unsupported`` lets through.

A block is what one call of a kernel advances: sixteen chains where the lanes are chains, one chain where they
are units. Blocks don't depend on each other and are shared out to threads. Every chain's random numbers
come from generators of its own, whose state is kept in ``FastState``. So neither threads nor splits of a run
nor other chains change a bit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain as chained

import numpy as np

from boltzspike import streams
from boltzspike.engines.numba.chain_lanes import chain_lanes_kernel
from boltzspike.engines.numba.gather import PassGatherer
from boltzspike.engines.numba.row import FIELDS, G_EXC, G_INH, ROW, Block, Output, Tables, V
from boltzspike.engines.numba.scaled import Layout, aligned, layout_of, scale, unsupported
from boltzspike.engines.numba.unit_lanes import unit_lanes_kernel
from boltzspike.engines.start import LONG_AGO, start
from boltzspike.gathered import JointOccupancy
from boltzspike.inputs import Initial
from boltzspike.program import FREE, Program
from boltzspike.samples import PackedStates, Record, Samples, Spikes, in_passes
from boltzspike.simd import LANES, instruction_set

__all__ = ["FastRunner", "FastState", "unsupported"]

Array = np.ndarray
_HORIZON = 2**30
"""Steps: what lies further back than this is as good as never, and no pass is longer."""
_CALLS_A_THREAD = 4
"""So many that a thread which was held up leaves some to the others; a call costs as much as two thousand rows."""
_WORTH_THREADS = 2**20
"""Neuron-steps: less is done, by one thread, before others have begun."""
_NEVER_FREE = 2**31 - 1
_STREAM_DOMAIN = 0xFFFF0000
"""Second counter word of the generators' seeds; the exact path's streams never get there."""


@dataclass(frozen=True, slots=True, eq=False)
class FastState:
    """State before step ``step``; below ``last_spike`` as in ``row.Block``, with blocks as first axis."""

    seed: int
    step: int
    last_spike: Array
    """int64 (chains, units): step of the last spike, ``LONG_AGO`` if there was none."""
    dynamics: Array
    generator: Array
    arriving: Array
    sources: Array
    increments: Array

    @property
    def chains(self) -> int:
        """Number of chains."""
        return len(self.last_spike)


class FastRunner:
    """Runs one program."""

    def __init__(
        self, program: Program, *, threads: int, layout: Layout | None = None, law: str | None = None
    ) -> None:
        """Scale the program and choose its kernel.

        ``layout`` says what the lanes are, ``None`` takes the faster for this number of units. ``law`` names
        the background's law (``noise.LAWS``), ``None`` chooses by rate.
        """
        reason = unsupported(program)
        assert reason is None, reason
        self.program = program
        self.threads = threads
        self.cpu = instruction_set()
        self.slots = program.delay_steps + 1
        layout = layout or layout_of(program)
        self.scaled = scaled = scale(program, layout, law)
        self.chains_a_block = ROW if layout == "chains" else 1
        constants = {
            "conductance": program.conductance_based,
            "levels": scaled.noise.levels,
            "bits_a_draw": scaled.noise.bits_a_draw,
            "degree": scaled.degree,
        }
        if layout == "chains":
            self.kernel = chain_lanes_kernel(**constants)
        else:
            self.kernel = unit_lanes_kernel(**constants, one_trace=scaled.traces == 1)

    @property
    def approximation(self) -> str:
        """What was approximated, for the result: ``"noise: eight-point, 3000 Hz"``."""
        return self.scaled.noise.words

    def init(self, *, seed: int, chains: int, initial: Initial | None = None) -> FastState:
        """Start at v_reset, the synaptic variables at their stationary means, no spike before, or as given."""
        seed = streams.check_seed(seed)
        n, slots = self.program.n_units, self.slots
        blocks = -(-chains // self.chains_a_block)
        rest = FastState(
            seed=seed,
            step=0,
            last_spike=np.full((chains, n), LONG_AGO, dtype=np.int64),
            dynamics=np.tile(self.scaled.start.ravel(), (blocks, 1)),
            generator=_generators(seed, blocks, self.scaled.layout),
            arriving=np.zeros((blocks, slots), dtype=np.int32),
            sources=np.zeros((blocks, slots * n), dtype=np.int32),
            increments=np.zeros((blocks, slots * n * self.scaled.traces * self.chains_a_block), dtype=np.float32),
        )
        return rest if initial is None else self._started(rest, initial)

    def _started(self, rest: FastState, initial: Initial) -> FastState:
        """Return the state at rest changed to what is given; spikes under way stand where the kernel puts them."""
        p, scaled, slots, n = self.program, self.scaled, self.slots, self.program.n_units
        begin = start(p, rest.chains, initial)
        chains_layout = scaled.layout == "chains"
        # a kernel delivers what is due in a step at the end of the one before, so that of step 0 is there
        target, source, weight, delay = p.synapses()
        chain, synapse = np.nonzero(begin.last_spike[:, source] == -1 - delay)
        for level, sign in ((begin.excitation, 1), (begin.inhibition, -1)):
            np.add.at(level, (chain, target[synapse]), np.maximum(sign * weight[synapse], 0))
        values = np.empty((rest.chains, FIELDS, n))
        values[:, G_EXC] = begin.excitation * scaled.unit[0] - scaled.offset[0]
        values[:, G_INH] = begin.inhibition * scaled.unit[1] - scaled.offset[1]
        values[:, V] = begin.v - p.v_thresh
        if chains_layout:
            padded = np.pad(values, [(0, -rest.chains % ROW), (0, 0), (0, 0)], mode="edge")
            dynamics = padded.reshape(-1, ROW, FIELDS, n).transpose(0, 3, 2, 1)
        else:
            padded = np.pad(values, [(0, 0), (0, 0), (0, -n % ROW)], mode="edge")
            dynamics = padded.reshape(rest.chains, FIELDS, -1, ROW).transpose(0, 2, 1, 3)

        arriving, sources, increments = rest.arriving.copy(), rest.sources.copy(), rest.increments.copy()
        lanes = ROW if chains_layout else 1
        trace = increments.reshape(len(dynamics), slots, n, scaled.traces, lanes)
        full = scaled.tables.renewal.reshape(scaled.traces, -1)[:, -1]
        # lanes that are units keep weights in units of their source's scale
        scales = np.ones(n, dtype=np.float32) if chains_layout else scaled.tables.scales
        by_block = np.pad(begin.last_spike, [(0, -rest.chains % lanes), (0, 0)], constant_values=LONG_AGO)
        by_block = by_block.reshape(-1, lanes, n)
        for step in range(-slots + 1, 0):
            slot = step % slots
            for block, unit in np.argwhere((by_block == step).any(axis=1)):
                entry = arriving[block, slot]
                sources[block, slot * n + entry] = unit << 2 | 1 if chains_layout else unit
                trace[block, slot, entry] = scales[unit] * full[:, None] * (by_block[block, :, unit] == step)
                arriving[block, slot] += 1
        return replace(
            rest,
            last_spike=begin.last_spike,
            dynamics=np.ascontiguousarray(dynamics, dtype=np.float32).reshape(len(dynamics), -1),
            arriving=arriving,
            sources=sources,
            increments=increments,
        )

    def run(self, state: FastState, steps: int, record: Record) -> tuple[Samples, FastState]:
        """Advance by ``steps``, in passes, each gathered before the next; one step a pass for voltages."""
        shortest = int(self.program.refractory_steps.min())
        per_pass = 1 if record.voltages else record.steps_a_pass(state.chains, self.program.n_units, shortest)
        # one table for all passes: it may be large
        joint = np.zeros((state.chains, 2 ** len(record.joint)) if record.joint else (0, 0), dtype=np.int64)
        run_pass = self._run_pass if len(self.scaled.biases) == 1 else self._run_within_segments
        samples, after = in_passes(partial(run_pass, joint=joint), state, steps, record, per_pass)
        if record.joint:
            counted = replace(samples.gathered, joint=JointOccupancy(units=tuple(record.joint), steps=joint))
            samples = replace(samples, gathered=counted)
        return samples, after

    def _run_within_segments(
        self, state: FastState, steps: int, record: Record, joint: Array
    ) -> tuple[Samples, FastState]:
        """Run in passes that end where a segment of the courses does."""
        assert self.program.courses is not None
        starts, stop = self.program.courses.starts, state.step + steps
        within = starts[(starts > state.step) & (starts < stop)]
        parts = []
        for end in [*within.tolist(), stop]:
            part, state = self._run_pass(state, end - state.step, record, joint)
            parts.append(part)
        return Samples.join(parts), state

    def _enter_segment(self, step: int, dynamics: Array) -> Tables:
        """Return the tables of the segment that ``step`` is in; at its start, units let go are put at v_reset."""
        p, scaled = self.program, self.scaled
        if p.courses is None:
            return scaled.tables
        segment = p.courses.segment(step)
        if segment > 0 and step == p.courses.starts[segment]:
            clamp = p.courses.clamp
            freed = np.flatnonzero((clamp[segment - 1] != FREE) & (clamp[segment] == FREE))
            fields = dynamics.reshape(len(dynamics), scaled.rows, FIELDS, ROW)
            reset = (p.v_reset - p.v_thresh)[freed]
            if scaled.layout == "chains":
                fields[:, freed, V] = reset[:, None]
            else:
                fields[:, freed // ROW, V, freed % ROW] = reset
        return scaled.tables._replace(bias=scaled.biases[segment])

    def _run_pass(self, state: FastState, steps: int, record: Record, joint: Array) -> tuple[Samples, FastState]:
        p, chains, n = self.program, state.chains, self.program.n_units
        scaled, slots, together = self.scaled, self.slots, self.chains_a_block
        stop = state.step + steps
        rest = state.dynamics.copy()
        tables = self._enter_segment(state.step, rest)
        free_before = self._free_at(state)
        spiking = np.empty((len(rest), scaled.rows + 1), dtype=np.int64)
        moving = state.generator, state.arriving, state.sources, state.increments
        blocks = Block(*map(aligned, (rest, free_before, *moving, spiking)))
        every = record.draws_every
        draws = stop // every - state.step // every if every else 0
        states = np.zeros((chains, draws, n), dtype=np.int8)
        room = together * n * (steps // int(p.refractory_steps.min()) + 1) if record.uses_spikes else 0
        gatherer = PassGatherer(record, state.last_spike, p.refractory_steps, state.step, stop, joint)

        def run_blocks(first: int, last: int) -> list[Array]:
            spikes = np.empty((2, last - first, room), dtype=np.int32)
            counts = np.zeros(last - first, dtype=np.int64)
            until_draw = every - state.step % every if every else -1
            output = Output(states, every, until_draw, counts, *spikes)
            slot = state.step % slots
            self.kernel(first, last, steps, slot, slots, n, scaled.traces, tables, blocks, output)
            kept = [spikes[:, i, :count] for i, count in enumerate(counts)]
            for b, (step, source) in enumerate(kept, first):
                gatherer.take(step, source, b * together, together)
            return [of_block.copy() for of_block in kept] if record.spikes else []

        kept = self._shared_out(run_blocks, len(rest), steps)
        after = replace(
            state,
            step=stop,
            dynamics=_within(blocks.dynamics, state.dynamics),
            generator=_within(blocks.generator, state.generator),
            arriving=_within(blocks.arriving, state.arriving),
            sources=_within(blocks.sources, state.sources),
            increments=_within(blocks.increments, state.increments),
        )
        free_at = _within(blocks.free_at, free_before)
        moved, unmoved = (self._by_chain(lanes, chains).astype(np.int64) for lanes in (free_at, free_before))
        last_spike = np.where(moved == unmoved, state.last_spike, moved - p.refractory_steps + state.step)
        spikes = None
        if record.spikes:
            step, source = np.concatenate(kept, axis=1).astype(np.int64)
            block_of = np.repeat(np.arange(len(rest)), [of_block.shape[1] for of_block in kept])
            if scaled.layout == "chains":
                chain, unit = block_of * ROW + source % ROW, source // ROW
            else:
                chain, unit = block_of, source
            # a block leaves them ordered by step and unit, its chains mixed
            order = np.argsort(chain, kind="stable")
            spikes = Spikes(
                chain=chain[order],
                unit=unit[order],
                step=step[order] + state.step,
                before=state.last_spike,
                refractory_steps=p.refractory_steps,
                start=state.step,
                stop=after.step,
            )
        samples = Samples(
            start=state.step,
            stop=after.step,
            dt=p.dt,
            packed=PackedStates.of(gatherer.drawn(states, record.states_every)) if record.states_every else None,
            spikes=spikes,
            voltages=self._voltages(after, steps, record.voltages) if record.voltages else None,
            energies=gatherer.energies(states),
            gathered=gatherer.gathered(last_spike, states, threads=self.threads),
        )
        return samples, replace(after, last_spike=last_spike)

    def _shared_out(self, run: Callable[[int, int], list[Array]], blocks: int, steps: int) -> list[Array]:
        """Run all blocks, in some calls for each thread, and join what they return."""
        bounds = np.linspace(0, blocks, min(blocks, _CALLS_A_THREAD * self.threads) + 1).astype(int).tolist()
        calls = bounds[:-1], bounds[1:]
        lanes = blocks * self.scaled.rows * ROW
        if self.threads > 1 and steps * lanes >= _WORTH_THREADS:
            with ThreadPoolExecutor(min(self.threads, len(calls[0]))) as pool:
                return list(chained.from_iterable(pool.map(run, *calls)))
        return list(chained.from_iterable(map(run, *calls)))

    def _free_at(self, state: FastState) -> Array:
        """Return when each lane is free, int32 (blocks, rows * 16), counted from this pass; spare lanes: never."""
        since = np.maximum(state.last_spike + self.program.refractory_steps - state.step, -_HORIZON)
        blocks = len(state.dynamics)
        if self.scaled.layout == "chains":
            lanes = np.full((blocks * ROW, since.shape[1]), _NEVER_FREE, dtype=np.int32)
            lanes[: state.chains] = since
            by_unit = lanes.reshape(blocks, ROW, -1).transpose(0, 2, 1)
            return np.ascontiguousarray(by_unit).reshape(blocks, -1)
        free_at = np.full((blocks, self.scaled.rows * ROW), _NEVER_FREE, dtype=np.int32)
        free_at[:, : since.shape[1]] = since
        return free_at

    def _voltages(self, state: FastState, steps: int, units: bool | tuple[int, ...]) -> Array:
        """Return the potentials after a pass of one step (or none), mV, (chains, steps, recorded units)."""
        fields = state.dynamics.reshape(len(state.dynamics), self.scaled.rows, FIELDS, ROW)
        relative = self._by_chain(fields[:, :, V].reshape(len(fields), -1), state.chains)
        p = self.program
        clamp = p.clamp if p.courses is None else p.courses.clamp[p.courses.segment(max(state.step - 1, 0))]
        # a clamp is a huge drive here: what it does to v is no potential
        held = np.where(clamp == FREE, relative + p.v_thresh, p.v_reset)
        chosen = slice(None) if isinstance(units, bool) else list(units)
        return held[:, chosen][:, None].repeat(steps, axis=1)

    def _by_chain(self, lanes: Array, chains: int) -> Array:
        """Return (blocks, rows * 16) as (chains, units)."""
        if self.scaled.layout == "chains":
            by_chain = lanes.reshape(len(lanes), -1, ROW).transpose(0, 2, 1).reshape(-1, self.scaled.rows)
            return by_chain[:chains]
        return lanes[:, : self.program.n_units]


def _within(padded: Array, shape: Array) -> Array:
    """Return the rows of an array without what ``aligned`` put behind them."""
    return padded[:, : shape.shape[1]]


def _generators(seed: int, blocks: int, layout: Layout) -> Array:
    """Return the generators' states, int32 (blocks, 4 * 8): Philox of (seed, layout, block, lane), counter 1."""
    c2, c3 = np.meshgrid(np.arange(LANES, dtype=np.uint64), np.arange(blocks, dtype=np.uint64))
    c0 = np.full_like(c2, 0 if layout == "chains" else 1)
    c1 = np.full_like(c2, _STREAM_DOMAIN)
    words = streams.philox4x32(c0, c1, c2, c3, np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32))
    state = np.stack(words, axis=1)
    state[:, 3] = 1
    return state.astype(np.uint32).view(np.int32).reshape(blocks, 4 * LANES)
