"""What a run has beyond a translated network: inputs and evidence that change in time, shared sources, a start."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from boltzspike.compilation import Compiled
from boltzspike.errors import UnsupportedFeature, ValidationError, require
from boltzspike.model.boltzmann import BoltzmannMachine, Machine, clamp_indices
from boltzspike.model.description import Array
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.schedule import Course, Piecewise, Wave
from boltzspike.pipeline.translations import tune_biases
from boltzspike.translation import Translation

EvidenceCourse = Sequence[tuple[float, Mapping[Any, Any]]]
"""(time in ms, evidence that holds from then on), times rising; evidence as ``clamp`` or as ``evidence``."""


HELD_NEURONS = (
    "evidence by clamped neurons is less exact than evidence absorbed into biases: posteriors of small networks "
    "are off by .02 on average and up to .24, not by .005 and up to .11; the rule 'conditionals' tunes the biases "
    "to each evidence, and leaves .006 and .07 (docs/models.md)"
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
    courses = [*courses_of(schedule), *([] if evidence is None else [evidence])]
    moved = [_later(course, shift) for course in courses]
    return dataclasses.replace(network, schedule=moved, shared=shared, delays=delays)


def courses_of(schedule: Course | Sequence[Course]) -> list[Course]:
    """Return the courses of a schedule, checked."""
    courses = [schedule] if isinstance(schedule, Piecewise | Wave) else list(schedule)
    for course in courses:
        require(isinstance(course, Piecewise | Wave), "schedule", "of Piecewise and Wave", course)
    return courses


def tuned_to_evidence(
    translation: Translation,
    held: Mapping[int, int],
    changes: Sequence[tuple[float, Mapping[int, int]]],
    **tuning: Any,
) -> tuple[Translation, list[Piecewise]]:
    """Return the translation with biases tuned to the held units, and the course that they take when these change.

    Parameters
    ----------
    translation
        Of the network without neurons held.
    held
        Units that are held all the time and their values.
    changes
        (time in ms, further units that are held from then on).
    tuning
        Options of ``tune_biases``.

    Raises
    ------
    UnsupportedFeature
        Where biases that change in time are made by the balance of the background.
    """
    calibration = translation.calibration
    control = calibration.control
    if changes and control == "balance":
        raise UnsupportedFeature(
            "rule: 'conditionals' gives each evidence biases of its own, which a background balanced for one bias "
            "can't follow; calibrate with control='v_rest' or 'i_offset'"
        )
    found, notes = tune_biases(translation, [held, *({**held, **clamp} for _, clamp in changes)], **tuning)
    translation = dataclasses.replace(
        translation,
        rule="tuned",
        effective_biases=found[0],
        predicted_error=None,
        notes=(*translation.notes, *notes),
    )
    if not changes:
        return translation, []
    assert control != "balance"
    values = (found[1:] - found[0]) * calibration.alpha_control
    times: Array = np.array([time for time, _ in changes], dtype=float)
    return translation, [Piecewise(quantity=control, times=times, values=values)]


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
