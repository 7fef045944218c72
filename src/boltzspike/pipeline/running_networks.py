"""One network, or one sampler without membranes, run with its burn-in, in chunks that can be stopped."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from boltzspike import checkpoint as checkpoints
from boltzspike.calibration import Calibration
from boltzspike.diagnostics import MIN_BLOCKS
from boltzspike.engines import REGISTRY, Engine, get_engine
from boltzspike.errors import (
    BoltzspikeWarning,
    Interrupted,
    ValidationError,
    is_number,
    require,
    suggestion,
)
from boltzspike.inputs import Initial
from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import is_sparse
from boltzspike.model.network import SpikingNetwork
from boltzspike.program import compile_program
from boltzspike.running import MOST_STEPS, check_memory, in_chunks, stop_requests
from boltzspike.samples import Record, Samples
from boltzspike.streams import check_seed

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


_PARTS_A_BLOCK = 4
STEPS_OF_TAU_SYN = 50
"""Least steps of tau_syn with which a calibration of continuous time holds as well as any (docs/engines.md)."""


class Stopped(Interrupted):
    """A run that was stopped, with what it left."""

    def __init__(self, message: str, *, signal: int, samples: Samples, how: dict[str, Any]) -> None:
        super().__init__(message, signal=signal)
        self.samples, self.how = samples, how


def run_network(
    network: SpikingNetwork,
    duration: float,
    chains: int,
    dt: float,
    seed: int,
    engine: str | Engine,
    threads: int | None,
    record: Record,
    *,
    burn_in: float,
    clamp: dict[int, int] | None = None,
    initial: Initial | None = None,
    progress: Progress | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    spool: Path | None = None,
) -> tuple[Samples, dict[str, Any]]:
    """Return the samples, and how they came: what was approximated, seconds of sampling and of all before it."""
    program = compile_program(network, dt=dt, clamp=clamp)
    return advance(
        lambda: get_engine(engine, threads=threads).prepare(program), program.n_units, duration, chains, dt, seed,
        threads, record, burn_in=burn_in, longest=int(program.refractory_steps.max()),
        shortest=program.shortest_refractory, delay=program.delay_steps,
        synapses=program.weights.nnz if is_sparse(program.weights) else None, progress=progress,
        identity=(engine_name(engine), program), initial=initial, checkpoint=checkpoint, resume=resume,
        spool=spool,
    )  # fmt: skip


def advance(
    prepare: Callable[[], Any],
    units: int,
    duration: float,
    chains: int,
    dt: float,
    seed: int,
    threads: int | None,
    record: Record,
    *,
    burn_in: float,
    longest: int,
    shortest: int,
    progress: Progress | None,
    identity: tuple[str, Any],
    delay: int = 1,
    synapses: int | None = None,
    initial: Initial | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    spool: Path | None = None,
) -> tuple[Samples, dict[str, Any]]:
    """Run what ``prepare`` returns; ``longest`` and ``shortest`` are refractory periods in steps.

    ``identity`` names the engine and holds all that the run depends on, for checkpoints. ``spool`` is a folder for
    rasters, on whose disk they are kept instead of in memory.
    """
    least = check_run(
        units, duration, chains, dt, seed, threads, record, burn_in=burn_in, longest=longest, shortest=shortest,
        delay=delay, synapses=synapses, spool=spool,
    )  # fmt: skip
    steps = round(duration / dt)
    started = time.perf_counter()
    runner = prepare()
    with stop_requests() as requests:
        # a first pass of no steps compiles what is to be recorded
        start = {} if initial is None else {"initial": initial}
        fresh = runner.init(seed=seed, chains=chains, **start)
        runner.run(fresh, 0, record)
        if resume is None:
            discarded = discarded_steps(burn_in, dt, least)
            _, state = in_chunks(runner, fresh, discarded, Record(), least=least, requests=requests)
        else:
            state = checkpoints.read_state(resume, runner, *identity, like=fresh)
        sampling = time.perf_counter()
        # of a run of few chains that is stopped early, a part is enough for standard errors
        parts = 1 if chains >= MIN_BLOCKS else min(_PARTS_A_BLOCK * -(-MIN_BLOCKS // chains), steps)
        joining, state = in_chunks(
            runner,
            state,
            steps,
            record,
            least=least,
            requests=requests,
            parts=parts,
            progress=progress,
            spool=spool,
        )
    stopped = requests.signal if joining.steps < steps else None
    if stopped is not None and not joining.draws(max(record.draws_every, 1)):
        raise KeyboardInterrupt
    if checkpoint is not None:
        checkpoints.save_state(checkpoint, state, runner, *identity)
    samples = joining.joined()
    how = {
        "approximation": runner.approximation,
        "wall_seconds": time.perf_counter() - sampling,
        "setup_seconds": sampling - started,
    }
    if stopped is not None:
        message = f"{stopped.name} after {joining.steps * dt:g} of {steps * dt:g} ms"
        raise Stopped(message, signal=int(stopped), samples=samples, how=how)
    return samples, how


def check_run(
    units: int,
    duration: float,
    chains: int,
    dt: float,
    seed: int,
    threads: int | None,
    record: Record,
    *,
    burn_in: float,
    longest: int,
    shortest: int,
    delay: int = 1,
    synapses: int | None = None,
    spool: Path | None = None,
) -> int:
    """Return the steps of the shortest run, as for ``advance``, or raise where this one can't be or won't fit."""
    check_seed(seed)
    require(whole(chains) and 1 <= chains <= 2**20, "chains", "an integer in 1 .. 2^20", chains)
    most = 4 * (os.cpu_count() or 1)
    require(threads is None or (whole(threads) and 1 <= threads <= most), "threads", f"in 1 .. {most}", threads)
    check_times(duration, burn_in)
    for name, time_given in (("duration", duration), ("burn_in", burn_in)):
        require(time_given / dt <= MOST_STEPS, name, f"at most {MOST_STEPS * dt:.3g} ms (2^46 steps)", time_given)
    record.check(units)
    least = max(record.draws_every, longest)
    steps = round(duration / dt)
    require(steps >= least, "duration", f"at least {least * dt:g} ms (one draw)", duration)
    check_memory(record, steps, chains, units, shortest, delay=delay, synapses=synapses, spool=spool)
    return least


ABSTRACT = ("gibbs", "gibbs-random", "buesing")
"""Samplers without membranes, named like engines."""


_BUESING_TAU = 20


def sample_abstract(
    machine: BoltzmannMachine,
    engine: str,
    tau_refrac: float,
    duration: float,
    chains: int,
    seed: int,
    threads: int | None,
    *,
    burn_in: float,
    progress: Progress | None,
    changes: Sequence[tuple[float, Mapping[int, int]]] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    spool: Path | None = None,
) -> tuple[Samples, dict[str, Any]]:
    """Sample without membranes: a sweep of Gibbs' method, or tau steps of Buesing's, last a refractory period.

    ``changes``: (ms after the burn-in, units that are held from then on at these values), times rising.
    """
    from boltzspike import abstract

    per_draw = 1 if engine.startswith("gibbs") else _BUESING_TAU
    dt, cores = tau_refrac / per_draw, threads or os.cpu_count() or 1
    weights, biases = np.asarray(machine.weights), np.asarray(machine.biases)

    begin = discarded_steps(burn_in, dt, per_draw)
    starts = [0, *(begin + round(time / dt) for time, _ in changes)]
    of_each = abstract.held(biases, [{}, *(dict(clamp) for _, clamp in changes)])

    made_of = (weights, of_each, np.array(starts)) if changes else (weights, biases)

    def sampler(biases: Any) -> Any:
        if engine == "buesing":
            return abstract.Neural(weights, biases, tau=_BUESING_TAU, dt=dt, threads=cores)
        scan: Any = "random" if engine == "gibbs-random" else "sequential"
        return abstract.Gibbs(weights, biases, scan=scan, dt=dt, threads=cores)

    def prepare() -> Any:
        return abstract.Changing([sampler(b) for b in of_each], starts) if changes else sampler(biases)

    return advance(
        prepare, len(biases), duration, chains, dt, seed, threads, Record(states_every=per_draw), burn_in=burn_in,
        longest=per_draw, shortest=per_draw, progress=progress, identity=(engine, made_of),
        checkpoint=checkpoint, resume=resume, spool=spool,
    )  # fmt: skip


def engine_name(engine: str | Engine) -> str:
    """Return the name of an engine that is given by name or as it is."""
    return engine if isinstance(engine, str) else engine.name


def discarded_steps(burn_in: float, dt: float, least: int) -> int:
    """Return the steps of a burn-in, a multiple of the longer of refractory period and time between draws."""
    return round(burn_in / dt / least) * least


def whole(number: object) -> bool:
    """Tell whether this is an integer, and no truth value."""
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def check_times(duration: float, burn_in: float) -> None:
    """Raise where these are no times in ms."""
    require(is_number(duration) and duration > 0, "duration", "> 0 ms", duration)
    require(is_number(burn_in) and burn_in >= 0, "burn_in", ">= 0 ms", burn_in)


def check_engine(engine: object) -> None:
    """Raise unless this is an engine, or the name of one or of a sampler without membranes."""
    if isinstance(engine, str):
        known = (*REGISTRY, *ABSTRACT)
        if engine not in known:
            raise ValidationError(f"engine: no engine named {engine!r}{suggestion(engine, known)}")
        return
    require(hasattr(engine, "prepare"), "engine", "the name of an engine, or an Engine", engine)


def check_dt(calibration: Calibration, dt: float) -> None:
    """Raise where a calibration holds for another time step."""
    require(is_number(dt) and dt > 0, "dt", "> 0 ms", dt)
    if calibration.dt is not None and abs(calibration.dt - dt) > 1e-9:
        raise ValidationError(
            f"dt: must be {calibration.dt:g} ms, that of the calibration, got {dt:g}; "
            "calibrate at this dt, or from theory without one"
        )


def warn_of_dt(calibration: Calibration, dt: float) -> None:
    """Warn where a calibration of continuous time may be off."""
    longest = min(calibration.neuron.tau_syn_exc, calibration.neuron.tau_syn_inh) / STEPS_OF_TAU_SYN
    if calibration.dt is None and dt > longest * (1 + 1e-9):
        warnings.warn(
            f"dt: {dt:g} ms is longer than tau_syn/{STEPS_OF_TAU_SYN} = {longest:g} ms, and the calibration is of "
            "continuous time: at tau_syn/20 the D_KL bias of S1 is four times what it is at tau_syn/100 "
            "(docs/engines.md)",
            BoltzspikeWarning,
            stacklevel=3,
        )
