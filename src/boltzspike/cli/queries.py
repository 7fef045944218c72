"""boltzspike sample --evidence-file: many queries, one table."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from boltzspike.cli.reading import (
    as_machine,
    engine_at,
    neuron_and_synapse,
    parse_time,
    read_rule,
)
from boltzspike.cli.showing import SHOWN_UNITS, print_json, print_table
from boltzspike.progress import terminal_bar

if TYPE_CHECKING:
    from boltzspike.pipeline.queries import Answers


def answer_queries(
    model: Path,
    queries: Path,
    about_one: Mapping[str, object],
    *,
    route: str | None,
    encoding: str | None,
    neuron: str | None,
    rule: str | None,
    plasticity: str | None,
    cluster: str | None,
    engine: str,
    threads: int | None,
    duration: str,
    burn_in: str,
    all_variables: bool,
    as_json: bool,
    beta: float | None,
    **settings: Any,
) -> None:
    """Answer the queries in a file and print it; ``about_one``: options that must not have been given."""
    from boltzspike.errors import Interrupted, ValidationError
    from boltzspike.model.bayesnet import BayesianNetwork
    from boltzspike.pipeline import read, sample_queries
    from boltzspike.translation import Translation

    for name, given in about_one.items():
        if given:
            raise ValidationError(f"{name}: is about one question; leave it out, or --evidence-file")
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        target = read(model, beta=beta)
        if not isinstance(target, BayesianNetwork):
            target = as_machine(target, model)
        if isinstance(named := read_rule(rule), Translation):
            raise ValidationError(f"rule: {rule} is tuned to one machine, each query makes another; name a rule")
        calibration, synapse = neuron_and_synapse(named, neuron, plasticity)
        stopped = None
        with terminal_bar("sampling") as progress, engine_at(cluster, engine, threads) as runs_on:
            try:
                answers = sample_queries(
                    target, queries, calibration=calibration, rule=named, synapse=synapse, engine=runs_on,
                    threads=threads, progress=progress, duration=parse_time(duration, "duration"),
                    burn_in=parse_time(burn_in, "burn-in"), route=route, encoding=encoding, **settings,
                )  # fmt: skip
            except Interrupted as stop:
                answers, stopped = stop.result, stop
        if stopped is not None:
            print(f"interrupted; queries answered before: {len(answers.answers)}", file=sys.stderr)
        if answers.answers:
            print_answers(answers, all_variables=all_variables)
    if as_json:
        print_json(answers.summary() | {"partial": stopped is not None})
    if stopped is not None:
        raise typer.Exit(128 + stopped.signal)


def print_answers(answers: Answers, *, all_variables: bool) -> None:
    """Print every posterior beside the exact one, a line about each query, and one about all."""
    from boltzspike.pipeline.queries import said

    rows, left = [], 0
    for answer, of_query in zip(answers.answers, answers.by_query):
        off = {name: 0.0 for name in answer.sampled}
        for row in of_query:
            difference = abs(row["difference"])
            off[row["variable"]] = max(off[row["variable"]], np.nan_to_num(difference, nan=np.inf))
        shown = list(off) if all_variables else sorted(off, key=lambda name: -off[name])[:SHOWN_UNITS]
        left += len(off) - len(shown)
        rows += [_cells(row) for row in of_query if row["variable"] in shown]
    print_table(["query", "variable", "state", "sampled", "+-", "exact", "difference"], rows, words=3)
    if left:
        print(f"({left} more rows of variables, nearer to exact, are left out; --all shows every one)")
    lines = []
    for number, answer in enumerate(answers.answers, start=1):
        lines.append([str(number), said(answer.given) or "nothing", *_errors(answers, number), answer.mixing])
    print_table(["query", "given", "mean error", "largest", "mixing"], lines, words=2)
    mean, largest = _errors(answers)
    worst = answers.worst()
    at = "" if worst is None else f" (query {worst['query']}, {worst['variable']}={worst['state']})"
    by = ", ".join(sorted({answer.method for answer in answers.answers}))
    queries = "1 query" if len(answers.answers) == 1 else f"{len(answers.answers)} queries"
    print(f"{queries}: mean difference from exact {mean}, largest {largest}{at}; exact: {by}")


def _errors(answers: Answers, query: int | None = None) -> list[str]:
    worst = answers.worst(query)
    return ["-", "-"] if worst is None else [f"{answers.mean_error(query):.4f}", f"{abs(worst['difference']):.4f}"]


def _cells(row: Mapping[str, Any]) -> list[str]:
    number = lambda name, sign="": "-" if np.isnan(row[name]) else f"{row[name]:{sign}.4f}"
    sampled = "not sampled" if np.isnan(row["sampled"]) else number("sampled")
    return [
        str(row["query"]), row["variable"], row["state"],
        sampled, number("error"), number("exact"), number("difference", "+"),
    ]  # fmt: skip
