"""Many pieces of evidence in one text: CSV with a row a query, or a JSON list of objects."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

from boltzspike.errors import ValidationError, suggestion

Given = dict[str, "str | dict[str, float]"]
"""Evidence, ``{variable: state}``, and soft evidence, ``{variable: {state: likelihood}}``."""
Query = tuple[str, Given]
"""What errors call a query, and its evidence."""


def parse_queries(text: str, where: str, names: Sequence[str]) -> list[Query]:
    """Return the queries in a text, at least one; the content decides what it is.

    CSV: the header names variables; of a row, an empty cell is a variable that is not observed. JSON: a list of
    objects ``{variable: state}``; null is not observed, an object ``{state: likelihood}`` is soft evidence. A
    state is what is written, never an index: 1 is the state named ``1``.

    Parameters
    ----------
    text
        What the file holds.
    where
        What errors call it.
    names
        The variables that there are.

    Raises
    ------
    ValidationError
        Naming the query or the line, and the variable.
    """
    of_json = text.lstrip().startswith(("[", "{"))
    queries = _of_json(text, where, names) if of_json else _of_csv(text, where, names)
    if not queries:
        raise ValidationError(f"{where}: must hold at least one query, got none")
    return queries


def _check_name(name: str, names: Sequence[str], place: str) -> None:
    if name not in names:
        raise ValidationError(f"{place}: no variable named {name!r}{suggestion(name, names)}")


def _of_csv(text: str, where: str, names: Sequence[str]) -> list[Query]:
    rows = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    header: list[str] = []
    queries: list[Query] = []
    try:
        for row in rows:
            if not row:
                continue  # a blank line; a query without evidence has its commas, or "" in a file of one column
            cells = [cell.strip() for cell in row]
            if not header:
                for k, name in enumerate(cells):
                    _check_name(name, names, f"{where}, line {rows.line_num}")
                    if name in cells[:k]:
                        raise ValidationError(
                            f"{where}, line {rows.line_num}: {name!r} must be given once, got twice"
                        )
                header = cells
                continue
            place = f"{where}, query {len(queries) + 1} (line {rows.line_num})"
            if len(cells) != len(header):
                raise ValidationError(
                    f"{place}: must have as many cells as the header, {len(header)}, got {len(cells)}"
                )
            queries.append((place, {name: cell for name, cell in zip(header, cells) if cell}))
    except csv.Error as error:
        raise ValidationError(f"{where}, line {rows.line_num}: not CSV: {error}") from None
    return queries


def _of_json(text: str, where: str, names: Sequence[str]) -> list[Query]:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            twice = next(name for k, (name, _) in enumerate(items) if name in [n for n, _ in items[:k]])
            raise ValidationError(f"{where}: in one query {twice!r} must be given once, got twice")
        return found

    try:
        # numbers as they are written, for they are names of states
        found = json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise ValidationError(f"{where}, line {error.lineno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise ValidationError(f"{where}: not a list of objects: it is nested too deeply") from None
    if not isinstance(found, list):
        raise ValidationError(f"{where}: must be a list of objects, one a query, got one object")
    queries: list[Query] = []
    for k, given in enumerate(found, start=1):
        place = f"{where}, query {k}"
        if not isinstance(given, dict):
            raise ValidationError(f"{place}: must be an object, variable: state, got {given!r}")
        for name in given:
            _check_name(name, names, place)
        queries.append(
            (
                place,
                {n: _of_variable(value, f"{place}: {n!r}") for n, value in given.items() if value is not None},
            )
        )
    return queries


def _of_variable(value: object, place: str) -> str | dict[str, float]:
    """Return the state of a variable, or the likelihoods of its states."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise ValidationError(
            f"{place} must be the name of a state, or null, or an object, state: likelihood, got {value!r}"
        )
    return {state: likelihood(number, f"{place}, {state!r}") for state, number in value.items()}


def likelihood(number: object, place: str) -> float:
    """Return a likelihood from how it is written."""
    try:
        found = float(number)  # type: ignore[arg-type]  # what is no number is caught
    except (TypeError, ValueError):
        found = math.nan
    if not (math.isfinite(found) and found >= 0):
        raise ValidationError(f"{place}: must be a likelihood, a number >= 0, got {number!r}")
    return found
