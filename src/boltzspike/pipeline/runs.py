"""What runs of a target and of a network have in common: record, progress, how it was made, an interruption."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import version
from typing import Any

import numpy as np

from boltzspike.errors import BoltzspikeWarning, Interrupted, require
from boltzspike.gathered import MAX_JOINT_UNITS
from boltzspike.model.description import Array
from boltzspike.pipeline.running_networks import Progress, Stopped, engine_name
from boltzspike.progress import notebook_bar
from boltzspike.result import Result
from boltzspike.samples import Record, Samples

MAX_SHOWN_JOINT = 12
"""Simulated units up to which progress shows D_KL: it takes a part of a percent of the time."""

SLOW_MIXING = 5
"""A run shorter than so many relaxation times is warned of."""


def warn_of_mixing(relaxation: float | None, time: float, *, stacklevel: int = 3) -> None:
    """Warn where ``time`` (ms, burn-in included) is short against the relaxation time of the target."""
    if relaxation is not None and time < SLOW_MIXING * relaxation:
        takes = f"{relaxation:.3g} ms" if np.isfinite(relaxation) else "longer than can be computed"
        warnings.warn(
            f"mixing: the slowest mode of the target takes {takes} to relax; burn-in and run, {time:g} ms,"
            f" are shorter than {SLOW_MIXING} times that: chains may stay where they began",
            BoltzspikeWarning,
            stacklevel=stacklevel,
        )


def record_named(record: str | Record, every: int, units: int) -> Record:
    """Return the record of that name for draws ``every`` so many steps, or the one given."""
    if isinstance(record, Record):
        return record
    require(record in ("states", "moments", "joint"), "record", "'states', 'moments', 'joint' or a Record", record)
    if record == "states":
        return Record(states_every=every)
    if record == "moments":
        return Record(occupancy=True, pairs_every=every)
    allowed = f"'states' or 'moments' with more than {MAX_JOINT_UNITS} simulated units, here {units}"
    require(units <= MAX_JOINT_UNITS, "record", allowed, record)
    return Record(occupancy=True, pairs_every=every, joint=tuple(range(units)))


def run_shown(
    run: Callable[..., tuple[Samples, dict[str, Any]]],
    progress: Progress | None,
    joint: Callable[[], Array] | None,
) -> tuple[Samples, dict[str, Any], Stopped | None]:
    """Return what ``run(progress=)`` gives, and what stopped it; progress may compare with ``joint()``."""
    try:
        with notebook_bar("sampling") if progress is None else nullcontext(progress) as shown:
            if joint is not None and shown is not None and hasattr(shown, "compare"):
                shown.compare(joint())
            return *run(progress=shown), None
    except Stopped as stop:
        return stop.samples, stop.how, stop


def configuration_of(
    samples: Samples, stopped: Stopped | None, *, engine: Any, seed: int, record: str | Record, **how: Any
) -> dict[str, Any]:
    """Return how a run was made."""
    return {
        "sampled_ms": (samples.stop - samples.start) * samples.dt,
        "partial": stopped is not None,
        "seed": int(seed),
        "record": record if isinstance(record, str) else "chosen",
        "engine": engine_name(engine),
        "dt_ms": samples.dt,
        **how,
        "versions": {
            "boltzspike": version("boltzspike"),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "machine": platform.machine(),
    }


def finished(result: Result, stopped: Stopped | None) -> Result:
    """Return the result, or raise it as that of a run that was stopped."""
    if stopped is None:
        return result
    message = f"{stopped}; this exception's .result holds what was sampled"
    raise Interrupted(message, signal=stopped.signal, result=result) from None
