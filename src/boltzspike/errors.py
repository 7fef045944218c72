"""What can go wrong, each with the object, the field, the value and the range in its message."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from numbers import Real
from typing import Any


class BoltzspikeError(Exception):
    """Base of every error that boltzspike raises on purpose."""


class ValidationError(BoltzspikeError, ValueError):
    """A description, a file or an argument holds a value that it can't hold."""


class UnsupportedFeature(BoltzspikeError):
    """An engine, a rule or a target can't do what the description asks for."""


class MissingDependency(BoltzspikeError, ImportError):
    """An optional package is needed and not installed."""


class MissingDevice(BoltzspikeError):
    """An engine needs hardware that is not there, or has no driver."""


class CalibrationError(BoltzspikeError):
    """No logistic can be fitted to this neuron and background."""


class SimulatorError(BoltzspikeError):
    """Another simulator, in a process of its own, failed; the message ends with what it printed."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM stopped ``sample``; ``result`` holds what was sampled until then.

    It is no ``BoltzspikeError``, and ends loops as any Ctrl-C does. At a prompt, or in a notebook, the result is
    ``sys.last_value.result``.
    """

    def __init__(self, message: str, *, signal: int, result: Any = None) -> None:
        super().__init__(message)
        self.signal = signal
        """Number of the signal."""
        self.result = result
        """A ``Result`` whose ``configuration["partial"]`` is true."""


class BoltzspikeWarning(UserWarning):
    """A number may be wrong; the message says by how much."""


def require(ok: bool, where: str, allowed: str, value: object) -> None:
    """Raise ``ValidationError`` naming ``where`` (``Object.field``), what is allowed and what came."""
    if not ok:
        raise ValidationError(f"{where}: must be {allowed}, got {shown(value)}")


def shown(value: object) -> str:
    """Return what came as an error shows it, at most ``_MOST_SHOWN`` characters."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]} ..."


_MOST_SHOWN = 200


def is_number(value: object) -> bool:
    """Tell whether this is a finite real number, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``'; did you mean ...?'`` for the closest known name, or list the known names."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"; known: {shown}"
