"""Many pieces of evidence about one target, each with the posterior of all that it leaves open."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from boltzspike import diagnostics
from boltzspike.calibration import Calibration
from boltzspike.compilation import Compiled
from boltzspike.engines import Engine
from boltzspike.errors import BoltzspikeError, BoltzspikeWarning, Interrupted, require
from boltzspike.files import read_text
from boltzspike.formats.queries import Query, parse_queries
from boltzspike.model.bayesnet import BayesianNetwork
from boltzspike.model.boltzmann import Machine, clamp_indices
from boltzspike.model.synapse import Synapse
from boltzspike.pipeline.compiling import compiled_for_sampling
from boltzspike.pipeline.running_networks import Progress
from boltzspike.pipeline.sampling import sample
from boltzspike.posterior import PosteriorResult, mixing_of
from boltzspike.progress import Bar, notebook_bar
from boltzspike.result import Result
from boltzspike.summary import plain

COMMON = (
    "duration_ms",
    "burn_in_ms",
    "chains",
    "engine",
    "dt_ms",
    "draw_every_ms",
    "clamping",
    "versions",
    "machine",
)
States = Mapping[str, Mapping[str, float]]
"""``[variable][state]``; of a unit of a machine the one state ``"1"``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The posterior of every variable under one piece of evidence, sampled, and what it is compared with."""

    given: Mapping[str, str | Mapping[str, float]]
    """The evidence: a state, or the likelihoods of states where it is soft."""
    seed: int
    """With which ``sample`` gives the same by itself."""
    rule: str | None
    """Of the translation, which may differ, for each query makes a machine of its own; ``None``: there is none."""
    sampled: States
    """NaN for variables in ``missing``."""
    error: States
    """Standard errors of ``sampled``."""
    exact: States | None
    """What is compared with; of a large machine by long Gibbs sampling. ``None``: out of reach."""
    method: str
    """How ``exact`` was found."""
    mixing: str
    """Whether the chains moved enough for the errors to be believed."""
    missing: Mapping[str, str]
    """Variables that showed no state in any draw, and why."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What ``sample_queries`` returns: an answer a query, in their order."""

    answers: tuple[Answer, ...]
    configuration: Mapping[str, Any]
    """What all runs have in common."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All answers as one table, a row for each state of each variable: ``pandas.DataFrame(answers.rows)``.

        Columns: query (from 1 on), variable, state, sampled, error, exact, difference (sampled - exact); NaN where
        there is none.
        """
        return [row for rows in self.by_query for row in rows]

    @cached_property
    def by_query(self) -> list[list[dict[str, Any]]]:
        """The same rows, a list a query."""
        found = []
        for number, answer in enumerate(self.answers, start=1):
            rows = []
            for variable, states in answer.sampled.items():
                for state, p in states.items():
                    exact = np.nan if answer.exact is None else answer.exact[variable][state]
                    rows.append(
                        {
                            "query": number, "variable": variable, "state": state, "sampled": p,
                            "error": answer.error[variable][state], "exact": exact, "difference": p - exact,
                        }
                    )  # fmt: skip
            found.append(rows)
        return found

    def mean_error(self, query: int | None = None) -> float:
        """Return the mean of |difference| over all rows, or those of one query; NaN where there is none."""
        off = [abs(row["difference"]) for row in self._compared(query)]
        return float(np.mean(off)) if off else np.nan

    def worst(self, query: int | None = None) -> dict[str, Any] | None:
        """Return the row of the largest |difference|, of all or of one query; ``None`` where there is none."""
        return max(self._compared(query), key=lambda row: abs(row["difference"]), default=None)

    def _compared(self, query: int | None) -> list[dict[str, Any]]:
        rows = self.rows if query is None else self.by_query[query - 1]
        return [row for row in rows if np.isfinite(row["difference"])]

    def summary(self) -> dict[str, Any]:
        """Return everything in JSON's types; what is undefined is null."""
        worst = self.worst()
        queries = [
            {
                "given": answer.given, "seed": answer.seed, "rule": answer.rule, "posterior": answer.sampled,
                "posterior_error": answer.error, "exact_posterior": answer.exact, "exact_by": answer.method,
                "mean_error": self.mean_error(number), "mixing": answer.mixing, "missing": answer.missing,
            }
            for number, answer in enumerate(self.answers, start=1)
        ]  # fmt: skip
        known = {
            "queries": queries,
            "mean_error": self.mean_error(),
            "largest_error": None if worst is None else abs(worst["difference"]),
            "largest_error_at": None if worst is None else {k: worst[k] for k in ("query", "variable", "state")},
            "configuration": self.configuration,
        }
        return {name: plain(value) for name, value in known.items()}


