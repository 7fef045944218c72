"""The tuned rule: the network in the loop, its parameters moved until its moments are the target's.

A damped Gauss-Newton iteration: the moments m (p_k, and p_kj of coupled pairs) of a run of the network are
compared with the target's m*, and the parameters step by ``damping (C + ridge)^-1 (m* - m)``, C the covariance
of the sufficient statistics under the target. To second order ``(m* - m) C^-1 (m* - m) / 2`` is D_KL itself; it is
estimated without the bias by sampling noise, from products of independent groups of chains.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import LinearOperator, cg

from boltzspike.errors import require
from boltzspike.model.description import Array
from boltzspike.translation.limits import limits
from boltzspike.translation.result import Translation
from boltzspike.translation.working_point import WorkingPoint

RIDGE = 1e-3
"""Added to the covariance: directions in which the target hardly varies are left alone."""
FIRST_DAMPING = 0.75
LARGEST_STEP = 0.5
"""No parameter moves further in one step."""
GROUPS = 16
DENSE = 4000
"""Up to so many statistics the covariance is factorised."""
_ITERATIONS = 50
_BLOCK = 4096
_SIGNIFICANT = 2.0
"""Standard errors by which an error must exceed another, or zero, to count."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Moments:
    """Moments of a run, per group of independent chains."""

    marginals: Array
    """Shape (groups, n)."""
    pairs: Array
    """Shape (groups, n, n)."""


Sampler = Callable[[Translation, int, float], Moments]
"""(translation, number of the run, its share of the longest run) to the moments of a run."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Step:
    """One tested set of parameters."""

    translation: Translation
    error: float
    """D_KL from the target to second order, free of the bias by sampling noise; may come out negative."""
    standard_error: float
    share: float
    """Length of the run that tested it, as a share of the longest."""


class Covariance:
    """Covariance of the sufficient statistics z_k and z_k z_j (coupled pairs alone) under the target.

    Up to ``DENSE`` statistics its Cholesky factor is kept; above, systems are solved by a few conjugate-gradient
    steps on the states themselves, which leaves directions of small variance alone as the ridge does.
    """

    def __init__(self, point: WorkingPoint, coupled: Array) -> None:
        """Keep the states, and the factor where it is affordable."""
        self.z = np.ascontiguousarray(point.states, dtype=np.float32)
        self.q = point.probabilities.astype(np.float64)
        self.n = self.z.shape[1]
        self.coupled = np.triu(coupled, 1)
        self.upper = np.nonzero(self.coupled)
        marginals, pairs = self.moments()
        self.mean = self.vector(marginals, pairs)
        self.factor = self._factor() if len(self.mean) <= DENSE else None

    def _factor(self) -> Any:
        size = len(self.mean)
        second = np.zeros((size, size))
        for start in range(0, len(self.z), _BLOCK):
            z = self.z[start : start + _BLOCK]
            statistics = np.concatenate([z, z[:, self.upper[0]] * z[:, self.upper[1]]], axis=1)
            weighted = statistics * self.q[start : start + _BLOCK, None].astype(np.float32)
            second += weighted.T @ statistics
        return cho_factor(second - np.outer(self.mean, self.mean) + RIDGE * np.eye(size))

    def moments(self) -> tuple[Array, Array]:
        """Return the target's marginals (n,) and pair moments (n, n)."""
        weighted = (self.z * self.q[:, None].astype(np.float32)).T
        pairs = (weighted @ self.z).astype(np.float64)
        return np.diagonal(pairs).copy(), pairs

    def vector(self, marginals: Array, pairs: Array) -> Array:
        """Return moments as one vector: units, then coupled pairs."""
        return np.concatenate([marginals, pairs[self.upper]])

    def split(self, vector: Array) -> tuple[Array, Array]:
        """Return a vector as biases (n,) and symmetric weights (n, n)."""
        weights = np.zeros((self.n, self.n))
        weights[self.upper] = vector[self.n :]
        return vector[: self.n], weights + weights.T

    def __matmul__(self, vector: Array) -> Array:
        """Return (C + ridge) times a vector."""
        biases, weights = self.split(vector)
        value = self.z @ biases.astype(np.float32)
        value = value + 0.5 * np.einsum("mk,mk->m", self.z @ weights.astype(np.float32), self.z)
        value = self.q * (value - self.q @ value)
        weighted = (self.z * value[:, None].astype(np.float32)).T
        pairs = (weighted @ self.z).astype(np.float64)
        return self.vector(np.diagonal(pairs), pairs) + RIDGE * vector

    def solve(self, vector: Array) -> Array:
        """Return (C + ridge)^-1 times a vector."""
        if self.factor is not None:
            return np.asarray(cho_solve(self.factor, vector))
        size = len(vector)
        operator = LinearOperator((size, size), matvec=lambda v: self @ np.ravel(v), dtype=np.float64)
        found, _ = cg(operator, vector, rtol=1e-2, maxiter=_ITERATIONS)
        return np.asarray(found)


