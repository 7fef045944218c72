"""Tuning: the network in the loop, its parameters moved until its moments, or its conditionals, are the target's.

A damped Gauss-Newton iteration. What is demanded is a class of its own: ``Covariance`` here, ``Conditionals`` in a
module of that name. For moments: the moments m (p_k, and p_kj of coupled pairs) of a run of the network are
compared with the target's m*, and the parameters step by ``damping (C + ridge)^-1 (m* - m)``, C the covariance
of the sufficient statistics under the target. To second order ``(m* - m) C^-1 (m* - m) / 2`` is D_KL itself; it is
estimated without the bias by sampling noise, from products of independent groups of chains.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import LinearOperator, cg

from boltzspike.errors import require
from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.translation.limits import limits
from boltzspike.translation.result import Translation
from boltzspike.translation.working_point import WorkingPoint

RIDGE = 1e-3
"""Added to the covariance: directions in which the target hardly varies are left alone."""
MOST_DAMPING, LEAST_DAMPING, RECOVERY = 0.75, 0.1, 1.5
"""Of the steps' lengths: a step that made it worse halves them, one that did not lets them grow by the last."""
PATIENCE = 2
"""Steps in a row that may make it worse before the last are taken back: valleys of the error are curved."""
FILLED = 1000
"""Parameters at most for which couplings that the target does not have are added unasked."""
LARGEST_STEP = 2.0
"""No parameter moves further in one step."""
GROUPS = 16
DENSE = 4000
"""Up to so many statistics the covariance is factorised."""
_ITERATIONS = 50
_BLOCK = 4096
WARNED_ERROR = 1e-3
"""What tuning leaves above this, and above its tolerance, is worth a warning."""
_SIGNIFICANT = 2.0
"""Standard errors by which an error must exceed another, or zero, to count."""


