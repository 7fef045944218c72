"""boltzspike show, boltzspike compare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boltzspike.cli.options import Force, Joint, Json, Report, Settle
from boltzspike.cli.reading import parse_joint, parse_time
from boltzspike.cli.showing import SHOWN_UNITS, check_report, print_answer, print_json, print_table

if TYPE_CHECKING:
    from boltzspike.result import Result

DIFFERENT = 1
"""Exit code of compare where a difference shows."""
SIGNIFICANT = 0.01


def show(
    file: Annotated[Path, typer.Argument(help="Result, or any file of docs/models.md.", show_default=False)],
    all_units: Annotated[bool, typer.Option("--all", help=f"List every unit, not {SHOWN_UNITS}.")] = False,
    settle: Settle = "200ms",
    joint: Joint = None,
    report: Report = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Show what is in a file; of a result, how it was made, its answer, and whether to trust it."""
    from boltzspike.errors import ValidationError
    from boltzspike.markup import shown
    from boltzspike.pipeline import read
    from boltzspike.result import Result
    from boltzspike.summary import HOW, plain, summary

    settling = parse_time(settle, "settle")
    if report is not None:
        check_report(report, force=force)
    what = read(file)
    if report is not None:
        if not isinstance(what, Result):
            raise ValidationError(f"report: {file}: must be a result, got a {type(what).__name__}")
        what.report(report, force=force)
        print(f"wrote {report}", file=sys.stderr if as_json else sys.stdout)
    if not isinstance(what, Result):
        if as_json:
            from boltzspike.documents import document

            print_json(plain(document(what, top=True)))
            return
        import dataclasses

        print(type(what).__name__)
        rows = [[field.name, shown(getattr(what, field.name))] for field in dataclasses.fields(what)]
        print_table(["field", "value"], rows, words=2, wrapped=True)
        return
    asked_for = parse_joint(joint, getattr(what, "compiled", what.machine))
    if as_json:
        print_json(summary(what, settle=settling, joint=asked_for))
        return
    how = what.configuration
    print(", ".join(f"{name} {how[name]}" for name in HOW if name in how))
    if how.get("partial"):
        print(f"partial: {how['sampled_ms'] / 1e3:g} of {how['duration_ms'] / 1e3:g} s were sampled")
    print_answer(what, all_units=all_units, settle=settling, joint=asked_for)
    if "evidence_course" not in how and what.samples.packed is not None:
        try:
            print(f"verdict: {what.verdict()}")
        except ValidationError as error:  # the answer stands above
            print(f"verdict: none ({error})")


def compare(
    first: Annotated[Path, typer.Argument(help="Result.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Result of a machine with the same units.", show_default=False)],
    all_units: Annotated[bool, typer.Option("--all", help=f"List every unit, not {SHOWN_UNITS}.")] = False,
    as_json: Json = False,
) -> None:
    """Compare two results: marginals unit by unit, tests whether they differ, distance from the target, speed.

    Marginals, pairs and the joint distribution are tested as far as they were recorded. The exit code is 0 where
    no difference shows (p >= 0.01, over the number of tests), 1 where one does.
    """
    import numpy as np

    from boltzspike.errors import ValidationError

    a, b = _result(first), _result(second)
    if a.names != b.names:
        odd = sorted(set(a.names) ^ set(b.names))[:5]
        raise ValidationError(f"compare: must be of machines with the same units in the same order, not so: {odd}")
    if dict(a.clamp) != dict(b.clamp):
        raise ValidationError(f"compare: must be of the same evidence, got {dict(a.clamp)} and {dict(b.clamp)}")
    tests = a.compared_with(b)
    free = a.free
    p, q, error = a.marginals(), b.marginals(), np.hypot(a.marginals_error(), b.marginals_error())
    different = min(test.p_value for test in tests) < SIGNIFICANT / len(tests)
    if as_json:
        from boltzspike.summary import plain

        units = [a.names[k] for k in free]
        print_json({
            "units": units, "first": plain(p[free]), "second": plain(q[free]), "error": plain(error[free]),
            "p_values": {test.of: test.p_value for test in tests}, "different": different,
            "same_target": a.machine == b.machine if a.machine or b.machine else None,
            "d_kl": [_bias(a), _bias(b)], "speed": [plain(a.speed), plain(b.speed)],
        })  # fmt: skip
    else:
        order = free
        if len(free) > SHOWN_UNITS and not all_units:
            order = np.sort(free[np.argsort(-np.abs(p - q)[free], kind="stable")[:SHOWN_UNITS]])
        rows = [
            [a.names[k], f"{p[k]:.4f}", f"{q[k]:.4f}", f"{p[k] - q[k]:+.4f}", f"{error[k]:.4f}"] for k in order
        ]
        print_table(["unit", first.name, second.name, "difference", "+-"], rows)
        if a.machine != b.machine:
            print("the targets differ")
        for name, result in ((first.name, a), (second.name, b)):
            bias = _bias(result)
            known = "" if bias is None else f", D_KL from its target without the floor {bias:.3g}"
            how = result.configuration
            print(f"{name}: engine {how['engine']}, {how['chains']} chains, {result.speed:.0f} x real time{known}")
        word = "differ" if different else "no difference shows"
        print(f"{word}:", *tests, sep="\n  ")
    if different:
        raise typer.Exit(DIFFERENT)


def _result(path: Path) -> Result:
    from boltzspike.errors import ValidationError
    from boltzspike.pipeline import read
    from boltzspike.result import Result

    what: Any = read(path)
    if not isinstance(what, Result):
        raise ValidationError(f"{path}: must be a result, got a {type(what).__name__}")
    return what


def _bias(result: Result) -> float | None:
    """Return the systematic D_KL from the target, where the joint distribution was recorded and is small."""
    if result.machine is None or len(result.free) > SHOWN_UNITS or not result.has_joint:
        return None
    bias = result.kl_divergence().bias
    return float(bias) if bias < float("inf") else None
