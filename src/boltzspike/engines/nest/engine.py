"""The field's own simulator as an engine: an independent oracle, not a fast one (``docs/interop.md``).

NEST can't hand out its state. So the state here is a point of a run: seed, chains, threads and step. The process
that stands at it goes on from it; any other state is reached by simulating anew from the start. Both give the same
spikes, bit for bit, but the second takes as long as the run so far.
"""

from __future__ import annotations

import importlib.util
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from boltzspike import streams
from boltzspike.engines import check_features
from boltzspike.engines.nest.process import Process
from boltzspike.engines.start import Initial, start
from boltzspike.errors import MissingDependency, UnsupportedFeature
from boltzspike.portable import portable
from boltzspike.program import Program
from boltzspike.samples import PackedStates, Record, Samples, Spikes, gathering, in_passes

Array = np.ndarray
OLDEST = (3, 8)
WORKER = Path(__file__).with_name("worker.py")
INSTALL = 'pip install "boltzspike[nest]"'


@dataclass(frozen=True, slots=True, eq=False)
class NestState:
    """Where a run stands before step ``step``."""

    seed: int
    step: int
    threads: int
    """NEST's threads: its random numbers depend on them."""
    v: Array
    """Potentials at the start of the run, (chains, units), mV."""
    last_spike: Array
    """Step of the last spike, (chains, units)."""


class NestEngine:
    """NEST >= 3.8, in a process of its own."""

    name = "nest"
    features = frozenset(
        {"conductance", "current", "alpha", "renewing", "additive", "tsodyks-markram", "clamp", "sparse", "delays",
         "parallel-synapses", "shared-background"}
    )  # fmt: skip
    chain_keyed = False

    def __init__(self, *, threads: int | None = None) -> None:
        """Take the number of threads; ``None``: as many as there are cores."""
        if importlib.util.find_spec("nest") is None:
            raise MissingDependency(f"the nest engine needs NEST: {INSTALL}")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.threads = threads or cores

    def prepare(self, program: Program) -> NestRunner:
        """Return a runner."""
        check_features(self, program)
        return NestRunner(program, self.threads)


class NestRunner:
    """Runs one program."""

    cpu = platform.machine()

    def __init__(self, program: Program, threads: int) -> None:
        """Start NEST, to learn its version."""
        self.program, self.threads = program, threads
        self._process: Process | None = None
        self._at: NestState | None = None
        self.version = self._build(self.init(seed=0, chains=1))

    @property
    def approximation(self) -> str:
        """What was approximated, in words for the result."""
        p = self.program
        scheme = "adaptive Runge-Kutta (RKF45)" if p.conductance_based else "exact integration"
        text = (
            f"NEST {self.version}, {scheme}, exact Poisson; its random numbers depend on the number of threads "
            f"({self.threads}) and of chains"
        )
        return text if p.conductance_based else f"{text}; synaptic currents start at 0"

    def init(self, *, seed: int, chains: int, initial: Initial | None = None) -> NestState:
        """Start at v_reset, conductances at their stationary means and currents at 0, no spike before.

        Potentials may be given; last spikes can't be.
        """
        begin = start(self.program, chains, initial)
        if initial is not None and initial.last_spike is not None:
            raise UnsupportedFeature("the nest engine can't start from given last spikes (Initial.last_spike)")
        return NestState(
            seed=streams.check_seed(seed), step=0, threads=self.threads, v=begin.v, last_spike=begin.last_spike
        )

    def run(self, state: NestState, steps: int, record: Record) -> tuple[Samples, NestState]:
        """Advance by ``steps``, in passes, each gathered before the next."""
        chains, n = state.v.shape
        per_pass = record.steps_a_pass(chains, n, self.program.shortest_refractory)
        if state is not self._at:
            self._go_to(state)
        return in_passes(gathering(self._run_pass), state, steps, record, per_pass)

    def _go_to(self, state: NestState) -> None:
        """Bring NEST to a state."""
        self._build(state)
        if state.step:
            self._simulate(state.step, None)
        self._at = state

    def _build(self, state: NestState) -> str:
        """Build the network as it is before step 0; return NEST's version."""
        if self._process is None:
            self._process = Process("NEST", WORKER)
        path = self._process.folder / "network.npz"
        np.savez(path, allow_pickle=False, **portable(self.program), initial_v=state.v)
        request = {
            "build": str(path),
            "chains": len(state.v),
            "seed": state.seed,
            "threads": state.threads,
            "v": True,
        }
        answer = self._ask(request)
        if "missing" in answer:
            text = (
                f"NEST can't be imported ({answer['missing']}): {INSTALL}, which fits it to NumPy {np.__version__}"
            )
            raise MissingDependency(text)
        version = str(answer["version"])
        if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST:
            raise MissingDependency(f"the nest engine needs NEST >= 3.8, got {version}: {INSTALL} --upgrade")
        return version

    def _simulate(self, steps: int, voltages: list[int] | None) -> dict[str, Array]:
        answer = self._ask({"steps": steps, "voltages": voltages})
        path = Path(answer["file"])
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        path.unlink()
        return arrays

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process is not None
        try:
            return self._process.ask(request)
        except BaseException:
            # it has failed, or its answer is still to come and would be taken for that of the next request
            self._process.close()
            self._process = self._at = None
            raise

    def _run_pass(self, state: NestState, steps: int, record: Record) -> tuple[Samples, NestState]:
        p = self.program
        voltages = list(range(p.n_units)) if record.voltages else None
        empty = {name: np.zeros(0, dtype=np.int64) for name in ("chain", "unit", "step")}
        found: dict[str, Array] = empty | {"voltages": np.zeros((len(state.v), 0, p.n_units))}
        if steps:
            found = self._simulate(steps, voltages)
        order = np.lexsort((found["unit"], found["step"], found["chain"]))
        chain, unit, step = (found[name][order] for name in ("chain", "unit", "step"))
        last_spike = state.last_spike.copy()
        np.maximum.at(last_spike, (chain, unit), step)
        after = state
        if steps:
            after = NestState(
                seed=state.seed, step=state.step + steps, threads=state.threads, v=state.v, last_spike=last_spike
            )
        self._at = after
        spikes = Spikes(
            chain=chain,
            unit=unit,
            step=step,
            before=state.last_spike,
            refractory_steps=p.refractory_steps,
            start=state.step,
            stop=after.step,
        )
        every = record.states_every
        v = None
        if record.voltages:
            v = np.where(p.clamp >= 0, p.v_reset, found["voltages"])
        samples = Samples(
            start=state.step,
            stop=after.step,
            dt=p.dt,
            packed=PackedStates.of(spikes.states(every)) if every else None,
            voltages=v,
            spikes=spikes if record.spikes else None,
        )
        return samples, after