Sampler = Callable[[Translation, int, float], Sequence[Array]]
"""(translation, number of the run, its share of the longest) to the states of groups of chains, (m, n) each."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Step:
    """One tested set of parameters."""

    translation: Translation
    error: float
    """D_KL from the target to second order, free of the bias by sampling noise; may come out negative."""
    standard_error: float
    share: float
    """Length of the run that tested it, as a share of the longest."""


class Demand(Protocol):
    """What the states of a network should fulfil."""

    error_name: str
    """Of half the product of what is missing and the step: ``"D_KL"`` where it is that of the joint law."""

    def directions(self, groups: Sequence[Array]) -> tuple[Array, Array]:
        """Return of each group what is missing, and the step that would supply it, both (groups, parameters).

        Half their product is a D_KL to second order: ``error_name``.
        """
        ...

    def split(self, vector: Array) -> tuple[Array, Array]:
        """Return a step as biases (n,) and symmetric weights (n, n)."""
        ...


class Couplings:
    """Parameters, or moments, as one vector: those of the units, then of the coupled pairs."""

    def __init__(self, coupled: Array) -> None:
        """Take the coupled pairs (n, n), of which the upper triangle counts."""
        self.n = len(coupled)
        self.coupled = np.triu(coupled, 1)
        self.upper = np.nonzero(self.coupled)
        self.size = self.n + len(self.upper[0])
        self.number_of = np.zeros((self.n, self.n), dtype=int)
        self.number_of[self.upper] = np.arange(self.n, self.size)
        self.number_of += self.number_of.T

    def vector(self, units: Array, pairs: Array) -> Array:
        """Return values of units (n,) and of pairs (n, n) as one vector."""
        return np.concatenate([units, pairs[self.upper]])

    def statistics(self, z: Array) -> Array:
        """Return z_k and z_k z_j of each of the states (m, n), shape (m, size)."""
        return np.concatenate([z, z[:, self.upper[0]] * z[:, self.upper[1]]], axis=1)

    def mean_statistics(self, states: Array) -> Array:
        """Return their means over states (m, n), shape (size,)."""
        z = states.astype(np.float32)
        pairs = (z.T @ z).astype(np.float64) / len(z)
        return self.vector(np.diagonal(pairs), pairs)

    def split(self, vector: Array) -> tuple[Array, Array]:
        """Return a vector as values of units (n,) and symmetric ones of pairs (n, n)."""
        pairs = np.zeros((self.n, self.n))
        pairs[self.upper] = vector[self.n :]
        return vector[: self.n], pairs + pairs.T


def solver(matrix: Any) -> Callable[[Array], Array]:
    """Return what solves systems of a positive definite matrix, with ``shape`` and ``@``.

    Up to ``DENSE`` rows it is factorised (``toarray``); above, a few conjugate-gradient steps leave directions of
    small curvature alone, as the ridge does.
    """
    size = matrix.shape[0]
    if size <= DENSE:
        factor = cho_factor(matrix.toarray())
        return lambda vector: np.asarray(cho_solve(factor, vector))
    operator = LinearOperator((size, size), matvec=lambda v: matrix @ np.ravel(v), dtype=np.float64)
    return lambda vector: np.asarray(cg(operator, vector, rtol=1e-2, maxiter=_ITERATIONS)[0])


class Covariance(Couplings):
    """Covariance of the sufficient statistics z_k and z_k z_j (coupled pairs alone) under the target.

    As a matrix it has the ridge on its diagonal.
    """

    error_name = "D_KL"

    def __init__(self, point: WorkingPoint, coupled: Array) -> None:
        """Keep the states, and the factor where it is affordable."""
        super().__init__(coupled)
        self.z = np.ascontiguousarray(point.states, dtype=np.float32)
        self.q = point.probabilities.astype(np.float64)
        self.mean = self.vector(*self.moments())
        self.shape = (self.size, self.size)
        self.solve = solver(self)

    def toarray(self) -> Array:
        """Return the covariance with the ridge on its diagonal."""
        second = np.zeros(self.shape)
        for start in range(0, len(self.z), _BLOCK):
            z = self.z[start : start + _BLOCK]
            statistics = self.statistics(z)
            weighted = statistics * self.q[start : start + _BLOCK, None].astype(np.float32)
            second += weighted.T @ statistics
        return second - np.outer(self.mean, self.mean) + RIDGE * np.eye(self.size)

    def moments(self) -> tuple[Array, Array]:
        """Return the target's marginals (n,) and pair moments (n, n)."""
        weighted = (self.z * self.q[:, None].astype(np.float32)).T
        pairs = (weighted @ self.z).astype(np.float64)
        return np.diagonal(pairs).copy(), pairs

    def __matmul__(self, vector: Array) -> Array:
        """Return (C + ridge) times a vector."""
        biases, weights = self.split(vector)
        value = self.z @ biases.astype(np.float32)
        value = value + 0.5 * np.einsum("mk,mk->m", self.z @ weights.astype(np.float32), self.z)
        value = self.q * (value - self.q @ value)
        weighted = (self.z * value[:, None].astype(np.float32)).T
        pairs = (weighted @ self.z).astype(np.float64)
        return self.vector(np.diagonal(pairs), pairs) + RIDGE * vector

    def directions(self, groups: Sequence[Array]) -> tuple[Array, Array]:
        """Return by how much the moments of each group fall short of the target's, and the steps that mend it."""
        gaps = np.stack([self.mean - self.mean_statistics(states) for states in groups])
        return gaps, np.stack([self.solve(gap) for gap in gaps])