def read_queries(path: str | os.PathLike[str], target: Machine | BayesianNetwork) -> list[Query]:
    """Return what a file (CSV or JSON, ``formats.queries``) asks of a target: (place in the file, evidence)."""
    return parse_queries(read_text(Path(path)), str(path), target.names or ())


def sample_queries(
    target: Machine | BayesianNetwork,
    queries: Sequence[Mapping[str, Any]] | str | os.PathLike[str],
    *,
    route: str | None = None,
    encoding: str | None = None,
    calibration: Calibration | None = None,
    duration: float = 1e5,
    chains: int = 64,
    seed: int = 1,
    rule: str | None = None,
    synapse: Synapse | None = None,
    engine: str | Engine = "numba",
    dt: float = 0.1,
    clamping: str = "bias",
    burn_in: float = 1000.0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Answers:
    """Sample the posterior of every unobserved variable under each of many pieces of evidence.

    Each query is a run of ``sample`` by itself: query k, from 0 on, has the seed ``seed + k``, so that errors of
    different queries are independent, and any of them can be had again alone. All are checked, and those of a
    Bayesian network compiled, before the first is sampled.

    Parameters
    ----------
    target
        A Bayesian network or a machine.
    queries
        ``{variable: state}`` each, or ``{variable: {state: likelihood}}`` for soft evidence; of a machine
        ``{unit name: 0 or 1}``. Empty: nothing is observed. Or a file of them, CSV or JSON: ``formats.queries``.
    route, encoding
        As in ``compile_bayes``, for a Bayesian network; ``None``: its defaults.
    calibration, duration, chains, rule, synapse, engine, dt, clamping, burn_in, threads
        As in ``sample``, for each query.
    progress
        Called now and then with (steps done, steps in all) of all queries together.

    Raises
    ------
    ValidationError
        Naming the query (of a file, its line too) and the variable: unknown names, impossible evidence, evidence
        from which everything follows.
    Interrupted
        At Ctrl-C or SIGTERM; ``result`` holds the ``Answers`` to the queries before.
    """
    compiling = {name: value for name, value in (("route", route), ("encoding", encoding)) if value is not None}
    if not isinstance(target, BayesianNetwork):
        require(
            hasattr(target, "to_boltzmann"), "target", "a Bayesian network or a machine", type(target).__name__
        )
        for name, value in compiling.items():
            require(False, name, "left out: a machine is not compiled", value)
    if isinstance(queries, str | os.PathLike):
        asked: Sequence[tuple[str, Mapping[str, Any]]] = read_queries(queries, target)
    else:
        require(isinstance(queries, Sequence), "queries", "a sequence of evidence, or a file's name", queries)
        for k, given in enumerate(queries):
            require(isinstance(given, Mapping), f"queries[{k}]", "{variable: state}", given)
        asked = [(f"queries[{k}]", dict(given)) for k, given in enumerate(queries)]
    require(len(asked) > 0, "queries", "at least one", "none")
    answers: list[Answer] = []
    configuration: Mapping[str, Any] = {}
    with notebook_bar("sampling") if progress is None else nullcontext(progress) as shown:
        posed = [
            _posed(target, place, given, compiling | {"progress": _compiling(shown, k, len(asked))})
            for k, (place, given) in enumerate(asked)
        ]
        for k, (name, given, about) in enumerate(posed):
            try:
                with _saying_where(name):
                    result = sample(
                        **about, calibration=calibration, duration=duration, chains=chains, seed=seed + k,
                        rule=rule, synapse=synapse, engine=engine, dt=dt, clamping=clamping, burn_in=burn_in,
                        threads=threads, progress=_part(shown, k, len(posed)),
                    )  # fmt: skip
                    answers.append(_answer(result, given, seed + k))
            except Interrupted as stop:
                done = Answers(answers=tuple(answers), configuration=configuration)
                message = f"{name}: interrupted; this exception's .result holds the answers to the queries before"
                raise Interrupted(message, signal=stop.signal, result=done) from None
            configuration = {name: result.configuration[name] for name in COMMON}
    return Answers(answers=tuple(answers), configuration=configuration)


def _posed(
    target: Machine | BayesianNetwork, place: str, given: Mapping[str, Any], compiling: Mapping[str, Any]
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return what errors call a query, its evidence by names, and what ``sample`` takes, all checked."""
    words = said(given)
    name = f"{place}, {words}" if words else place
    with _saying_where(name):
        if isinstance(target, BayesianNetwork):
            soft = {variable: value for variable, value in given.items() if isinstance(value, Mapping)}
            hard = {variable: value for variable, value in given.items() if variable not in soft}
            compiled: Compiled = compiled_for_sampling(target, hard, likelihoods=soft, **compiling)
            states = {target.names[v]: target.states[v][s] for v, s in compiled.evidence.items()}
            return name, {**states, **soft}, {"machine": compiled}
        # a file's 0 and 1 are text
        clamp = {unit: int(value) if value in ("0", "1") else value for unit, value in given.items()}
        indexed = clamp_indices(target, clamp)  # type: ignore[arg-type]  # checked there
        names = target.names or ()
        require(len(indexed) < target.n_units, "clamp", f"of fewer than all {target.n_units} units", len(indexed))
        return name, {names[k]: str(v) for k, v in indexed.items()}, {"machine": target, "clamp": indexed}


def said(given: Mapping[str, Any]) -> str:
    """Return evidence in words: ``a=yes, b=yes:0.8/no:0.1``."""
    weighed = lambda value: "/".join(f"{state}:{p:g}" for state, p in value.items())
    return ", ".join(f"{v}={weighed(x) if isinstance(x, Mapping) else x}" for v, x in given.items())


@contextmanager
def _saying_where(name: str) -> Iterator[None]:
    """Let errors and warnings begin with the name of the query that they are about."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    except BoltzspikeError as error:
        raise type(error)(f"{name}: {error}") from None
    finally:
        for warning in caught:
            ours = issubclass(warning.category, BoltzspikeWarning)
            text = f"{name}: {warning.message}" if ours else str(warning.message)
            warnings.warn(text, warning.category, stacklevel=4)


def _part(progress: Progress | None, k: int, number: int) -> Callable[[int, int], None]:
    """Return the progress of run k of so many: part of a bar, or nothing, where each run would show its own."""
    if isinstance(progress, Bar):
        return progress.part(k, number)
    return lambda done, total: None if progress is None else progress(k * total + done, number * total)


def _compiling(progress: Progress | None, k: int, number: int) -> Progress | None:
    """Return the progress of compiling query k: on a bar, not among the steps that others count."""
    return progress.part(k, number, "compiling") if isinstance(progress, Bar) else None


def _answer(result: Result, given: Mapping[str, Any], seed: int) -> Answer:
    """Return what a run says, beside what is exact."""
    about: dict[str, Any] = {"given": given, "seed": seed, "rule": result.configuration.get("rule")}
    if isinstance(result, PosteriorResult):
        exact = result.exact_posterior()
        return Answer(
            **about, sampled=result.posterior(), error=result.posterior_error(), exact=exact,
            method="out of reach of elimination" if exact is None else "variable elimination",
            mixing=result.mixing(), missing=result.unsampled,
        )  # fmt: skip
    truth = result.reference()
    sizes = {result.names[k]: float(n) for k, n in zip(result.free, result.effective_samples()[result.free])}
    r_hat = {result.names[k]: diagnostics.r_hat(result.z[..., [k]]) for k in result.free}
    by_unit = lambda values: {result.names[k]: {"1": float(values[k])} for k in result.free}
    return Answer(
        **about, sampled=by_unit(result.marginals()), error=by_unit(result.marginals_error()),
        exact=by_unit(truth.marginals), method=truth.method, mixing=mixing_of(sizes, r_hat), missing={},
    )  # fmt: skip
