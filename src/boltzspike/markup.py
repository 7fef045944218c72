"""Descriptions and results as HTML tables, for notebooks; plain strings, no package."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_type_hints

import numpy as np

_STYLE = "border-collapse:collapse;font-variant-numeric:tabular-nums"


def table(rows: Iterable[Sequence[object]], header: Sequence[str] = (), caption: str = "") -> str:
    """Return an HTML table; every cell is escaped, numbers stand to the right."""
    parts = [f'<table style="{_STYLE}">']
    if caption:
        parts.append(f'<caption style="text-align:left;font-weight:bold">{html.escape(caption)}</caption>')
    if header:
        cells = "".join(f'<th style="text-align:left">{html.escape(name)}</th>' for name in header)
        parts.append(f"<thead><tr>{cells}</tr></thead>")
    parts.append("<tbody>")
    parts += [f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows]
    return "".join([*parts, "</tbody></table>"])


def _cell(value: object) -> str:
    side = "right" if isinstance(value, float | int) else "left"
    return f'<td style="text-align:{side}">{html.escape(shown(value))}</td>'


def shown(value: object) -> str:
    """Return a value in a few words: of arrays the shape and range, of descriptions the type."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, np.ndarray):
        if 1 <= value.size <= 6 and value.dtype.kind in "biuf":
            return ", ".join(f"{number:.6g}" for number in value.ravel())
        if not value.size or value.dtype.kind not in "biuf":
            return f"{value.shape}"
        return f"{' x '.join(map(str, value.shape))}, {np.min(value):.4g} .. {np.max(value):.4g}"
    if hasattr(value, "tocsr"):
        return f"{' x '.join(map(str, value.shape))}, sparse"  # type: ignore[attr-defined]
    if isinstance(value, tuple | list):
        inside = [f"({shown(item)})" if isinstance(item, tuple | list) else shown(item) for item in value[:6]]
        same = f"{len(value)} x {inside[0]}" if len(value) > 1 and len({id(item) for item in value}) == 1 else ""
        return same or ", ".join(inside) + (f", ... ({len(value)})" if len(value) > len(inside) else "")
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {shown(item)}" for name, item in list(value.items())[:6])
    if dataclasses.is_dataclass(value):
        return type(value).__name__
    return str(value)


def described(what: Any) -> str:
    """Return a description as a table of its fields, with the unit of each."""
    units = get_type_hints(type(what), include_extras=True)
    rows = []
    for field in dataclasses.fields(what):
        unit = getattr(units.get(field.name), "__metadata__", ("",))[0]
        rows.append((field.name, getattr(what, field.name), unit))
    return table(rows, ("field", "value", "unit"), type(what).__name__)
