"""Inputs that change in time: biases, background rates and clamps, piecewise constant or sinusoidal."""

from __future__ import annotations

from typing import Literal

import numpy as np

from boltzspike.errors import ValidationError, require
from boltzspike.model.description import Array, Given, description, frozen_array, set_field, set_number
from boltzspike.units import Hz

Quantity = Literal["v_rest", "i_offset", "rate", "clamp"]
_UNITS = {"v_rest": "mV", "i_offset": "nA", "rate": "Hz", "clamp": ""}


@description
class Piecewise:
    """A quantity of some units takes a new value at given times, and keeps it until the next.

    ``v_rest`` (mV), ``i_offset`` (nA) and ``rate`` (Hz, of the private Poisson sources) are *added* to what the
    network says, and several courses add up: a soft clamp is a large bias. ``clamp`` holds the units: 1 spikes at
    every chance, 0 never, -1 free. Before the first time nothing is added, and the units are as they are clamped
    from outside. Times count from the first step of a run.
    """

    quantity: Quantity
    """``"v_rest"``, ``"i_offset"``, ``"rate"`` or ``"clamp"``."""
    times: Given
    """Shape (changes,), ms, >= 0, rising, multiples of dt."""
    values: Given
    """Shape (changes,), or (changes, units) with one value a unit."""
    units: Given = None
    """Indices or names of the units; ``None``: all."""
    sources: Given = None
    """For ``rate``: indices of the sources; ``None``: all that the unit has."""

    def __post_init__(self) -> None:
        """Validate."""
        _check(self, tuple(_UNITS))
        times = frozen_array(self.times, "Piecewise.times", ndim=1)
        rising = len(times) > 0 and times[0] >= 0 and bool(np.all(np.diff(times) > 0))
        require(rising, "Piecewise.times", "at least one time, >= 0 ms and rising", times.tolist())
        values = _array(self.values, "Piecewise.values", ndims=(1, 2))
        allowed = f"one (or one row) a time ({len(times)})"
        require(len(values) == len(times), "Piecewise.values", allowed, f"{len(values)}")
        if self.quantity == "clamp":
            known = bool(np.isin(values, (-1, 0, 1)).all())
            require(known, "Piecewise.values", "0, 1 or -1 (free) for a clamp", values.tolist())
        _check_units(self, None if values.ndim == 1 else values.shape[1])
        set_field(self, "times", times)
        set_field(self, "values", values)


@description
class Wave:
    """A quantity of some units swings: ``amplitude sin(2 pi frequency t + phase)`` is added to it.

    Evaluated in every time step, at its middle. Quantities as in ``Piecewise``, without ``clamp``.
    """

    quantity: Quantity
    """``"v_rest"``, ``"i_offset"`` or ``"rate"``."""
    amplitude: Given
    """mV, nA or Hz: one for all units, or shape (units,)."""
    frequency: Hz
    """> 0 Hz."""
    phase: float = 0.0
    """Radian."""
    units: Given = None
    """Indices or names of the units; ``None``: all."""
    sources: Given = None
    """For ``rate``: indices of the sources; ``None``: all that the unit has."""

    def __post_init__(self) -> None:
        """Validate."""
        _check(self, tuple(name for name in _UNITS if name != "clamp"))
        set_number(self, "frequency", above=0.0, unit="Hz")
        set_number(self, "phase")
        amplitude = _array(self.amplitude, "Wave.amplitude", ndims=(0, 1))
        _check_units(self, None if amplitude.ndim == 0 else len(amplitude))
        set_field(self, "amplitude", float(amplitude) if amplitude.ndim == 0 else amplitude)


Course = Piecewise | Wave


def _check(course: Course, known: tuple[str, ...]) -> None:
    name = type(course).__name__
    require(course.quantity in known, f"{name}.quantity", f"one of {', '.join(map(repr, known))}", course.quantity)
    if course.sources is not None:
        require(course.quantity == "rate", f"{name}.sources", "None unless quantity is 'rate'", course.sources)
        set_field(course, "sources", tuple(_index(k, f"{name}.sources") for k in course.sources))


def _check_units(course: Course, columns: int | None) -> None:
    where = f"{type(course).__name__}.units"
    if course.units is not None:
        require(not isinstance(course.units, str), where, "a sequence of indices or names", course.units)
        units = tuple(unit if isinstance(unit, str) else _index(unit, where) for unit in course.units)
        require(len(set(units)) == len(units), where, "distinct", units)
        set_field(course, "units", units)
        if columns is not None:
            require(len(units) == columns, where, f"as many as there are values for ({columns})", len(units))


def _index(value: object, where: str) -> int:
    require(isinstance(value, int | np.integer) and not isinstance(value, bool), where, "integers", value)
    return int(value)  # type: ignore[call-overload]


def _array(value: object, where: str, *, ndims: tuple[int, ...]) -> Array:
    for ndim in ndims:
        if np.ndim(value) == ndim:  # type: ignore[arg-type]
            return frozen_array(value, where, ndim=ndim)
    raise ValidationError(f"{where}: must be an array of {' or '.join(map(str, ndims))} dimensions, got {value!r}")
