"""Tables on the terminal."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from boltzspike.posterior import PosteriorResult
    from boltzspike.result import Result
    from boltzspike.translation.budget import Budget

SHOWN_UNITS = 20


def print_answer(result: Result, *, all_units: bool, settle: float = 0.0, joint: Sequence[str] = ()) -> None:
    """Print what was sampled, for each stretch of constant evidence by itself; ``settle`` in ms.

    ``joint``: variables of a Bayesian network whose joint posterior is printed too.
    """
    from boltzspike.pipeline.changing import HELD_NEURONS
    from boltzspike.posterior import PosteriorResult

    show: Any = print_result
    if isinstance(result, PosteriorResult):
        show = functools.partial(print_posterior, joint=joint)
    course = result.configuration.get("evidence_course")
    for note in result.configuration.get("translation", ()):
        if note == HELD_NEURONS:
            print(f"note: {note}")
    if course is None:
        show(result, all_units=all_units)
        return
    given = {
        time: ", ".join(f"{name}={value}" for name, value in evidence.items()) for time, evidence, _ in course
    }
    for start, stop, part in result.episodes(settle=settle):
        print(f"\nfrom {start / 1e3:g} to {stop / 1e3:g} s, given {given.get(start) or 'nothing more'}:")
        show(part, all_units=all_units)


def print_result(result: Result, *, all_units: bool) -> None:
    """Print the marginals beside the reference, D_KL, effective samples and speed."""
    import numpy as np

    if result.machine is None:
        _print_alone(result, all_units=all_units)
        return
    p, error = result.marginals(), result.marginals_error()
    truth = result.reference()
    order = result.free
    name = "exact" if truth.exact else "Gibbs"
    header = ["unit", "sampled", "+-", name, *([] if truth.exact else ["+-"]), "difference"]
    shown = order
    if len(order) > SHOWN_UNITS and not all_units:
        distance = np.abs(p - truth.marginals)
        shown = np.sort(order[np.argsort(-distance[order], kind="stable")[:SHOWN_UNITS]])
    rows = []
    for k in shown:
        row = [result.names[k], f"{p[k]:.4f}", f"{error[k]:.4f}", f"{truth.marginals[k]:.4f}"]
        row += [] if truth.exact else [f"{truth.error[k]:.4f}"]
        rows.append([*row, f"{p[k] - truth.marginals[k]:+.4f}"])
    print_table(header, rows)
    if len(shown) < len(order):
        print(f"({len(shown)} of {len(order)} free units, those farthest from {name}; --all shows every one)")
    noise = np.sqrt(np.mean(error[order] ** 2 + truth.error[order] ** 2))
    difference = np.sqrt(np.mean((p[order] - truth.marginals[order]) ** 2))
    print(
        f"marginals: RMS difference from {name} {difference:.4f}, of which sampling noise {noise:.4f} "
        f"({'exact' if truth.exact else 'reference'} by {truth.method})"
    )
    if len(order) <= SHOWN_UNITS and result.has_joint:
        d = result.kl_divergence()
        print(
            f"D_KL(sampled || exact) = {d.value:.3g}: floor {d.floor:.2g} (sampling noise), "
            f"bias {d.bias:.3g} +- {d.error:.1g}; D_KL(exact || sampled) = {d.reverse:.3g}; "
            f"{d.unseen} of {2 ** len(order)} states never seen (probability {d.unseen_probability:.2g})"
        )
    _print_effective(result)
    _print_speed(result)


def _print_alone(result: Result, *, all_units: bool) -> None:
    """Print the marginals where there is no target to compare with."""
    p, error = result.marginals(), result.marginals_error()
    shown = result.free if all_units else result.free[:SHOWN_UNITS]
    print_table(["unit", "sampled", "+-"], [[result.names[k], f"{p[k]:.4f}", f"{error[k]:.4f}"] for k in shown])
    if len(shown) < len(result.free):
        print(f"(the first {len(shown)} of {len(result.free)} free units; --all shows every one)")
    print("no target to compare with")
    _print_effective(result)
    _print_speed(result)


def _print_effective(result: Result) -> None:
    import numpy as np

    effective = result.effective_samples()[result.free]
    moving = effective[np.isfinite(effective)]
    constant = len(effective) - len(moving)
    if len(moving):
        print(f"effective samples: {moving.min():.0f} (least) .. {np.median(moving):.0f} (median)", end="")
        print(f"; {constant} unit(s) never changed" if constant else "")


def _print_speed(result: Result) -> None:
    how = result.configuration
    print(f"speed: {result.speed:.0f} x real time (all chains together: {how['wall_seconds']:.2f} s, ", end="")
    print(f"after {how['setup_seconds']:.2f} s of compilation and burn-in)")
    rule = f"; rule: {how['rule']}" if "rule" in how else ""
    print(f"engine: {how['engine']}, {how['approximation']}{rule}")


def print_budget(budget: Budget) -> None:
    """Print where D_KL comes from."""
    rows = [[share.cause, f"{share.value:+.5f}", f"{share.error:.5f}"] for share in budget.shares]
    rows.append(["left over (no Boltzmann machine)", f"{budget.remainder:+.5f}", f"{budget.remainder_error:.5f}"])
    rows.append(["bias of D_KL, as measured", f"{budget.bias:+.5f}", f"{budget.bias_error:.5f}"])
    rows.append(["sampling noise (floor)", f"{budget.floor:+.5f}", ""])
    print_table(["where D_KL comes from", "share", "+-"], rows)


def print_posterior(result: PosteriorResult, *, all_units: bool, joint: Sequence[str] = ()) -> None:
    """Print the posterior of each variable beside the exact one, and how well the modes mix."""
    import numpy as np

    sampled, error, truth = result.posterior(), result.posterior_error(), result.exact_posterior()
    missing = result.unsampled
    off = {v: max(abs(sampled[v][s] - truth[v][s]) for s in sampled[v]) if truth else 0.0 for v in sampled}
    off |= dict.fromkeys(missing, np.inf)
    shown = list(sampled)
    if len(shown) > SHOWN_UNITS and not all_units:
        kept = sorted(shown, key=lambda v: -off[v])[:SHOWN_UNITS]
        shown = [v for v in shown if v in kept]
    rows = []
    for v in shown:
        for s, p in sampled[v].items():
            row = [v, s, *(["not sampled", "-"] if v in missing else [f"{p:.4f}", f"{error[v][s]:.4f}"])]
            difference = "-" if v in missing else f"{p - truth[v][s]:+.4f}" if truth else ""
            rows.append([*row, f"{truth[v][s]:.4f}", difference] if truth else row)
    print_table(["variable", "state", "sampled", "+-", *(["exact", "difference"] if truth else [])], rows, words=2)
    if len(shown) < len(sampled):
        which = "farthest from exact" if truth else "first"
        print(f"({len(shown)} of {len(sampled)} variables, those {which}; --all shows every one)")
    if truth:
        had = [v for v in sampled if v not in missing]
        differences = [abs(sampled[v][s] - truth[v][s]) for v in had for s in sampled[v]]
        off_by = "not sampled"
        if differences:
            off_by = f"mean difference from exact {np.mean(differences):.4f}, largest {max(differences):.4f}"
        without = f" ({len(missing)} of {len(sampled)} variables not sampled)" if missing and had else ""
        print(f"posterior: {off_by}{without}; log p(evidence) = {result.log_evidence:z.4f}")
    else:
        print("exact posterior: out of reach of elimination for this network")
    if joint:
        _print_joint(result, joint)
    invalid = max(result.invalid().values(), default=0.0)
    if invalid:
        print(f"draws in which a variable showed no state: at most {invalid:.2g} (left out)")
    print(f"mixing: {result.mixing()}")
    _print_speed(result)


def _print_joint(result: PosteriorResult, variables: Sequence[str]) -> None:
    """Print the joint posterior of some variables."""
    import numpy as np

    rows = result.joint_rows(variables)
    numbers = ("sampled", "error", *(() if np.isnan(rows[0]["exact"]) else ("exact", "difference")))
    signs = {"difference": "+"}
    cells = [
        [*(row[name] for name in variables), *(f"{row[name]:{signs.get(name, '')}.4f}" for name in numbers)]
        for row in rows
    ]
    print_table(
        [*variables, *("+-" if name == "error" else name for name in numbers)], cells, words=len(variables)
    )


def check_report(path: Path, *, force: bool) -> None:
    """Raise before any work is done if the page can't be made or can't go there."""
    from boltzspike.files import check_writable
    from boltzspike.report.page import require_packages

    require_packages()
    check_writable(path, force=force)


def print_table(header: list[str], rows: list[list[str]], *, words: int = 1, wrapped: bool = False) -> None:
    """Print columns, the first ``words`` of them left-justified; the last one ``wrapped`` to fit the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for k, title in enumerate(header):
        table.add_column(
            title, justify="left" if k < words else "right", no_wrap=not wrapped or k < len(header) - 1
        )
    for row in rows:
        table.add_row(*row)
    needed = sum(max(len(cell) for cell in column) + 2 for column in zip(header, *rows))
    width = Console().width if wrapped else max(Console().width, needed)
    Console(highlight=False, width=width).print(table)


def print_json(what: Any) -> None:
    """Print one JSON document on stdout, and nothing else."""
    import json

    print(json.dumps(what, indent=1, allow_nan=False))
