"""The state of an engine to a file and back, bit for bit: npz, nothing is ever pickled.

A state is only of use to the engine that made it and for the same program: both stand in the file, the program
as a fingerprint of all its arrays, and a state of others is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import warnings
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from boltzspike.errors import BoltzspikeWarning, ValidationError
from boltzspike.files import read_arrays, write_arrays

FORMAT = "boltzspike-state"
SCHEMA = 1
"""Version of the layout; a file of a newer one is refused."""


def save_state(
    path: str | os.PathLike[str], state: Any, runner: Any, engine: str, program: Any, *, force: bool = True
) -> None:
    """Write a state; the file appears when it is complete, and replaces one of that name.

    Parameters
    ----------
    state
        Of ``runner``, a dataclass of arrays and integers.
    engine
        Name of the engine.
    program
        What was run.
    """
    values = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    about = {
        "format": FORMAT,
        "schema": SCHEMA,
        "engine": engine,
        "state": type(state).__name__,
        "program": fingerprint(program),
        "cpu": runner.cpu,
        "integers": {name: str(value) for name, value in values.items() if not isinstance(value, np.ndarray)},
    }
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    write_annotated(path, about, arrays, force=force)


_ABOUT = "about"


def write_annotated(
    path: str | os.PathLike[str], about: Mapping[str, Any], arrays: Mapping[str, Any], *, force: bool
) -> None:
    """Write arrays to an npz with a JSON document beside them."""
    text = np.array(msgspec.json.encode(about).decode())
    write_arrays(path, {_ABOUT: text, **arrays}, force=force)


def read_annotated(path: str | os.PathLike[str], *, damaged: str) -> tuple[Any, dict[str, Any]]:
    """Return the document, empty if there is none, and the arrays of such a file; see ``files.read_arrays``."""
    arrays = read_arrays(path, damaged=damaged)
    try:
        return (msgspec.json.decode(str(arrays.pop(_ABOUT))) if _ABOUT in arrays else {}), arrays
    except msgspec.DecodeError as error:
        raise ValidationError(f"{path}: {damaged} ({error})") from None


def read_state(path: str | os.PathLike[str], runner: Any, engine: str, program: Any, *, like: Any) -> Any:
    """Return the state in a file, for the runner of the engine and program that it was saved for.

    Parameters
    ----------
    like
        A fresh state of the seed and the number of chains of the run that is to go on.

    Raises
    ------
    ValidationError
        If the file is damaged, of a newer version, or of another engine, program, seed or number of chains.
    """
    about, arrays = read_annotated(path, damaged="damaged, or no state")
    if not isinstance(about, Mapping) or about.get("format") != FORMAT:
        raise ValidationError(f"{path}: not a state that boltzspike saved")
    schema = about.get("schema")
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise ValidationError(
            f"{path}: schema: must be an integer in 1..{SCHEMA}, got {schema!r}; a newer boltzspike may read it"
        )
    made = about.get("engine"), about.get("state")
    if made != (engine, type(like).__name__):
        raise ValidationError(
            f"{path}: engine: must be {engine!r} ({type(like).__name__}), got a state of {made[0]!r} ({made[1]})"
        )
    if about.get("program") != fingerprint(program):
        raise ValidationError(
            f"{path}: program: must be the one that is run; the state is of another network, evidence or dt"
        )
    state = _state(path, about, arrays, like)
    if about.get("cpu") != runner.cpu:
        warnings.warn(
            f"{path}: saved on a CPU with other instructions ({about.get('cpu')}, here {runner.cpu}): the run "
            "goes on with the same distribution, but its spikes may not be those of one run in a piece",
            BoltzspikeWarning,
            stacklevel=2,
        )
    return state


def _state(path: str | os.PathLike[str], about: Mapping[str, Any], arrays: dict[str, Any], like: Any) -> Any:
    """Return the state of the file, each field of the kind that it has in ``like``."""
    integers = about.get("integers")
    values: dict[str, Any] = {}
    for field in dataclasses.fields(like):
        name, expected = field.name, getattr(like, field.name)
        if isinstance(expected, np.ndarray):
            found = arrays.get(name)
            if found is None or found.dtype != expected.dtype or found.ndim != expected.ndim:
                raise ValidationError(f"{path}: {name}: missing or of another kind")
            if found.shape != expected.shape:
                raise ValidationError(
                    f"{path}: {name}: must be of shape {expected.shape}, got {found.shape}: "
                    "resume with the number of chains of the run that was saved"
                )
            values[name] = found
        else:
            text = integers.get(name, "") if isinstance(integers, Mapping) else ""
            if not isinstance(text, str) or not text.lstrip("-").isdigit():
                raise ValidationError(f"{path}: {name}: missing or no integer")
            values[name] = int(text)
    if values.get("seed") != like.seed:
        raise ValidationError(f"{path}: seed: must be that of the run, {like.seed}, got {values.get('seed')}")
    return type(like)(**values)


def fingerprint(what: Any) -> str:
    """Return a hash of all that a program holds: arrays with type and shape, and what is made of them."""
    digest = hashlib.sha256()
    _digest(what, digest)
    return digest.hexdigest()


def _digest(what: Any, digest: Any) -> None:
    if dataclasses.is_dataclass(what) and not isinstance(what, type):
        digest.update(type(what).__name__.encode())
        what = {field.name: getattr(what, field.name) for field in dataclasses.fields(what)}
    elif hasattr(what, "tocoo"):  # a sparse matrix
        entries = what.tocoo()
        what = [entries.shape, entries.row, entries.col, entries.data]
    if isinstance(what, Mapping):
        for key in sorted(what):
            digest.update(f"{key}:".encode())
            _digest(what[key], digest)
    elif isinstance(what, frozenset | set):
        _digest(sorted(what), digest)
    elif isinstance(what, tuple | list):
        digest.update(f"[{len(what)}]".encode())
        for item in what:
            _digest(item, digest)
    elif isinstance(what, np.ndarray):
        digest.update(f"{what.dtype.str}{what.shape}".encode())
        digest.update(np.ascontiguousarray(what).tobytes())
    else:
        digest.update(repr(what).encode() + b";")
