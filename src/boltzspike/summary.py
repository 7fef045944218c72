"""A result in a few numbers and sentences: for machines (JSON), notebooks (HTML) and the terminal."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from boltzspike import markup
from boltzspike.errors import ValidationError

HOW = ("engine", "rule", "seed", "chains", "duration_ms", "sampled_ms", "record", "dt_ms", "wall_seconds", "until")
SHOWN = 20


def summary(result: Any, *, settle: float = 0.0, joint: Sequence[str] = ()) -> dict[str, Any]:
    """Return a ``Result`` in JSON's types; what was not recorded, or is out of reach, is null, and why is said.

    Where the evidence changed, all that compares with one target is null, and ``episodes`` holds the summary of
    each stretch of constant evidence, without the first ``settle`` ms, with ``start_ms`` and ``stop_ms``.

    Keys
    ----
    units, marginals, marginals_error, exact_marginals, clamp, d_kl, verdict, convergence, efficiency, speed,
    configuration, missing; of a Bayesian network posterior, posterior_error and exact_posterior too. The states
    of a variable that was not sampled are null, and ``missing`` says why (``"posterior['name']"``). With
    ``joint``, variables of a Bayesian network, also joint_posterior: the rows of ``joint_rows``.
    """
    if "evidence_course" in result.configuration and "stretch_ms" not in result.configuration:
        return _of_episodes(result, settle, joint)
    missing: dict[str, str] = {}

    def had(name: str, of: Any) -> Any:
        try:
            return of()
        except ValidationError as error:
            missing[name] = str(error)
            return None

    exact = result.exact()
    divergence = had("d_kl", lambda: plain(result.kl_divergence()))
    found = had("convergence", result.convergence)
    verdict = had("verdict", result.verdict)
    known: dict[str, Any] = {
        "units": list(result.names),
        "clamp": {result.names[k]: value for k, value in result.clamp.items()},
        "marginals": had("marginals", lambda: plain(result.marginals())),
        "marginals_error": had("marginals_error", lambda: plain(result.marginals_error())),
        "exact_marginals": None if exact is None else plain(exact.marginals),
        "d_kl": divergence,
        "verdict": None if verdict is None else plain(verdict) | {"text": str(verdict)},
        "convergence": None if found is None else _convergence(found),
        "efficiency": None if found is None else plain(result.efficiency()),
        "speed": plain(result.speed),
        "configuration": plain(dict(result.configuration)),
    }
    if hasattr(result, "posterior"):
        known |= {
            "posterior": had("posterior", result.posterior),
            "posterior_error": had("posterior_error", result.posterior_error),
            "exact_posterior": result.exact_posterior(),
        }
        if known["posterior"] is not None:
            missing |= {f"posterior[{name!r}]": why for name, why in result.unsampled.items()}
            known |= {name: plain(known[name]) for name in ("posterior", "posterior_error")}
        if joint:
            known["joint_posterior"] = had("joint_posterior", lambda: plain(result.joint_rows(joint)))
    return known | {"missing": missing}


def _of_episodes(result: Any, settle: float, joint: Sequence[str]) -> dict[str, Any]:
    why = "the evidence changed during this run: episodes holds each stretch of it"
    compared = ["exact_marginals", "marginals", "marginals_error", "d_kl", "verdict", "convergence", "efficiency"]
    if hasattr(result, "posterior"):
        compared += ["posterior", "posterior_error", "exact_posterior"]
    missing, parts = dict.fromkeys(compared, why), None
    try:
        parts = [
            {"start_ms": start, "stop_ms": stop, **summary(part, joint=joint)}
            for start, stop, part in result.episodes(settle=settle)
        ]
    except ValidationError as error:  # one is shorter than settle, or no states were recorded
        missing["episodes"] = str(error)
    return {
        "units": list(result.names),
        "clamp": {result.names[k]: value for k, value in result.clamp.items()},
        **dict.fromkeys(compared),
        "speed": plain(result.speed),
        "configuration": plain(dict(result.configuration)),
        "episodes": parts,
        "missing": missing,
    }


def _convergence(found: Any) -> dict[str, Any]:
    of = {name: plain(getattr(found, name)) for name in ("worst_r_hat", "least_ess", "slowest", "largest_mcse")}
    return of | {"constant": list(found.constant), "draws": found.draws}


def plain(what: Any) -> Any:
    """Return JSON's types; infinite and undefined numbers are null, as JSON has none."""
    if dataclasses.is_dataclass(what):
        return {field.name: plain(getattr(what, field.name)) for field in dataclasses.fields(what)}
    if isinstance(what, np.ndarray | tuple | list):
        return [plain(item) for item in what]
    if isinstance(what, dict):
        return {str(key): plain(value) for key, value in what.items()}
    if isinstance(what, np.generic):
        what = what.item()
    return None if isinstance(what, float) and not math.isfinite(what) else what


def as_html(result: Any) -> str:
    """Return how a ``Result`` was made and its marginals as HTML; what would take long is not computed."""
    how = result.configuration
    made = [(name, how[name]) for name in HOW if name in how]
    made.append(("speed", f"{result.speed:.4g} x real time"))
    parts = [markup.table(made, caption=type(result).__name__)]
    try:
        p, error = result.marginals(), result.marginals_error()
    except ValidationError as reason:
        return parts[0] + markup.table([(str(reason),)])
    rows = [(result.names[k], float(p[k]), float(error[k])) for k in result.free[:SHOWN]]
    left = len(result.free) - len(rows)
    caption = f"marginals ({left} more units)" if left > 0 else "marginals"
    return parts[0] + markup.table(rows, ("unit", "p(z = 1)", "+-"), caption)
