"""Sample until a wanted precision is reached, and no longer."""

from __future__ import annotations

import dataclasses
import math
import re
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boltzspike.diagnostics import MIN_BLOCKS
from boltzspike.errors import BoltzspikeWarning, Interrupted, ValidationError, require
from boltzspike.model.bayesnet import BayesianNetwork
from boltzspike.model.network import SpikingNetwork
from boltzspike.pipeline.compiling import compiled_for_sampling
from boltzspike.pipeline.runs import warn_of_mixing
from boltzspike.pipeline.sampling import sample
from boltzspike.result import Result
from boltzspike.running import Watcher
from boltzspike.samples import Joining, Record
from boltzspike.spool import Spool

LOOKS = 7
"""The first look is after 1/64 of the longest duration, each further one after twice the time."""
FIRST_LOOK = 1000.0
"""But none before so many ms."""
_QUANTITIES = {
    "mcse": ("<", lambda result: float(result.marginals_error()[result.free].max())),
    "rhat": ("<", lambda result: result.convergence().worst_r_hat),
    "ess": (">", lambda result: result.convergence().least_ess),
    "dkl": ("<", lambda result: result.kl_divergence().value),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A precision at which to stop."""

    quantity: str
    limit: float

    def reached(self, result: Result) -> bool:
        """Tell whether a result has it."""
        sign, of = _QUANTITIES[self.quantity]
        value = of(result)
        return bool(value < self.limit if sign == "<" else value > self.limit)

    def __str__(self) -> str:
        """Return it as it was asked for."""
        return f"{self.quantity}{_QUANTITIES[self.quantity][0]}{self.limit:g}"


def wanted(text: str) -> Wanted:
    """Return the precision that a text asks for.

    Examples
    --------
    >>> wanted("mcse < 0.005")
    Wanted(quantity='mcse', limit=0.005)
    """
    found = re.fullmatch(r"\s*(\w+)\s*([<>])\s*([-+.eE\d]+)\s*", text)
    allowed = "mcse<X, rhat<X, ess>X or dkl<X with X > 0, such as mcse<0.005"
    require(found is not None, "until", allowed, text)
    assert found is not None
    quantity, sign, number = found.groups()
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    ok = quantity in _QUANTITIES and sign == _QUANTITIES[quantity][0] and math.isfinite(limit) and limit > 0
    require(ok, "until", allowed, text)
    return Wanted(quantity=quantity, limit=limit)


def sample_until(
    machine: Any,
    until: str,
    *,
    duration: float = 1e5,
    checkpoint: Any = None,
    progress: Any = None,
    **options: Any,
) -> Result:
    """Sample in runs that go on from each other until a precision is reached, or ``duration`` is over.

    The precision is looked at after 1/64 of the duration (but not before 1 s), and each time that the run has
    doubled. So the same seed gives the same result on any machine; the samples are those of one run of that
    length, bit for bit. To stop at the first of several looks at a noisy estimate is a little optimistic.

    Parameters
    ----------
    machine, options
        As for ``sample``; ``resume`` is taken by the first run.
    until
        ``"mcse<0.005"`` (largest standard error of a marginal), ``"rhat<1.01"``, ``"ess>400"`` (least effective
        sample size of a unit or the energy) or ``"dkl<0.01"`` (from the exact distribution, floor included).
    duration
        Longest biological time per chain in ms.
    checkpoint
        File for the state at the end.

    Returns
    -------
    The result; ``configuration["until"]`` says what was asked for, ``["reached"]`` whether it was, and
    ``["sampled_ms"]`` how long it took.
    """
    asked = wanted(until)
    for name in ("evidence_course", "schedule"):
        require(not options.get(name), name, "left out with until: times would begin anew with each run", "values")
    enough = options.get("record", "states") == "states" or options.get("chains", MIN_BLOCKS) >= MIN_BLOCKS
    require(
        enough, "chains", f'at least {MIN_BLOCKS} with until and without record="states"', options.get("chains")
    )
    if isinstance(machine, SpikingNetwork):
        known = asked.quantity != "dkl" or options.get("target") is not None
        require(known, "target", "given with until='dkl<X' of a SpikingNetwork", None)
    if isinstance(machine, BayesianNetwork):
        given = {name: options.pop(name, None) for name in ("evidence", "likelihoods")}
        machine = compiled_for_sampling(machine, given["evidence"], likelihoods=given["likelihoods"])
    ends = [duration / 2**k for k in range(LOOKS - 1, -1, -1)]
    ends = [end for end in ends if end >= FIRST_LOOK or end == duration]
    total: Result | None = None
    joining: Joining | None = None
    with tempfile.TemporaryDirectory() as folder:
        state = Path(checkpoint) if checkpoint is not None else Path(folder) / "state.npz"
        for end in ends:
            done = 0.0 if total is None else total.configuration["sampled_ms"]
            options["progress"] = None if progress is None else _from(progress, done, end, duration)
            try:
                with warnings.catch_warnings():
                    # the first look is short; whether the whole run is, is asked once it is known
                    warnings.filterwarnings("ignore", "mixing:", BoltzspikeWarning)
                    part = sample(machine, duration=end - done, checkpoint=state, **options)
            except Interrupted as stop:
                joining = joining or _joining(stop.result, duration, options)
                whole = _joined(joining, total, stop.result, asked, duration)
                raise Interrupted(str(stop), signal=stop.signal, result=whole) from None
            if total is None:
                warn_of_mixing(part.configuration["relaxation_ms"], part.configuration["burn_in_ms"] + duration)
            joining = joining or _joining(part, duration, options)
            total = _joined(joining, total, part, asked, duration)
            if asked.reached(total):
                return dataclasses.replace(total, configuration={**total.configuration, "reached": True})
            options["resume"] = state
            if part.translation is not None:
                options["rule"] = part.translation
    if total is None:
        raise ValidationError(f"duration: must be > 0 ms, got {duration}")
    return total


def _from(progress: Any, begin: float, end: float, duration: float) -> Any:
    """Return a ``Progress`` of a part of a run that reports on the whole, in ms."""

    def report(steps: int, of: int) -> None:
        progress(round(begin + steps / of * (end - begin)), round(duration))

    if isinstance(progress, Watcher):
        # a function that is a Watcher too, and one that compares where this one does
        report.watch = progress.watch  # type: ignore[attr-defined]
        if hasattr(progress, "compare"):
            report.compare = progress.compare  # type: ignore[attr-defined]
    return report


def _joining(first: Result, duration: float, options: Mapping[str, Any]) -> Joining:
    """Return what puts the runs together: in memory, or in the folder that was given for rasters."""
    folder, record = options.get("spool"), options.get("record")
    if folder is None:
        return Joining()
    dt = first.samples.dt
    every = round(first.configuration["draw_every_ms"] / dt)
    kept = record if isinstance(record, Record) else Record(states_every=every)
    return Spool(Path(folder), kept, round(duration / dt))


def _joined(joining: Joining, before: Result | None, part: Result, asked: Wanted, duration: float) -> Result:
    """Return the runs so far and one that follows them as one."""
    joining.add(part.samples)
    how = {**part.configuration, "duration_ms": duration, "until": str(asked), "reached": False}
    if before is None:
        return dataclasses.replace(part, configuration=how)
    for name in ("wall_seconds", "setup_seconds", "sampled_ms"):
        how[name] += before.configuration[name]
    how["burn_in_ms"] = before.configuration["burn_in_ms"]
    return dataclasses.replace(part, samples=joining.joined(), configuration=how)
