"""Log-likelihoods of RBMs: exactly by the smaller layer, else by annealed importance sampling with error bars."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, logsumexp

from boltzspike.errors import UnsupportedFeature, require
from boltzspike.model.description import Array
from boltzspike.theory.exact import MAX_UNITS
from boltzspike.theory.tables import all_states
from boltzspike.training.measures import log_weights
from boltzspike.training.models import Model, binary
from boltzspike.training.samplers import drawn

_TAIL = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPartition:
    """A log partition function, exact or estimated."""

    value: float
    error: float
    """Standard error; 0 where it is exact."""
    method: str
    """``"smaller layer"``, or ``"AIS, ..."`` with its size."""
    effective_runs: float = np.inf
    """Of AIS: (sum w)^2 / sum w^2. A few of many runs: the estimate is of little worth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogLikelihood:
    """Mean log-likelihood of samples, nats."""

    value: float
    error: float
    """Standard error of the partition function's estimate; how the test samples scatter is not in it."""
    partition: LogPartition


def log_partition(
    model: Model, *, method: str | None = None, base: Array | None = None, runs: int = 500, betas: int = 5000,
    seed: int = 0,
) -> LogPartition:  # fmt: skip
    """Return the log partition function of an RBM.

    Parameters
    ----------
    method
        ``"exact"``: the sum over the states of the smaller layer, at most 25 units; ``"ais"``; ``None``: exact up
        to 20 units.
    base
        Visible biases (visible,) from which AIS begins; ``None``: the model's own. The log odds of the data are
        the better choice (``base_of``).
    runs, betas, seed
        Of AIS: independent runs, and inverse temperatures of each.
    """
    _require_restricted(model)
    smaller = min(model.n_visible, model.n_hidden)
    if method is None:
        method = "exact" if smaller <= 20 else "ais"
    require(method in ("exact", "ais"), "method", "'exact', 'ais' or None", method)
    if method == "exact":
        require(smaller <= MAX_UNITS, "log_partition(method='exact')", f"of at most {MAX_UNITS} units", smaller)
        return LogPartition(value=_exact(model), error=0.0, method="smaller layer")
    log_w = annealed(model, base=base, runs=runs, betas=betas, seed=seed)
    value, error = _log_mean(log_w)
    weights = np.exp(log_w - log_w.max())
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    return LogPartition(
        value=value, error=error, method=f"AIS, {runs} runs, {betas} betas", effective_runs=effective
    )


def log_likelihood(model: Model, data: Array, partition: LogPartition | None = None) -> LogLikelihood:
    """Return the mean log-likelihood of binary data (m, visible) in nats a sample."""
    _require_restricted(model)
    partition = partition or log_partition(model)
    data = binary(data, "data", model.n_visible)
    value = float(log_weights(model, data).mean()) - partition.value
    return LogLikelihood(value=value, error=partition.error, partition=partition)


def base_of(data: Array) -> Array:
    """Return the log odds of each visible unit in data, a sample of each value added: the base of AIS."""
    data = np.asarray(data, dtype=float)
    return np.asarray(logit((data.sum(axis=0) + 1) / (len(data) + 2)))


def independent_log_likelihood(train: Array, test: Array) -> float:
    """Return the mean log-likelihood of test samples under independent units with the means of train, nats."""
    p = expit(base_of(train))
    test = np.asarray(test, dtype=float)
    return float((test @ np.log(p) + (1 - test) @ np.log1p(-p)).mean())


