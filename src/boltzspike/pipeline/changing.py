"""What a run has beyond a translated network: inputs and evidence that change in time, shared sources, a start."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from boltzspike.compilation import Compiled
from boltzspike.errors import ValidationError, require
from boltzspike.model.boltzmann import BoltzmannMachine, Machine, clamp_indices
from boltzspike.model.description import Array
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.schedule import Course, Piecewise, Wave

EvidenceCourse = Sequence[tuple[float, Mapping[Any, Any]]]
"""(time in ms, evidence that holds from then on), times rising; evidence as ``clamp`` or as ``evidence``."""


HELD_NEURONS = (
    "evidence by clamped neurons is less exact than evidence absorbed into biases: over queries of asia "
    "posteriors were off by .026 on average and .09 at most, not by .004 and .03, of sprinkler by .051 and .14, "
    "not by .012 and .06 (docs/models.md)"
)
"""What a run says in which neurons are held at their evidence."""


def extended(
    network: SpikingNetwork,
    *,
    schedule: Course | Sequence[Course] = (),
    evidence: Course | None = None,
    shared: Any = (),
    delays: Any = None,
    shift: float = 0.0,
) -> SpikingNetwork:
    """Return the network with what comes on top; times of both courses count from ``shift`` ms after step 0."""
    schedule = [schedule] if isinstance(schedule, Piecewise | Wave) else list(schedule)
    for course in schedule:
        require(isinstance(course, Piecewise | Wave), "schedule", "of Piecewise and Wave", course)
    moved = [_later(course, shift) for course in [*schedule, *([] if evidence is None else [evidence])]]
    return dataclasses.replace(network, schedule=moved, shared=shared, delays=delays)


def _later(course: Course, shift: float) -> Course:
    if isinstance(course, Wave):
        turn = 2 * np.pi * course.frequency * 1e-3 * shift
        return dataclasses.replace(course, phase=float((course.phase - turn) % (2 * np.pi)))
    return dataclasses.replace(course, times=np.asarray(course.times) + shift)


def clamp_course(machine: BoltzmannMachine, changes: Sequence[tuple[float, Mapping[int, int]]]) -> Piecewise:
    """Return evidence that changes as one course of clamps: a unit without evidence is free."""
    units = sorted({unit for _, clamp in changes for unit in clamp})
    require(bool(units), "evidence_course", "evidence about at least one unit", "none")
    values = np.full((len(changes), len(units)), -1)
    for row, (_, clamp) in zip(values, changes):
        for unit, value in clamp.items():
            row[units.index(unit)] = value
    times: Array = np.array([time for time, _ in changes], dtype=float)
    names = machine.names or ()
    return Piecewise(quantity="clamp", times=times, values=values, units=[names[unit] for unit in units])


def evidence_by_unit(
    target: Machine | Compiled, changes: EvidenceCourse, fixed: Mapping[int, int], duration: float
) -> list[tuple[float, dict[int, int]]]:
    """Return the course of evidence by units of the machine, its times checked."""
    require(len(changes) > 0, "evidence_course", "at least one (time, evidence)", list(changes))
    of_units: Callable[[Mapping[Any, Any]], dict[int, int]]
    if isinstance(target, Compiled):
        of_units = target.clamp_of
    else:
        of_units = lambda evidence: clamp_indices(target, evidence)
    found: list[tuple[float, dict[int, int]]] = []
    for k, (time, evidence) in enumerate(changes):
        where = f"evidence_course[{k}]"
        earlier = found[-1][0] if found else -np.inf
        require(bool(np.isfinite(time)) and time >= 0, f"{where}, its time", ">= 0 ms", time)
        require(time < duration, f"{where}, its time", f"before the end of the run ({duration:g} ms)", time)
        require(time > earlier, f"{where}, its time", f"after the one before ({earlier:g} ms)", time)
        try:
            clamp = of_units(evidence)
        except ValidationError as error:
            raise ValidationError(f"{where}: {error}") from None
        both = sorted(set(clamp) & set(fixed))
        require(not both, where, "about units that are not clamped all the time", f"also units {both}")
        found.append((float(time), clamp))
    return found
