"""Runs a program on one GPU: tables and state to the device, a launch a pass, what was counted back.

The random words are those of the reference engine: its background counts are these. In float64 its spikes are
too, but for the last bits of exp; in float32 without noise they fall within one step of its.
"""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from boltzspike import streams
from boltzspike.engines.cuda.engine import find_device
from boltzspike.engines.cuda.kernel import (
    CELLS,
    GUIDE_SHIFT,
    PARAMETERS,
    Dynamics,
    Output,
    Tables,
    Teams,
    chain_kernel,
    count_pairs,
)
from boltzspike.engines.start import start
from boltzspike.gathered import Gathered, JointOccupancy, Occupancy, PairCounts
from boltzspike.inputs import Initial
from boltzspike.program import FREE, Program, is_sparse
from boltzspike.samples import PackedStates, Record, Samples, Spikes, at_draws, gather, in_passes

Array = np.ndarray

THREADS_A_BLOCK = 128
"""That small chains are put together to."""
MOST_THREADS = 512
"""Of a chain. Units beyond so many share threads."""
REGISTERS, REGISTERS_OF_MANY = 64, 40
"""Of a thread, at most, with one unit and with more: with fewer, more blocks fit a multiprocessor (H200)."""
JOINT_UNITS_ON_DEVICE = 12
"""Of a joint state counted there: 32 KiB a chain. More are counted here from the spikes."""
_TILE, PARTS = 16, 1024
"""Of the matrix of pairs: units of a block, either way; blocks, about, that share the chains."""


@dataclass(frozen=True, slots=True, eq=False)
class CudaState:
    """State before step ``step``; the arrays are those of ``kernel.Dynamics``, on the host."""

    seed: int
    step: int
    u: Array
    """(chains, units), mV from threshold."""
    excitation: Array
    """(chains, units), in units of c_m/dt times the mean of exp(-t/tau_syn) over a step."""
    inhibition: Array
    last_spike: Array
    """int64 (chains, units)."""
    listed: Array
    sources: Array
    carried: Array


class _OnDevice(NamedTuple):
    """A state whose arrays a launch changes."""

    seed: int
    step: int
    chains: int
    dynamics: Dynamics