def annealed(
    model: Model, *, base: Array | None = None, runs: int = 500, betas: int = 5000, seed: int = 0,
    start: Array | None = None,
) -> Array:  # fmt: skip
    """Return the log weights (runs,) of annealed importance sampling; ``log mean exp`` of them estimates log Z.

    From ``p_0``, independent visible units, to the model by ``p_beta ~ p_0(v)^(1 - beta) p(v)^beta``, Gibbs
    sampling at each (R. Salakhutdinov and I. Murray, "On the quantitative analysis of deep belief networks", ICML
    2008). The estimate of Z has no bias, so that of log Z lies below on average.

    Parameters
    ----------
    start
        Visible states (runs, visible) of the model: the way back. Returned are again estimates of log Z, of which
        the mean lies *above* on average if the states are exact samples (R. Grosse, S. Ancha and D. Roy,
        "Measuring the reliability of MCMC inference with bidirectional Monte Carlo", NeurIPS 2016).
    """
    _require_restricted(model)
    for name, value, least in (("runs", runs, 2), ("betas", betas, 2)):
        require(value >= least, name, f"at least {least}", value)
    a = np.asarray(model.visible_biases if base is None else base, dtype=np.float32)
    require(a.shape == (model.n_visible,), "base", f"of shape ({model.n_visible},)", a.shape)
    w = model.weights.astype(np.float32)
    b, c = model.visible_biases.astype(np.float32), model.hidden_biases.astype(np.float32)
    rng = np.random.Generator(np.random.SFC64([seed, 0xA15]))
    schedule = np.linspace(0, 1, betas, dtype=np.float64)
    log_z0 = float(np.logaddexp(0, a.astype(float)).sum()) + model.n_hidden * np.log(2)
    if start is None:
        v = drawn(rng, np.broadcast_to(expit(a), (runs, len(a))))
        way = schedule
    else:
        v = binary(start, "start", model.n_visible)
        way = schedule[::-1]
    log_w = np.zeros(len(v))

    def log_p(beta: float, v_part: Array, field: Array) -> Array:
        scaled = np.float32(beta) * field
        # softplus in float32: exp never overflows
        soft = np.maximum(scaled, 0) + np.log1p(np.exp(-np.abs(scaled)))
        return np.asarray(beta * v_part + soft.sum(axis=1, dtype=np.float64))

    for now, then in itertools.pairwise(way):
        field = v @ w + c
        v_part = (v @ (b - a)).astype(np.float64)
        log_w += log_p(then, v_part, field) - log_p(now, v_part, field)
        beta = np.float32(then)
        h = drawn(rng, expit(beta * field))
        v = drawn(rng, expit(beta * (h @ w.T + b) + (1 - beta) * a))
    return log_z0 + log_w if start is None else log_z0 - log_w


def reverse_bound(
    model: Model, samples: Array, *, base: Array | None = None, betas: int = 5000, seed: int = 0
) -> tuple[float, float]:
    """Return an upper bound on log Z in expectation, and its standard error, by annealing from samples.

    The mean of the log weights of the way back. It bounds only as far as ``samples`` (m, visible) are exact
    samples of the model; those of a chain that has missed a mode lower it.
    """
    log_z = annealed(model, base=base, betas=betas, seed=seed, start=samples)
    return float(log_z.mean()), float(log_z.std(ddof=1) / np.sqrt(len(log_z)))


def _log_mean(log_w: Array) -> tuple[float, float]:
    """Return log of the mean weight and its standard error by the jackknife."""
    runs = len(log_w)
    top = log_w.max()
    weights = np.exp(log_w - top)
    left_out = np.log(np.maximum(weights.sum() - weights, 1e-300) / (runs - 1))
    error = np.sqrt((runs - 1) * np.mean((left_out - left_out.mean()) ** 2))
    return float(top + np.log(weights.mean())), float(error)


def _exact(model: Model) -> float:
    w, b, c = model.weights, model.visible_biases, model.hidden_biases
    if len(b) < len(c):
        w, b, c = w.T, c, b
    low = min(len(c), _TAIL)
    tail, heads = all_states(low).astype(float), all_states(len(c) - low).astype(float)
    base = tail @ w[:, len(c) - low :].T + b
    parts = [
        logsumexp(h @ c[: len(h)] + tail @ c[len(h) :] + np.logaddexp(0, base + w[:, : len(h)] @ h).sum(axis=1))
        for h in heads
    ]
    return float(logsumexp(parts))


def _require_restricted(model: Model) -> None:
    if not model.restricted:
        raise UnsupportedFeature(
            "likelihood: of RBMs; that of a small machine of another kind follows from theory.exact.exact_joint"
        )