def coupled_pairs(machine: BoltzmannMachine, *, fill: bool | None) -> Array:
    """Return the pairs whose couplings may move, symmetric (n, n).

    With ``fill`` also units that share a neighbour; ``None``: unless that makes more than ``FILLED`` parameters.
    In a network such units are coupled a little: through the traces of the neighbour, which last longer than its
    state.
    """
    coupled = np.asarray(machine.weights) != 0
    reach = coupled.astype(np.float32)
    filled = coupled | (reach @ reach > 0)
    np.fill_diagonal(filled, False)
    if fill is None:
        fill = bool(len(filled) + np.count_nonzero(filled) // 2 <= FILLED)
    return filled if fill else coupled


def tune(
    start: Translation,
    demand: Demand,
    sampler: Sampler,
    *,
    steps: int,
    tolerance: float,
    averaged: int = 0,
    on_step: Callable[[int, Step], None] | None = None,
) -> Translation:
    """Return the translation after tuning in the loop; it is never worse, as tested, than the start.

    Parameters
    ----------
    start
        Where to begin: another rule's translation, or one tuned before.
    demand
        What its states should fulfil: ``Covariance`` (moments) or ``Conditionals``.
    sampler
        Runs the network of a translation.
    steps
        Runs at most.
    tolerance
        D_KL at which it stops.
    averaged
        Longest runs after that, over which the noise of a single run is averaged out.
    on_step
        Called after every run with its number and the best step so far.

    Notes
    -----
    Runs begin at an eighth of the longest. They double, and the best parameters so far are tested again, when the
    error can't be told from zero or from that of the best. A step whose error is significantly larger than the
    best is taken back and the damping halved; it grows again with steps that are not. It stops when the error is
    below the tolerance by two standard errors, can't be told from zero in the longest run, or runs are used up.
    The best set is as far from the target as the noise of the run that found it. Steps of 1/2, 1/3, ... of the
    whole from the ``averaged`` runs make it the mean of what they all say.
    """
    require(steps >= 1, "steps", "at least 1", steps)
    require(np.isfinite(tolerance) and tolerance > 0, "tolerance", "> 0 (a D_KL)", tolerance)
    require(averaged >= 0, "averaged", "at least 0", averaged)
    damping, share = MOST_DAMPING, 1 / 8
    tested, first, best, astray = start, None, None, 0
    for number in range(steps):
        gaps, solved = demand.directions(sampler(tested, number, share))
        error, standard_error = _divergence(gaps, solved)
        step = Step(translation=tested, error=error, standard_error=standard_error, share=share)
        direction = solved.mean(axis=0)
        first, best = first or step, best or step
        gain = best.error - error
        doubt = _SIGNIFICANT * np.hypot(standard_error, best.standard_error)
        worse = gain < -doubt and tested is not best.translation
        if gain >= 0 or tested is best.translation:
            best, best_direction = step, direction
        if on_step:
            on_step(number + 1, best)
        significant = error > _SIGNIFICANT * standard_error
        if share == 1 and not worse and (error + _SIGNIFICANT * standard_error < tolerance or not significant):
            break
        stalled = gain < doubt and tested is not best.translation
        if share < 1 and (stalled or not significant or error < tolerance):
            share, tested = 2 * share, best.translation
            continue
        astray = astray + 1 if worse else 0
        if astray > PATIENCE:
            astray, damping = 0, max(damping / 2, LEAST_DAMPING)
            tested, direction = best.translation, best_direction
        elif not worse:
            damping = min(damping * RECOVERY, MOST_DAMPING)
        tested = _moved(tested, demand, np.clip(damping * direction, -LARGEST_STEP, LARGEST_STEP))
    assert best is not None
    assert first is not None
    found = best.translation
    for further in range(1, averaged + 1):
        _, solved = demand.directions(sampler(found, number + further, 1.0))
        step_taken = np.clip(solved.mean(axis=0) / (further + 1), -LARGEST_STEP, LARGEST_STEP)
        found = _moved(found, demand, step_taken)
        if on_step:
            on_step(number + 1 + further, dataclasses.replace(best, translation=found))
    best = dataclasses.replace(best, translation=found)
    return _reported(best, first, number + 1, averaged, demand, max(tolerance, WARNED_ERROR))


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


def _moved(translation: Translation, demand: Demand, step: Array) -> Translation:
    biases, weights = demand.split(step)
    return dataclasses.replace(
        translation,
        rule="tuned",
        effective_weights=np.asarray(translation.effective_weights) + weights,
        effective_biases=np.asarray(translation.effective_biases) + biases,
    )


def _reported(best: Step, first: Step, runs: int, averaged: int, demand: Demand, most: float) -> Translation:
    before = f"{first.error:.2g} +- {first.standard_error:.1g}"
    after = f"{best.error:.2g} +- {best.standard_error:.1g}"
    start = first.translation
    note = f"tuned from {start.rule!r} in {runs} runs: {demand.error_name} {before} before, {after} after"
    if averaged:
        note += f", then averaged over {averaged} more"
    left = f"tuning left a {demand.error_name} of {after}, more than {most:g}: more steps or longer runs may help"
    much = best.error > most + _SIGNIFICANT * best.standard_error
    return dataclasses.replace(
        best.translation,
        rule="tuned",
        predicted_error=max(best.error, 0.0) + best.standard_error if demand.error_name == "D_KL" else None,
        notes=(*start.notes, note),
        warnings=(*limits(best.translation), *([left] if much else [])),
    )
