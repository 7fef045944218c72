"""The fast path: float32, explicit vectors, noise matched in moments; runs what ``unsupported`` lets through.

A block is what one call of a kernel advances: sixteen chains where the lanes are chains, one chain where they
are units. Blocks don't depend on each other and are shared out to threads. Every chain's random numbers
come from generators of its own, whose state is kept in ``FastState``. So neither threads nor splits of a run
nor other chains change a bit.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from boltzspike import streams
from boltzspike.engines.numba.chain_lanes import chain_lanes_kernel
from boltzspike.engines.numba.row import FIELDS, ROW, Block, Output, V
from boltzspike.engines.numba.scaled import CHAIN_LANES_UP_TO, Layout, scale, unsupported
from boltzspike.engines.numba.unit_lanes import unit_lanes_kernel
from boltzspike.program import Program
from boltzspike.samples import Record, Samples, Spikes, in_passes
from boltzspike.simd import LANES

__all__ = ["FastRunner", "FastState", "unsupported"]

Array = np.ndarray
LONG_AGO = -(2**40)
_HORIZON = 2**30
"""Steps: what lies further back than this is as good as never, and no pass is longer."""
_SPIKE_BUFFER = 8_000_000
"""Spikes that one pass may leave room for, over all chains: 64 MB."""
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
        self.slots = program.delay_steps + 1
        layout = layout or ("chains" if program.n_units <= CHAIN_LANES_UP_TO else "units")
        self.scaled = scaled = scale(program, layout, law)
        self.chains_a_block = ROW if layout == "chains" else 1
        constants = {
            "conductance": program.conductance_based,
            "levels": scaled.noise.levels,
            "packed": scaled.noise.packed,
            "degree": scaled.degree,
        }
        if layout == "chains":
            self.kernel = chain_lanes_kernel(**constants)
        else:
            self.kernel = unit_lanes_kernel(**constants, one_trace=scaled.traces == 1)

    @property
    def approximation(self) -> str:
        """What was approximated, for the result: ``"noise: three-point, 3000 Hz"``."""
        return self.scaled.noise.words

    def init(self, *, seed: int, chains: int) -> FastState:
        """Start at v_reset, with the synaptic variables at their stationary means, no spike before."""
        seed = streams.check_seed(seed)
        n, slots = self.program.n_units, self.slots
        blocks = -(-chains // self.chains_a_block)
        return FastState(
            seed=seed,
            step=0,
            last_spike=np.full((chains, n), LONG_AGO, dtype=np.int64),
            dynamics=np.tile(self.scaled.start.ravel(), (blocks, 1)),
            generator=_generators(seed, blocks, self.scaled.layout),
            arriving=np.zeros((blocks, slots), dtype=np.int32),
            sources=np.zeros((blocks, slots * n), dtype=np.int32),
            increments=np.zeros((blocks, slots * n * self.scaled.traces * self.chains_a_block), dtype=np.float32),
        )

    def run(self, state: FastState, steps: int, record: Record) -> tuple[Samples, FastState]:
        """Advance by ``steps``, in passes short enough for the spike buffer; one step a pass for voltages."""
        per_pass = 1 if record.voltages else _HORIZON
        if record.spikes and not record.voltages:
            shortest = int(self.program.refractory_steps.min())
            per_pass = max(_SPIKE_BUFFER // (state.chains * self.program.n_units) - 1, 1) * shortest
        return in_passes(self._run_pass, state, steps, record, per_pass)

    def _run_pass(self, state: FastState, steps: int, record: Record) -> tuple[Samples, FastState]:
        p, chains, n = self.program, state.chains, self.program.n_units
        scaled, slots, together = self.scaled, self.slots, self.chains_a_block
        after = replace(
            state,
            step=state.step + steps,
            dynamics=_aligned(state.dynamics),
            generator=state.generator.copy(),
            arriving=state.arriving.copy(),
            sources=state.sources.copy(),
            increments=state.increments.copy(),
        )
        free_at = self._free_at(state)
        free_before = free_at.copy()
        blocks = len(free_at)
        every = record.states_every or 0
        draws = after.step // every - state.step // every if every else 0
        states = np.zeros((chains, draws, n), dtype=np.int8)
        room = together * n * (steps // int(p.refractory_steps.min()) + 1) if record.spikes else 0
        spike_step, spike_source = np.zeros((2, blocks, room), dtype=np.int32)

        def run_block(b: int) -> int:
            block = Block(
                after.dynamics[b],
                free_at[b],
                after.generator[b],
                after.arriving[b],
                after.sources[b],
                after.increments[b],
                np.zeros(scaled.rows + 1, dtype=np.int32),
            )
            output = Output(
                states[b * together : (b + 1) * together],
                every,
                every - state.step % every if every else -1,
                spike_step[b],
                spike_source[b],
            )
            count, _ = self.kernel(
                steps, state.step % slots, slots, n, scaled.traces, scaled.tables, block, output
            )
            return int(count)

        if blocks > 1 and self.threads > 1:
            with ThreadPoolExecutor(self.threads) as pool:
                counts = list(pool.map(run_block, range(blocks)))
        else:
            counts = [run_block(b) for b in range(blocks)]

        moved, unmoved = (self._by_chain(lanes, chains).astype(np.int64) for lanes in (free_at, free_before))
        last_spike = np.where(moved == unmoved, state.last_spike, moved - p.refractory_steps + state.step)
        spikes = None
        if record.spikes:
            step, source = (
                np.concatenate([row[:count] for row, count in zip(kept, counts)]).astype(np.int64)
                for kept in (spike_step, spike_source)
            )
            block_of = np.repeat(np.arange(blocks), counts)
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
            states=states if every else None,
            spikes=spikes,
            voltages=self._voltages(after, steps) if record.voltages else None,
        )
        return samples, replace(after, last_spike=last_spike)

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

    def _voltages(self, state: FastState, steps: int) -> Array:
        """Return the potentials after a pass of one step (or none), mV, (chains, steps, units)."""
        fields = state.dynamics.reshape(len(state.dynamics), self.scaled.rows, FIELDS, ROW)
        relative = self._by_chain(fields[:, :, V].reshape(len(fields), -1), state.chains)
        return (relative + self.program.v_thresh)[:, None].repeat(steps, axis=1)

    def _by_chain(self, lanes: Array, chains: int) -> Array:
        """Return (blocks, rows * 16) as (chains, units)."""
        if self.scaled.layout == "chains":
            by_chain = lanes.reshape(len(lanes), -1, ROW).transpose(0, 2, 1).reshape(-1, self.scaled.rows)
            return by_chain[:chains]
        return lanes[:, : self.program.n_units]


def _generators(seed: int, blocks: int, layout: Layout) -> Array:
    """Return the generators' states, int32 (blocks, 4 * 8): Philox of (seed, layout, block, lane), counter 1."""
    c2, c3 = np.meshgrid(np.arange(LANES, dtype=np.uint64), np.arange(blocks, dtype=np.uint64))
    c0 = np.full_like(c2, 0 if layout == "chains" else 1)
    c1 = np.full_like(c2, _STREAM_DOMAIN)
    words = streams.philox4x32(c0, c1, c2, c3, np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32))
    state = np.stack(words, axis=1)
    state[:, 3] = 1
    return state.astype(np.uint32).view(np.int32).reshape(blocks, 4 * LANES)


def _aligned(blocks: Array) -> Array:
    """Copy to memory that starts on a cache line; a block is a whole number of lines."""
    spare = np.empty(blocks.size + 16, dtype=blocks.dtype)
    start = -spare.ctypes.data % 64 // blocks.itemsize
    copy = spare[start : start + blocks.size].reshape(blocks.shape)
    copy[:] = blocks
    return copy
