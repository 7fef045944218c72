"""Chains on other processes and machines: an engine whose chains an executor of ``concurrent.futures`` advances.

What is handed out is a pure function of (program, state, steps, record), and the random numbers of a chain depend
on its number alone. So the samples are those of a local run, bit for bit, on any number of workers, and a part
that is lost with its worker can be run again anywhere.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from boltzspike.checkpoint import fingerprint
from boltzspike.engines import Runner, get_engine
from boltzspike.errors import BoltzspikeError, MissingDependency, UnsupportedFeature, require
from boltzspike.inputs import Initial
from boltzspike.program import Program
from boltzspike.samples import Record, Samples, of_chains

CHAINS_A_TASK = 16
"""What the kernel for small networks advances at once."""
ENGINES = ("numba", "numba-exact")
"""Those whose states can be taken apart by chains."""
RETRIES = 10
"""How often Dask runs a failed part again; the death of a worker counts by Dask's own ``allowed-failures``."""

State = TypeVar("State")


class Distributed:
    """An engine for ``sample``, ``tune``, ``calibrate`` and the others: chains are advanced by an executor."""

    chain_keyed = True

    def __init__(
        self, executor: Executor, *, engine: str = "numba", chains_a_task: int = CHAINS_A_TASK, threads: int = 1
    ) -> None:
        """Take the executor as it is; closing it is left to the caller.

        Parameters
        ----------
        executor
            ``concurrent.futures.ProcessPoolExecutor``, Dask's (see ``dask_executor``), or one of that kind.
        engine
            ``"numba"`` or ``"numba-exact"``.
        chains_a_task
            Chains that are advanced together, a multiple of 16.
        threads
            Of each task.
        """
        if engine not in ENGINES:
            raise UnsupportedFeature(
                f"engine: executors run {' and '.join(ENGINES)}; {engine!r} has no states to be taken apart"
            )
        whole = isinstance(chains_a_task, int) and chains_a_task > 0 and chains_a_task % CHAINS_A_TASK == 0
        require(whole, "chains_a_task", f"a multiple of {CHAINS_A_TASK}", chains_a_task)
        self.name, self.executor = engine, executor
        self.chains_a_task, self.threads = chains_a_task, threads
        self.features = get_engine(engine, threads=threads).features

    def prepare(self, program: Program) -> DistributedRunner:
        """Return a runner; the program is also made ready here, so that what it lacks is known before any task."""
        local = get_engine(self.name, threads=self.threads).prepare(program)
        job = _Job(self.name, self.threads, fingerprint(program), program)
        return DistributedRunner(local, job, self.executor, self.chains_a_task)


class DistributedRunner:
    """Runs one program; its states are those of the local runner."""

    def __init__(self, local: Runner, job: _Job, executor: Executor, chains_a_task: int) -> None:
        self.local, self.job, self.executor, self.chains_a_task = local, job, executor, chains_a_task
        self.approximation, self.cpu = local.approximation, local.cpu

    def init(self, *, seed: int, chains: int, initial: Initial | None = None) -> Any:
        """Return the state before the first step."""
        return self.local.init(seed=seed, chains=chains, initial=initial)

    def run(self, state: Any, steps: int, record: Record) -> tuple[Samples, Any]:
        """Advance all chains by ``steps``, some a task."""
        if steps == 0:
            # it compiles, and tells what is recorded; each worker compiles for itself
            return self.local.run(state, 0, record)
        tasks = [
            self.executor.submit(_advance, self.job, part, steps, record)
            for part in _parts(state, len(state.last_spike), self.chains_a_task)
        ]
        try:
            done = [task.result() for task in tasks]
        except BoltzspikeError:
            raise
        except Exception as error:
            failed = f"{type(error).__name__}: {error}"
            raise ClusterError(f"a part of the run failed on its worker: {failed}") from error
        finally:
            for task in tasks:
                task.cancel()
        samples, states = zip(*done)
        return of_chains(samples), _whole(states)


class ClusterError(BoltzspikeError):
    """A worker, or the way to it, failed for good."""


@dataclasses.dataclass(frozen=True)
class _Job:
    """What a worker needs to make a runner; equal where engine, threads and fingerprint are."""

    engine: str
    threads: int
    fingerprint: str
    program: Program = dataclasses.field(compare=False)


@functools.lru_cache(maxsize=4)
def _runner(job: _Job) -> Runner:
    return get_engine(job.engine, threads=job.threads).prepare(job.program)


def _advance(job: _Job, state: Any, steps: int, record: Record) -> tuple[Samples, Any]:
    """Do the task of a worker."""
    return _runner(job).run(state, steps, record)


def _parts(state: State, chains: int, together: int) -> Iterator[State]:
    """Take a state apart: each array by its first axis, which are chains, or blocks of 16 of them."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}  # type: ignore[arg-type]
    for first in range(0, chains, together):
        changes: dict[str, Any] = {}
        for name, value in fields.items():
            if isinstance(value, np.ndarray):
                a_row = 1 if len(value) == chains else CHAINS_A_TASK
                changes[name] = value[first // a_row : -(-min(first + together, chains) // a_row)]
        if "first_chain" in fields:
            changes["first_chain"] = fields["first_chain"] + first
        yield dataclasses.replace(state, **changes)  # type: ignore[type-var]


def _whole(states: tuple[State, ...]) -> State:
    first = states[0]
    arrays = {
        field.name: np.concatenate([getattr(state, field.name) for state in states])
        for field in dataclasses.fields(first)  # type: ignore[arg-type]
        if isinstance(getattr(first, field.name), np.ndarray)
    }
    return dataclasses.replace(first, **arrays)  # type: ignore[type-var]


@contextmanager
def dask_executor(address: str, *, timeout: float = 10.0) -> Iterator[Executor]:
    """Connect to a Dask scheduler, ``"tcp://host:8786"``; parts are run again where a worker dies.

    Raises
    ------
    ClusterError
        Where nothing answers there, or no worker is connected.
    """
    try:
        from distributed import Client
    except ImportError:
        raise MissingDependency('clusters need dask: pip install "boltzspike[dask]"') from None
    try:
        client = Client(address, timeout=timeout, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(f"cluster: no Dask scheduler answers at {address!r} ({error})") from None
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise ClusterError(f"cluster: {address} has no workers; start some: dask worker {address}")
        yield client.get_executor(retries=RETRIES)
