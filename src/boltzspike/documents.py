"""Descriptions as plain JSON types, each object tagged with its type, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from boltzspike.calibration import Calibration, NetworkCalibration, ResponseCurve
from boltzspike.compilation import Compiled, Report
from boltzspike.compilation.auxiliary import Auxiliary
from boltzspike.compilation.encoding import Encoding
from boltzspike.compilation.simplify import Simplified
from boltzspike.errors import ValidationError, suggestion
from boltzspike.model.background import PoissonBackground, ReplayedBackground, SharedBackground
from boltzspike.model.bayesnet import BayesianNetwork
from boltzspike.model.boltzmann import BoltzmannMachine, RestrictedBoltzmannMachine
from boltzspike.model.description import is_sparse
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import LIF, CurrentLIF, RandomRefractory
from boltzspike.model.schedule import Piecewise, Wave
from boltzspike.model.synapse import Synapse
from boltzspike.translation import Translation

Array = np.ndarray
SCHEMA = 1
"""Version of the JSON layout; a file of a newer one is refused."""

_DESCRIPTIONS: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        BoltzmannMachine,
        RestrictedBoltzmannMachine,
        BayesianNetwork,
        LIF,
        CurrentLIF,
        RandomRefractory,
        PoissonBackground,
        SharedBackground,
        ReplayedBackground,
        Piecewise,
        Wave,
        Synapse,
        SpikingNetwork,
        Calibration,
        NetworkCalibration,
        ResponseCurve,
        Translation,
    )
}
_COMPILED: dict[str, type] = {cls.__name__: cls for cls in (Compiled, Simplified, Encoding, Auxiliary, Report)}
"""What a compiled network is made of: only in results, with arrays beside the document and tuples as they were."""


def document(what: Any, *, top: bool = False, arrays: dict[str, Array] | None = None, path: str = "") -> Any:
    """Return a description as plain JSON types, each object tagged with its type.

    Parameters
    ----------
    top
        Whether to say what format it is.
    arrays
        Where to put arrays of more than a few entries, under the path of their fields, instead of writing their
        numbers; then ``from_document`` returns every array as an array and every sequence as a tuple.
    """
    if isinstance(what, np.generic):
        return what.item()
    if isinstance(what, np.ndarray):
        return what.tolist() if arrays is None else _array_document(what, arrays, path)

    def inner(name: object, value: Any) -> Any:
        return document(value, arrays=arrays, path=f"{path}.{name}" if path else str(name))

    if is_sparse(what):
        fields = {name: inner(name, getattr(what, name)) for name in _CSR_FIELDS}
        return {"type": _CSR, "shape": list(what.shape)} | fields
    if isinstance(what, tuple | list):
        return [inner(k, item) for k, item in enumerate(what)]
    if isinstance(what, Mapping) and arrays is not None:
        return {"type": _MAPPING, "items": [[key, inner(key, value)] for key, value in what.items()]}
    known = _DESCRIPTIONS if arrays is None else _DESCRIPTIONS | _COMPILED
    if dataclasses.is_dataclass(what) and type(what).__name__ in known:
        tags: dict[str, Any] = {"format": "boltzspike", "schema": SCHEMA} if top else {}
        tags["type"] = type(what).__name__
        names = [field.name for field in dataclasses.fields(what)]
        return tags | {name: inner(name, getattr(what, name)) for name in names}
    if what is None or isinstance(what, str | int | float):
        return what
    raise ValidationError(f"save: no file format for {type(what).__name__}")


def _array_document(array: Array, arrays: dict[str, Array], path: str) -> dict[str, Any]:
    if array.size <= _FEW and array.dtype.kind in "biu":
        inside = {"dtype": array.dtype.str, "shape": list(array.shape), "values": array.ravel().tolist()}
        return {"type": _ARRAY} | inside
    arrays[path] = array
    return {"type": _ARRAY, "name": path}


def from_document(data: Any, where: str, arrays: Mapping[str, Array] | None = None) -> Any:
    """Return the description that a JSON object stands for; errors begin with ``where``."""
    if isinstance(data, list):
        if arrays is not None:
            return tuple(from_document(item, where, arrays) for item in data)
        return [from_document(item, where) for item in data] if data and isinstance(data[0], dict) else data
    if not isinstance(data, dict):
        return data
    kind = data.get("type")
    if kind == _CSR:
        return _csr({name: from_document(value, where, arrays) for name, value in data.items()}, where)
    if arrays is not None and kind in (_ARRAY, _MAPPING):
        try:
            if kind == _MAPPING:
                return {key: from_document(value, where, arrays) for key, value in data["items"]}
            if "name" in data:
                return arrays[data["name"]]
            return np.array(data["values"], dtype=data["dtype"]).reshape(data["shape"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValidationError(f"{where}: {kind}: is damaged ({error})") from None
    known = _DESCRIPTIONS if arrays is None else _DESCRIPTIONS | _COMPILED
    if not isinstance(kind, str) or kind not in known:
        hint = suggestion(kind, known) if isinstance(kind, str) else ""
        raise ValidationError(f"{where}: type: must be one of boltzspike's, got {kind!r}{hint}")
    values = {name: from_document(value, where, arrays) for name, value in data.items() if name not in _TAGS}
    try:
        return known[kind](**values)
    except ValidationError as error:
        raise ValidationError(f"{where}: {error}") from None
    except (TypeError, AttributeError) as error:
        raise ValidationError(f"{where}: {kind}: a field holds the wrong kind of value ({error})") from None


_ARRAY, _MAPPING = "array", "mapping"
_FEW = 32
"""Entries of integers up to which an array stays in the document."""
_TAGS = ("format", "schema", "type")
_CSR = "CSR"
_CSR_FIELDS = ("data", "indices", "indptr")


def _csr(data: dict[str, Any], where: str) -> Any:
    from scipy.sparse import csr_array

    try:
        matrix = csr_array(tuple(data[name] for name in _CSR_FIELDS), shape=tuple(data["shape"]), dtype=np.float64)
        matrix.check_format()
    except KeyError as error:
        raise ValidationError(f"{where}: {_CSR}: needs {error}") from None
    except (TypeError, ValueError, IndexError) as error:
        raise ValidationError(f"{where}: {_CSR}: {error}") from None
    return matrix


def check_schema(schema: object, where: str) -> None:
    """Raise for a file of a newer layout."""
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise ValidationError(
            f"{where}: schema: must be an integer in 1..{SCHEMA}, got {schema!r}; a newer boltzspike may read it"
        )
