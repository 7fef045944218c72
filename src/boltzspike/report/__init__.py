"""One self-contained page about a run: the question, the answer, whether to trust it, and how it was made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from boltzspike.errors import ValidationError
from boltzspike.files import check_writable, writing
from boltzspike.report import answers, making
from boltzspike.report.page import Page, html, require_packages
from boltzspike.report.trust import trust
from boltzspike.result import Result
from boltzspike.translation.budget import Budget


def write_report(
    result: Result,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    command: Sequence[str] | None = None,
    budget: Budget | None = None,
    force: bool = False,
) -> None:
    """Write a page about a result: one HTML file that needs neither network nor script, and fits a phone.

    The network is simulated again for a moment, for its spikes and its free membrane, and Gibbs sampling is run
    beside it where the joint distribution is in reach.

    Parameters
    ----------
    title
        Headline; ``None``: it says what was sampled.
    command
        The command that made the result, word by word; ``None``: the call of ``sample`` is shown.
    budget
        Where the bias comes from (``result.error_budget()``), to be shown.
    force
        Replace an existing file.

    Raises
    ------
    MissingDependency
        Without Jinja2 or matplotlib.
    ValidationError
        For a run whose evidence changed: each of its episodes has a page of its own.
    """
    require_packages()
    path = Path(path)
    check_writable(path, force=force)
    if "evidence_course" in result.configuration and "stretch_ms" not in result.configuration:
        raise ValidationError(
            "report: a page is about one question, and the evidence changed during this run; write one for each "
            "of result.episodes()"
        )
    text = html(page_of(result, title=title, command=command, budget=budget))
    with writing(path, force=force) as partial:
        partial.write_text(text, encoding="utf-8")


def page_of(
    result: Result,
    *,
    title: str | None = None,
    command: Sequence[str] | None = None,
    budget: Budget | None = None,
) -> Page:
    """Return what the page says."""
    how = result.configuration
    trusted = trust(result)
    made = [making.neuron(result), making.network(result, budget), making.run(result, command)]
    by = "spiking neurons" if result.network is not None else f"{how['engine']}, without membranes"
    seconds = how["chains"] * how["sampled_ms"] / 1e3
    assert trusted.verdict is not None
    return Page(
        title=title or answers.title_of(result),
        summary=f"Sampled by {by}: {how['chains']} chains, {seconds:,.0f} s together. {trusted.verdict.headline}",
        sections=[
            answers.question(result),
            answers.answer(result),
            trusted,
            *(section for section in made if section is not None),
        ],
        colophon=f"Made by boltzspike {how['versions']['boltzspike']}. This page holds all it shows.",
    )
