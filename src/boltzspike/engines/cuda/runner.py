"""Runs a program on one GPU: tables and state to the device, a launch a pass, what was counted back.

The random words are those of the reference engine: its background counts are these. In float64 its spikes are
too, but for the last bits of exp; in float32 without noise they fall within one step of its.
"""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import cuda

from boltzspike import streams
from boltzspike.engines.cuda.engine import find_device
from boltzspike.engines.cuda.kernel import (
    MOST_THREADS,
    PARAMETERS,
    Dynamics,
    Output,
    Tables,
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
"""That rows of small chains are put together to."""
JOINT_UNITS_ON_DEVICE = 12
"""Of a joint state counted there: 32 KiB a chain. More are counted here from the spikes."""
_TILE = 16


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
        units_a_thread = -(-p.n_units // MOST_THREADS)
        self.threads = -(-p.n_units // units_a_thread)
        sparse = is_sparse(p.weights)
        self.rows = 1 if sparse else max(THREADS_A_BLOCK // self.threads, 1)
        self.renewing_alike = p.renewing and bool(np.all(self.rate == self.rate[:, :1]))
        self.kernel = chain_kernel(
            units=p.n_units,
            threads=self.threads,
            rows=self.rows,
            conductance=p.conductance_based,
            renewing=p.renewing,
            alike=self.renewing_alike,
            sparse=sparse,
            clamped=bool(np.any(p.clamp != FREE)),
            sources=p.background_rates.shape[1],
            dtype=dtype,
        )
        self.tables = Tables(*map(cuda.to_device, self._tables(decay)))

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
        thresholds, offsets = _poisson_tables(p.background_rates * p.dt)
        none = np.zeros(1, dtype=np.int32)
        first, targets = none, none
        target, source, weight, _ = p.synapses()
        scaled = weight * np.where(weight > 0, self.unit[0, target], self.unit[1, target])
        if is_sparse(p.weights):
            order = np.argsort(source, kind="stable")
            first = np.searchsorted(source[order], np.arange(p.n_units + 1)).astype(np.int32)
            targets, weights = target[order].astype(np.int32), scaled[order][:, None]
        else:
            weights = np.zeros((p.n_units, p.n_units))
            weights[source, target] = scaled
        of_synapse = np.where(p.background_weights >= 0, self.unit[0][:, None], self.unit[1][:, None])
        return Tables(
            parameters=parameters.astype(self.dtype),
            refractory=p.refractory_steps.copy(),
            clamp=p.clamp.copy(),
            thresholds=thresholds,
            offsets=offsets,
            source_weights=(p.background_weights * of_synapse).astype(self.dtype),
            weights=np.ascontiguousarray(weights, dtype=self.dtype),
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
        carried = np.zeros((chains, slots, n, 2), dtype=self.dtype)
        for slot, chain in np.argwhere(begin.under_way.any(axis=2)):
            units = np.flatnonzero(begin.under_way[slot, chain])
            amount = np.repeat(begin.under_way[slot, chain, units][:, None], 2, axis=1)
            if self.renewing_alike:
                amount = -np.expm1(-amount * self.rate[:, units].T)
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
        """Advance by ``steps``, in passes of one launch each."""
        chains, n = state.u.shape
        per_pass = _left(record).steps_a_pass(chains, n, self.program.shortest_refractory)
        return in_passes(self._run_pass, state, steps, record, per_pass)

    def _run_pass(self, state: CudaState, steps: int, record: Record) -> tuple[Samples, CudaState]:
        p, (chains, n) = self.program, state.u.shape
        left, stop = _left(record), state.step + steps
        every = record.draws_every
        draws = stop // every - state.step // every if every else 0
        room = n * (steps // p.shortest_refractory + 1) if left.uses_spikes else 0
        joint = record.joint if not left.joint else ()
        place = np.full(n, -1, dtype=np.int32)
        place[list(joint)] = np.arange(len(joint) - 1, -1, -1)

        dynamics = Dynamics(*(cuda.to_device(getattr(state, name)) for name in Dynamics._fields))
        output = Output(
            every,
            cuda.device_array((chains, draws, n), np.int8),
            cuda.device_array((chains, steps if record.voltages else 0, n), self.dtype),
            cuda.to_device(np.zeros(chains, dtype=np.int64)),
            cuda.device_array((chains, room), np.int64),
            cuda.device_array((chains, room), np.int32),
            cuda.to_device(np.zeros((chains, n if record.occupancy else 0), dtype=np.int64)),
            cuda.to_device(place),
            cuda.to_device(np.zeros((chains, 2 ** len(joint) if joint else 0), dtype=np.int64)),
        )
        # where spikes put what they deliver, of sparse weights alone
        arriving = cuda.to_device(np.zeros((chains, 2, n if is_sparse(p.weights) else 0), dtype=self.dtype))
        rows = min(self.rows, chains)
        seed = np.uint64(state.seed & 0xFFFFFFFF), np.uint64(state.seed >> 32)
        _launch(
            self.kernel, -(-chains // rows), (self.threads, rows),
            state.step, steps, chains, *seed, self.tables, dynamics, arriving, output,
        )  # fmt: skip
        after = CudaState(state.seed, stop, *(array.copy_to_host() for array in dynamics))

        raw = Samples(
            start=state.step,
            stop=stop,
            dt=p.dt,
            packed=self._draws(output, record, left, state.step, stop),
            spikes=self._spikes(output, state, stop) if left.uses_spikes else None,
            voltages=output.voltages.copy_to_host() + p.v_thresh if record.voltages else None,
        )
        samples = gather(raw, left)
        gathered = Gathered(
            occupancy=self._occupancy(output, state, after) if record.occupancy else None,
            pairs=self._pairs(output, record, state.step, draws) if record.pairs_every else None,
            joint=JointOccupancy(units=tuple(joint), steps=output.joint.copy_to_host())
            if joint
            else samples.gathered.joint,
            intervals=samples.gathered.intervals,
        )
        return replace(samples, gathered=gathered), after

    def _draws(self, output: Output, record: Record, left: Record, first: int, stop: int) -> PackedStates | None:
        """Return the draws that leave the device."""
        if not left.draws_every:
            return None
        chosen = at_draws(first, stop, record.draws_every, left.draws_every)
        return PackedStates.of(np.ascontiguousarray(output.states.copy_to_host()[:, chosen]))

    def _spikes(self, output: Output, state: CudaState, stop: int) -> Spikes:
        kept = output.kept.copy_to_host()
        most = int(kept.max(initial=0))
        there = np.arange(most) < kept[:, None]
        chain, place = np.nonzero(there)
        return Spikes(
            chain=chain,
            unit=output.spike_unit.copy_to_host()[chain, place].astype(np.int64),
            step=output.spike_step.copy_to_host()[chain, place],
            before=state.last_spike,
            refractory_steps=self.program.refractory_steps,
            start=state.step,
            stop=stop,
        )

    def _occupancy(self, output: Output, state: CudaState, after: CudaState) -> Occupancy:
        """Every spike keeps z at 1 for the refractory period, of which a part may lie before or after the pass."""
        refractory = self.program.refractory_steps
        still = np.maximum(state.last_spike + refractory - state.step, 0)
        yet = np.maximum(after.last_spike + refractory - after.step, 0)
        on = output.spikes.copy_to_host() * refractory + still - yet
        return Occupancy(on=on[:, None], steps=np.array([after.step - state.step]))

    def _pairs(self, output: Output, record: Record, first: int, draws: int) -> PairCounts:
        chains, n = len(output.kept), self.program.n_units
        assert record.pairs_every is not None
        stride = record.pairs_every // record.draws_every
        offset = -(first // record.draws_every + 1) % stride
        counts = cuda.to_device(np.zeros((n, n), dtype=np.int64))
        tile = min(_TILE, n)
        tiles = -(-n // tile)
        if draws:
            _launch(count_pairs, (tiles, tiles), (tile, tile), output.states, (offset, stride), counts)
        return PairCounts(counts=counts.copy_to_host(), draws=chains * len(range(offset, draws, stride)))


def _launch(kernel: Any, grid: Any, block: Any, *arguments: Any) -> None:
    with warnings.catch_warnings():
        # that few chains leave much of a GPU idle
        warnings.filterwarnings("ignore", ".*will likely result in GPU under-utilization")
        kernel[grid, block](*arguments)


def _left(record: Record) -> Record:
    """Return what the device leaves to be gathered here: what it can't count, and what is kept anyway."""
    on_device = len(record.joint) <= JOINT_UNITS_ON_DEVICE
    return dataclasses.replace(record, occupancy=False, pairs_every=None, joint=() if on_device else record.joint)


def _poisson_tables(means: Array) -> tuple[Array, Array]:
    """Return thresholds, uint32, and where those of each source begin and end, int32 (units, sources + 1)."""
    # a threshold of 2^32 is above every word
    tables = [table[table < 2**32] for table in map(streams.poisson_thresholds, means.ravel())]
    ends = np.cumsum([0, *map(len, tables)], dtype=np.int32)
    units, sources = means.shape
    thresholds = np.concatenate([np.zeros(0), *tables, np.zeros(1)]).astype(np.uint32)
    return thresholds, ends[np.arange(units)[:, None] * sources + np.arange(sources + 1)]