def tune(
    start: Translation,
    point: WorkingPoint,
    sampler: Sampler,
    *,
    fill: bool,
    steps: int,
    tolerance: float,
    on_step: Callable[[int, Step], None] | None = None,
) -> Translation:
    """Return the translation after tuning in the loop; it is never worse, as tested, than the start.

    Parameters
    ----------
    start
        Where to begin: another rule's translation, or one tuned before.
    point
        States of the target with their probabilities.
    sampler
        Runs the network of a translation.
    fill
        Whether units that share a neighbour may become coupled. In a network such units are a little: through
        the traces of the neighbour, which last longer than its state. ``False`` keeps the target's couplings.
    steps
        Runs at most.
    tolerance
        D_KL at which it stops.
    on_step
        Called after every run with its number and the best step so far.

    Notes
    -----
    Runs begin at an eighth of the longest and double when the error can't be told from zero. A step whose error
    is significantly larger than the best so far is taken back and the damping halved. It stops when the error is
    below the tolerance by two standard errors, can't be told from zero in the longest run, or runs are used up.
    """
    require(steps >= 1, "steps", "at least 1", steps)
    require(np.isfinite(tolerance) and tolerance > 0, "tolerance", "> 0 (a D_KL)", tolerance)
    machine = start.machine
    coupled = np.asarray(machine.weights) != 0
    if fill:
        reach = coupled.astype(np.float32)
        coupled = coupled | (reach @ reach > 0)
    covariance = Covariance(point, coupled)
    damping, share = FIRST_DAMPING, 1 / 8
    tested, first, best = start, None, None
    for number in range(steps):
        moments = sampler(tested, number, share)
        gaps = np.stack(
            [covariance.mean - covariance.vector(m, p) for m, p in zip(moments.marginals, moments.pairs)]
        )
        solved = np.stack([covariance.solve(gap) for gap in gaps])
        error, standard_error = _divergence(gaps, solved)
        step = Step(translation=tested, error=error, standard_error=standard_error, share=share)
        first = first or step
        worse = best is not None and error - best.error > _SIGNIFICANT * np.hypot(
            standard_error, best.standard_error
        )
        if best is None or (not worse and (error < best.error or share > best.share)):
            best, direction = step, solved.mean(axis=0)
        elif not worse:
            direction = solved.mean(axis=0)
        else:
            damping /= 2
            tested = best.translation
        if on_step:
            on_step(number + 1, best)
        significant = error > _SIGNIFICANT * standard_error
        if share == 1 and (error + _SIGNIFICANT * standard_error < tolerance or not significant) and not worse:
            break
        if not significant or error < tolerance:
            share = min(2 * share, 1.0)
        tested = _moved(tested, covariance, np.clip(damping * direction, -LARGEST_STEP, LARGEST_STEP))
    assert best is not None
    assert first is not None
    return _reported(best, first, number + 1, tolerance)


def _divergence(gaps: Array, solved: Array) -> tuple[float, float]:
    """Return g C^-1 g / 2 from products of different groups, and its jackknife standard error.

    Where g is noise alone, the jackknife comes out too large, by a factor of about 1.6 with 16 groups.
    """
    groups = len(gaps)
    products = gaps @ solved.T
    np.fill_diagonal(products, 0.0)
    total, rows = products.sum(), products.sum(axis=0) + products.sum(axis=1)
    value = total / (groups * (groups - 1)) / 2
    left_out = (total - rows) / ((groups - 1) * (groups - 2)) / 2
    spread = (groups - 1) * np.mean((left_out - left_out.mean()) ** 2)
    return float(value), float(np.sqrt(spread))


def _moved(translation: Translation, covariance: Covariance, step: Array) -> Translation:
    biases, weights = covariance.split(step)
    return dataclasses.replace(
        translation,
        rule="tuned",
        effective_weights=np.asarray(translation.effective_weights) + weights,
        effective_biases=np.asarray(translation.effective_biases) + biases,
    )


def _reported(best: Step, first: Step, runs: int, tolerance: float) -> Translation:
    before = f"{first.error:.2g} +- {first.standard_error:.1g}"
    after = f"{best.error:.2g} +- {best.standard_error:.1g}"
    gained, spread = first.error - best.error, np.hypot(first.standard_error, best.standard_error)
    could_not = (
        [f"tuning could not improve the network: D_KL {before} before, {after} after {runs} runs"]
        if gained <= _SIGNIFICANT * spread and best.error - _SIGNIFICANT * best.standard_error > tolerance
        else []
    )
    note = f"tuned from {first.translation.rule!r} in {runs} runs: D_KL {before} before, {after} after"
    return dataclasses.replace(
        best.translation,
        rule="tuned",
        predicted_error=max(best.error, 0.0) + best.standard_error,
        notes=(*first.translation.notes, note),
        warnings=(*limits(best.translation), *could_not),
    )
