"""What every description shares: frozen, keyword-only, slotted, validated, and its misspellings caught."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar, cast, dataclass_transform

import numpy as np

from boltzspike.errors import ValidationError, require, shown, suggestion
from boltzspike.markup import described

T = TypeVar("T")
Array = np.ndarray
Given: TypeAlias = Any
"""A field that takes several forms and holds one after construction, named in its docstring (an array-like that
becomes a read-only array, names that default): no static type says both."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def description(cls: type[T]) -> type[T]:
    """Turn a class into a frozen, keyword-only, slotted dataclass that names a misspelt parameter.

    Two descriptions are equal when all their fields are, arrays compared element by element.
    """
    made = dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)(cls)
    fields = [field for field in dataclasses.fields(cast(Any, made)) if field.init]
    names = [field.name for field in fields]
    needed = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    plain_init = made.__init__

    @functools.wraps(plain_init)
    def checked_init(self: Any, *args: Any, **values: Any) -> None:
        if args:
            raise ValidationError(f"{cls.__name__}: takes keyword arguments only ({', '.join(names)})")
        for name in values:
            if name not in names:
                raise ValidationError(f"{cls.__name__}: no parameter {name!r}{suggestion(name, names)}")
        missing = [name for name in needed if name not in values]
        if missing:
            raise ValidationError(f"{cls.__name__}: needs {', '.join(missing)}")
        plain_init(self, **values)

    for name, method in (
        ("__init__", checked_init),
        ("__eq__", _equal),
        ("__hash__", None),
        ("_repr_html_", described),
    ):
        setattr(made, name, method)
    return made


class Saved:
    """Gives a description its ``save``."""

    __slots__ = ()

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write to a file; the suffix picks the format, an existing file is kept unless ``force``."""
        from boltzspike.files import save  # the one listed exception to the direction of imports

        save(self, path, force=force)


def _equal(self: Any, other: Any) -> bool:
    if type(self) is not type(other):
        return NotImplemented
    return all(_same(getattr(self, field.name), getattr(other, field.name)) for field in dataclasses.fields(self))


def _same(a: Any, b: Any) -> bool:
    if is_sparse(a) or is_sparse(b):
        return (
            is_sparse(a) and is_sparse(b) and a.shape == b.shape and all(map(np.array_equal, parts(a), parts(b)))
        )
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else bool(a == b)


def set_field(owner: Any, field: str, value: object) -> None:
    """Set a field of a frozen description during its construction."""
    object.__setattr__(owner, field, value)


def set_number(owner: Any, field: str, *, above: float | None = None, unit: str = "") -> None:
    """Replace a field by its float, or raise: it must be one finite number, above the bound if one is given."""
    value = getattr(owner, field)
    allowed = f"{'a finite number' if above is None else f'> {above:g}'} {unit}".strip()
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    ok = math.isfinite(number) and (above is None or number > above)
    require(ok, f"{type(owner).__name__}.{field}", allowed, value)
    set_field(owner, field, number)


def frozen_array(value: object, where: str, *, ndim: int, dtype: Any = np.float64) -> Array:
    """Return a read-only copy of ``value`` with ``ndim`` dimensions and finite entries, or raise."""
    try:
        array = np.array(value, dtype=dtype)
    except (TypeError, ValueError):
        raise ValidationError(f"{where}: must be an array of numbers, got {shown(value)}") from None
    require(array.ndim == ndim, where, f"an array of {ndim} dimension(s)", f"{array.ndim} dimension(s)")
    if not np.isfinite(array).all():
        position = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValidationError(f"{where}{list(position)}: must be finite, got {array[position]}")
    array.setflags(write=False)
    return array


def is_sparse(value: object) -> bool:
    """Return whether a value is one of scipy's sparse matrices or arrays; doesn't import them."""
    return hasattr(value, "tocsr")


def parts(matrix: Any) -> tuple[Array, Array, Array]:
    """Return the three arrays of a CSR matrix: data, indices, indptr."""
    return matrix.data, matrix.indices, matrix.indptr


def frozen_matrix(value: Any, where: str) -> Any:
    """Return a read-only copy of a matrix with finite entries: dense, or CSR where a sparse one is given."""
    if not is_sparse(value):
        return frozen_array(value, where, ndim=2)
    from scipy.sparse import csr_array

    matrix = csr_array(value, dtype=np.float64, copy=True)
    matrix.sum_duplicates()
    frozen_array(matrix.data, f"{where} (its stored entries)", ndim=1)
    for part in parts(matrix):
        part.setflags(write=False)
    return matrix


def unit_names(names: Sequence[str] | None, count: int, where: str, prefix: str = "z") -> tuple[str, ...]:
    """Return ``count`` distinct unit names: the given ones, checked, or ``z0, z1, ...``."""
    if names is None:
        return tuple(f"{prefix}{k}" for k in range(count))
    if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
        raise ValidationError(f"{where}.names: must be a sequence of non-empty strings, got {shown(names)}")
    require(len(names) == count, f"{where}.names", f"{count} names, one a unit", f"{len(names)} names")
    seen: set[str] = set()
    for name in names:
        require(name not in seen, f"{where}.names", "distinct", name)
        seen.add(name)
    return tuple(names)