class CudaRunner:
    """Runs one program."""

    def __init__(self, program: Program, *, dtype: np.dtype) -> None:
        """Scale the program, choose its kernel, and put its tables onto the device."""
        self.program = p = program
        self.dtype = dtype
        self.device = find_device()
        decay = np.exp(-p.dt / np.stack([p.tau_syn_exc, p.tau_syn_inh]))
        self.rate = p.dt / np.stack([p.tau_syn_exc, p.tau_syn_inh])
        # so that the step's mean conductance, in units of c_m/dt, is the stored number
        self.unit = -np.expm1(-self.rate) / self.rate * p.dt / p.c_m
        sparse = is_sparse(p.weights)
        self.teams = Teams.of(p.n_units, block=THREADS_A_BLOCK, most=MOST_THREADS)
        if sparse:
            self.teams = Teams(self.teams.threads, 1, False)
        self.renewing_alike = p.renewing and bool(np.all(self.rate == self.rate[:, :1]))
        # only where each spike carries one exp of its own to both, do these differ
        self.kinds = 2 if self.renewing_alike and np.any(self.rate[0] != self.rate[1]) else 1
        self.kernel = partial(
            chain_kernel,
            units=p.n_units,
            teams=self.teams,
            delay=p.delay_steps,
            conductance=p.conductance_based,
            renewing=p.renewing,
            alike=self.renewing_alike,
            kinds=self.kinds,
            sparse=sparse,
            clamped=bool(np.any(p.clamp != FREE)),
            sources=p.background_rates.shape[1],
            dtype=dtype,
            registers=REGISTERS if self.teams.threads == p.n_units else REGISTERS_OF_MANY,
        )
        self.tables = Tables(*map(cuda.to_device, self._tables(decay)))
        self._left_there: tuple[CudaState, Dynamics] | None = None

    def _tables(self, decay: Array) -> Tables:
        p = self.program
        drive = p.g_l * (p.v_rest - p.v_thresh) + p.i_offset
        if p.conductance_based:
            reversal = np.stack([p.e_rev_exc, p.e_rev_inh]) - p.v_thresh
        else:
            reversal = np.stack([np.ones(p.n_units), -np.ones(p.n_units)])
        per_step = p.dt / p.c_m
        parameters = np.stack(
            [p.g_l * per_step, drive * per_step, *reversal, p.v_reset - p.v_thresh, *decay, *self.rate]
        )
        assert len(parameters) == PARAMETERS
        first = targets = np.zeros(1, dtype=np.int32)
        target, source, weight, _ = p.synapses()
        scaled = weight * np.where(weight > 0, self.unit[0, target], self.unit[1, target])
        if is_sparse(p.weights):
            order = np.argsort(source, kind="stable")
            first = np.searchsorted(source[order], np.arange(p.n_units + 1)).astype(np.int32)
            targets, weights = target[order].astype(np.int32), scaled[order]
        else:
            weights = np.zeros((p.n_units, p.n_units))
            weights[source, target] = scaled
        of_synapse = np.where(p.background_weights >= 0, self.unit[0][:, None], self.unit[1][:, None])
        return Tables(
            parameters=parameters.astype(self.dtype).reshape(-1),
            refractory=p.refractory_steps.astype(np.int32),
            clamp=p.clamp.copy(),
            **poisson_tables(p.background_rates * p.dt),
            source_weights=(p.background_weights * of_synapse).astype(self.dtype),
            weights=np.ascontiguousarray(weights, dtype=self.dtype).reshape(-1),
            first=first,
            targets=targets,
        )

    @property
    def approximation(self) -> str:
        """What was approximated, for the result."""
        return f"noise: exact Poisson, {self.dtype.name} on {self.device}"

    @property
    def cpu(self) -> str:
        """Where states repeat bit for bit: the kind of GPU."""
        return self.device

    def init(self, *, seed: int, chains: int, initial: Initial | None = None) -> CudaState:
        """Start at v_reset, the synaptic variables at their stationary means, no spike before, or as given."""
        p = self.program
        begin = start(p, chains, initial)
        slots, n = p.delay_steps + 1, p.n_units
        listed = np.zeros((chains, slots), dtype=np.int32)
        sources = np.zeros((chains, slots, n), dtype=np.int32)
        carried = np.zeros((chains, slots, n, self.kinds), dtype=self.dtype)
        for slot, chain in np.argwhere(begin.under_way.any(axis=2)):
            units = np.flatnonzero(begin.under_way[slot, chain])
            amount = np.repeat(begin.under_way[slot, chain, units][:, None], self.kinds, axis=1)
            if self.renewing_alike:
                amount = -np.expm1(-amount * self.rate[: self.kinds, units].T)
            listed[chain, slot] = len(units)
            sources[chain, slot, : len(units)] = units
            carried[chain, slot, : len(units)] = amount
        return CudaState(
            seed=streams.check_seed(seed),
            step=0,
            u=(begin.v - p.v_thresh).astype(self.dtype),
            excitation=(begin.excitation * self.unit[0]).astype(self.dtype),
            inhibition=(begin.inhibition * self.unit[1]).astype(self.dtype),
            last_spike=begin.last_spike,
            listed=listed,
            sources=sources,
            carried=carried,
        )

    def run(self, state: CudaState, steps: int, record: Record) -> tuple[Samples, CudaState]:
        """Advance by ``steps``, in passes of one launch each; the state stays on the device between them."""
        chains, n = state.u.shape
        per_pass = _left(record).steps_a_pass(chains, n, self.program.shortest_refractory)
        if self._left_there is not None and self._left_there[0] is state:
            dynamics = self._left_there[1]
        else:
            dynamics = Dynamics(*(cuda.to_device(getattr(state, name).reshape(-1)) for name in Dynamics._fields))
        self._left_there = None
        samples, on_device = in_passes(
            self._run_pass, _OnDevice(state.seed, state.step, chains, dynamics), steps, record, per_pass
        )
        arrays = (
            array.copy_to_host().reshape(getattr(state, name).shape) for name, array in dynamics._asdict().items()
        )
        after = CudaState(state.seed, on_device.step, *arrays)
        self._left_there = after, dynamics
        return samples, after

    def _run_pass(self, state: _OnDevice, steps: int, record: Record) -> tuple[Samples, _OnDevice]:
        p, chains, n = self.program, state.chains, self.program.n_units
        left, stop = _left(record), state.step + steps
        every = record.draws_every
        draws = stop // every - state.step // every if every else 0
        room = n * (steps // p.shortest_refractory + 1) if left.uses_spikes else 0
        joint = record.joint if not left.joint else ()
        place = np.full(n, -1, dtype=np.int32)
        place[list(joint)] = np.arange(len(joint) - 1, -1, -1)
        before = state.dynamics.last_spike.copy_to_host().reshape(chains, n) if left.uses_spikes else None

        output = Output(
            every,
            cuda.device_array((chains, draws, -(-n // 8)), np.uint8),
            cuda.device_array((chains, steps if record.voltages else 0, n), self.dtype),
            cuda.device_array(chains, np.int64),
            cuda.device_array((chains, room), np.int64),
            cuda.device_array((chains, room), np.int32),
            cuda.device_array(chains * n if record.occupancy else 0, np.int32),
            cuda.to_device(place),
            cuda.to_device(np.zeros((chains, 2 ** len(joint) if joint else 0), dtype=np.int64)),
        )
        keeps = frozenset(
            name
            for name, kept in {
                "states": every > 0,
                "voltages": bool(record.voltages),
                "spikes": left.uses_spikes,
                "on": record.occupancy,
                "joint": bool(joint),
            }.items()
            if kept
        )
        # where spikes put what they deliver, of sparse weights alone
        arriving = cuda.to_device(np.zeros((chains, 2, n if is_sparse(p.weights) else 0), dtype=self.dtype))
        seed = np.uint64(state.seed & 0xFFFFFFFF), np.uint64(state.seed >> 32)
        self._launch(
            self.kernel(keeps=keeps), -(-chains // self.teams.chains), self.teams.block(chains),
            state.step, np.int32(steps), chains, *seed, self.tables, state.dynamics, arriving, output,
        )  # fmt: skip

        raw = Samples(
            start=state.step,
            stop=stop,
            dt=p.dt,
            packed=self._draws(output, record, left, state.step, stop),
            spikes=self._spikes(output, before, state.step, stop) if before is not None else None,
            voltages=output.voltages.copy_to_host() + p.v_thresh if record.voltages else None,
        )
        samples = gather(raw, left)
        gathered = Gathered(
            occupancy=_occupancy(output, chains, steps) if record.occupancy else None,
            pairs=self._pairs(output, record, state.step, draws) if record.pairs_every else None,
            joint=JointOccupancy(units=tuple(joint), steps=output.joint.copy_to_host())
            if joint
            else samples.gathered.joint,
            intervals=samples.gathered.intervals,
        )
        return replace(samples, gathered=gathered), state._replace(step=stop)

    @staticmethod
    def _launch(kernel: Any, grid: Any, block: Any, *arguments: Any) -> None:
        with warnings.catch_warnings():
            # that few chains leave much of a GPU idle
            warnings.filterwarnings("ignore", ".*will likely result in GPU under-utilization")
            kernel[grid, block](*arguments)

    def _draws(self, output: Output, record: Record, left: Record, first: int, stop: int) -> PackedStates | None:
        """Return the draws that leave the device."""
        if not left.draws_every:
            return None
        draws = PackedStates(bits=output.states.copy_to_host(), n_units=self.program.n_units)
        return draws.at(at_draws(first, stop, record.draws_every, left.draws_every))

    def _spikes(self, output: Output, before: Array, first: int, stop: int) -> Spikes:
        kept = output.kept.copy_to_host()
        most = int(kept.max(initial=0))
        there = np.arange(most) < kept[:, None]
        chain, place = np.nonzero(there)
        return Spikes(
            chain=chain,
            unit=output.spike_unit.copy_to_host()[chain, place].astype(np.int64),
            step=output.spike_step.copy_to_host()[chain, place],
            before=before,
            refractory_steps=self.program.refractory_steps,
            start=first,
            stop=stop,
        )

    def _pairs(self, output: Output, record: Record, first: int, draws: int) -> PairCounts:
        chains, n = len(output.kept), self.program.n_units
        assert record.pairs_every is not None
        stride = record.pairs_every // record.draws_every
        offset = -(first // record.draws_every + 1) % stride
        counted = cuda.to_device(np.zeros((n, n), dtype=np.int64))
        tile = min(_TILE, n)
        tiles = -(-n // tile)
        if draws:
            parts = min(chains, -(-PARTS // tiles**2))
            self._launch(
                count_pairs, (tiles, tiles, parts), (tile, tile), output.states, offset, stride, n, counted
            )
        lower = counted.copy_to_host()
        return PairCounts(counts=lower + np.tril(lower, -1).T, draws=chains * len(range(offset, draws, stride)))


def _occupancy(output: Output, chains: int, steps: int) -> Occupancy:
    on = output.on.copy_to_host().astype(np.int64)
    return Occupancy(on=on.reshape(chains, 1, -1), steps=np.array([steps]))


def _left(record: Record) -> Record:
    """Return what the device leaves to be gathered here: what it can't count, and what is kept anyway."""
    on_device = len(record.joint) <= JOINT_UNITS_ON_DEVICE
    return dataclasses.replace(record, occupancy=False, pairs_every=None, joint=() if on_device else record.joint)


def poisson_tables(means: Array) -> dict[str, Array]:
    """Return the tables of ``kernel.Tables`` that make counts of words, for means (units, sources)."""
    laws, law = np.unique(means, return_inverse=True)
    cells = np.arange(CELLS, dtype=np.uint64) << np.uint64(GUIDE_SHIFT)
    bounds, none, guide, length = [np.zeros(0, dtype=np.uint64)], [], [], 0
    for mean in laws:
        # a threshold of 2^32 is above every word, one of 0 above none
        thresholds = streams.poisson_thresholds(mean)
        thresholds = thresholds[thresholds < 2**32]
        above = thresholds[thresholds > 0] - np.uint64(1)
        none.append(length - (len(thresholds) - len(above)))
        guide.append(length + np.searchsorted(above, cells))
        bounds += [above, np.array([2**32 - 1], dtype=np.uint64)]
        length += len(above) + 1
    return {
        "bounds": np.concatenate(bounds).astype(np.uint32),
        "none": np.array(none, dtype=np.int32),
        "guide": np.array(guide, dtype=np.int32).reshape(-1),
        "law": law.reshape(means.shape).astype(np.int32),
    }
