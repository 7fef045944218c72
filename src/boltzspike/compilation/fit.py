"""Auxiliary units fitted to a factor: as few as reach a tolerance, with moderate couplings."""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from boltzspike.compilation.auxiliary import Auxiliary, FactorSettings, Fit, by_monomials
from boltzspike.compilation.encoding import Monomial, Polynomial, add
from boltzspike.model.description import Array


def by_fit(factor: FactorSettings, high: Polynomial, *, tolerance: float, bound: float) -> Fit:
    """Return as few auxiliary units as reach the tolerance with couplings within the bound.

    Terms of order <= 2 and auxiliary units are fitted together by Levenberg-Marquardt. It starts from units that
    are on in the leaves of a decision tree for the factor, each a conjunction of the few units that lead there; in
    factors with few terms of order >= 3 also from the units found so far and random ones.

    Parameters
    ----------
    factor
        The factor at its valid settings; impossible ones may come out less probable still.
    high
        Its terms of order >= 3.
    tolerance
        Wanted root mean squared error of the log factor, settings weighted by their share.
    bound
        |w| beyond which a coupling costs; twice that in factors with many terms of order >= 3, where weak ones
        would take very many units. Where no number of units is enough it is doubled, and the search goes on.
    """
    units = factor.units
    table = _Table(
        z=tuple(map(tuple, factor.z.tolist())),
        log_factor=tuple(factor.log_factor.tolist()),
        share=tuple(factor.share.tolist()),
        possible=tuple(factor.possible.tolist()),
        high=tuple((tuple(units.index(u) for u in monomial), value) for monomial, value in high.items()),
    )
    low, rows, residual = _found(table, tolerance, bound)
    pairs = itertools.combinations(units, 2)
    terms: Polynomial = {}
    for monomial, value in zip([(), *((u,) for u in units), *pairs], low):
        add(terms, {tuple(sorted(monomial)): float(value)})
    auxiliaries = tuple(Auxiliary(units=units, weights=row[:-1].copy(), bias=float(row[-1])) for row in rows)
    return Fit(terms=terms, auxiliaries=auxiliaries, residual=residual)


class _Table(NamedTuple):
    """A factor without the names of its units."""

    z: tuple[tuple[int, ...], ...]
    log_factor: tuple[float, ...]
    share: tuple[float, ...]
    possible: tuple[bool, ...]
    high: tuple[tuple[Monomial, float], ...]


@functools.lru_cache(maxsize=1024)
def _found(table: _Table, tolerance: float, bound: float) -> tuple[Array, Array, float]:
    """Return terms of order <= 2 (pairs last), rows of weights and biases of the auxiliaries, error.

    Kept: the tables of a network are often equal, and those without zeros are the same at every depth.
    """
    exact = by_monomials(dict(table.high)).auxiliaries if len(table.high) <= _FEW else ()
    few = 0 < len(exact) <= _FEW
    problem = _Problem(table, tolerance, bound if few else 2 * bound)
    units = len(table.z[0])
    best = problem.with_low_orders(np.zeros((0, units + 1)))
    if problem.error(best) > tolerance:
        best = _few_units(problem, best, _embedded(exact, range(units))) if few else _many_units(problem, best)
    low = np.zeros(problem.n_orders)
    low[problem.kept] = best[: problem.n_low]
    rows = problem.rows(best)
    for values in (low, rows):
        values.flags.writeable = False
    return low, rows, problem.error(best)


def _few_units(problem: _Problem, best: Array, exact: Array) -> Array:
    """Return the fit of a factor with few terms of order >= 3, for which ``exact`` auxiliaries would do.

    Whether it can be done at all within the bound is asked of the largest number of units.
    """
    width, rng = problem.settings.shape[1], np.random.default_rng(_SEED)
    problem.least_gain = _FEW_GAIN
    trees = list(_trees(problem, 1, len(exact) + 3, beyond=True))

    def tried(number: int, leaves: Sequence[Leaf], rows: Array) -> Array:
        guesses = [_conjunctions(leaves, width - 1, _FEW_WEIGHT)]
        guesses += [np.concatenate([rows, _anywhere(width - 1, number - len(rows), rng)]) for _ in range(_STARTS)]
        return problem.fitted([*guesses, exact] if number == len(exact) else guesses)

    none = np.zeros((0, width))
    while problem.bound <= _LARGEST_BOUND:
        with_most = tried(*trees[-1], none)
        best = min(best, with_most, key=problem.error)
        if problem.error(with_most) <= problem.tolerance:
            rows = none
            for number, leaves in trees[:-1]:
                found = tried(number, leaves, rows)
                if problem.error(found) <= problem.tolerance:
                    return found
                rows = problem.rows(found)
            return with_most
        # the most units, each as strong as need be, translate better than few strong ones
        problem.bound *= 2
        best = min(best, problem.fitted([problem.rows(best), exact]), key=problem.error)
        if problem.error(best) <= problem.tolerance:
            return best
    return best


def _many_units(problem: _Problem, best: Array) -> Array:
    """Return the fit of a factor with many terms of order >= 3."""
    n = problem.settings.shape[1] - 1
    while problem.bound <= _LARGEST_BOUND:
        for _, leaves in _trees(problem, _FEWEST, min(len(problem.goal) - 1, _MOST), beyond=False):
            best = min(best, problem.fitted([_conjunctions(leaves, n, _LEAF_WEIGHT)]), key=problem.error)
            if problem.error(best) <= problem.tolerance:
                return best
        problem.bound *= 2
        best = min(best, problem.fitted([problem.rows(best)]), key=problem.error)
    return best


Leaf = tuple[dict[int, int], float]
"""The units that lead to a leaf of a decision tree and their states, and the mean log factor there."""


def _trees(problem: _Problem, first: int, most: int, *, beyond: bool) -> Iterator[tuple[int, list[Leaf]]]:
    """Return decision trees for the factor, grown best first, (number of leaves less one, leaves).

    Half as many more each time, to the end, or ``beyond``. A split is as good as it lowers the weighted variance.
    """
    z, weight = problem.settings[:, :-1].astype(bool), problem.weight**2
    order = itertools.count()

    def leaf(at: Array, path: dict[int, int]) -> tuple[float, int, int, Array, Leaf]:
        share, value = weight[at], problem.goal[at]
        total = share.sum()
        mean = float(share @ value / total)
        variance = float(share @ (value - mean) ** 2)
        on = z[at].T * share
        of_on, of_off = on.sum(axis=1), total - on.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            shift = on @ (value - mean)
            gain = np.where((z[at].any(axis=0)) & (~z[at].all(axis=0)), shift**2 / of_on + shift**2 / of_off, -1.0)
        best = int(np.argmax(gain))
        if gain[best] < 0 or np.ptp(value) < _SAME:
            return 0.0, next(order), _WHOLE, at, (path, mean)
        # a split that gains nothing by itself may be half of one that does
        return -max(float(gain[best]), _HALF * variance), next(order), best, at, (path, mean)

    heap = [leaf(np.arange(len(z)), {})]
    number = first
    while True:
        while len(heap) <= number and heap[0][2] != _WHOLE:
            _, _, unit, at, (path, _) = heapq.heappop(heap)
            for state in (0, 1):
                heapq.heappush(heap, leaf(at[z[at, unit] == state], {**path, unit: state}))
        yield min(number, most), [entry[-1] for entry in heap]
        if number >= most or (heap[0][2] == _WHOLE and not beyond):
            return
        number = min(number + max(1, number // 2), most)


def _conjunctions(leaves: Sequence[Leaf], n: int, strength: float) -> Array:
    """Return a unit for each leaf but the least that is on there alone, rows of weights and bias."""
    least = min(value for _, value in leaves)
    rows = []
    for path, value in leaves:
        if (above := value - least) < _SAME:
            continue
        row = np.zeros(n + 1)
        for unit, state in path.items():
            row[unit] = strength if state else -strength
        # softplus(drive) = what is above the least
        row[-1] = above + np.log(-np.expm1(-above)) - strength * sum(path.values())
        rows.append(row)
    return np.array(rows).reshape(-1, n + 1)


def _anywhere(n: int, number: int, rng: np.random.Generator) -> Array:
    """Return random conjunctions, rows of weights and bias."""
    signs = rng.choice([-1.0, 1.0], (number, n)) * rng.uniform(1.0, 3.0, (number, n))
    bias = -np.maximum(signs, 0).sum(axis=1) + rng.uniform(-1.0, 2.0, number)
    return np.concatenate([signs, bias[:, None]], axis=1)


def _embedded(auxiliaries: Sequence[Auxiliary], units: Sequence[int]) -> Array:
    """Return auxiliaries as rows of weights to all of ``units`` and the bias."""
    rows = np.zeros((len(auxiliaries), len(units) + 1))
    for row, a in zip(rows, auxiliaries):
        row[[units.index(u) for u in a.units]] = a.weights
        row[-1] = a.bias
    return rows


class _Point(NamedTuple):
    """Parameters and what follows from them."""

    x: Array
    slopes: Array
    """Of the auxiliaries' softplus, (K, auxiliaries)."""
    errors: Array
    """Weighted errors of the log factor, (K,)."""
    excess: Array
    """By how much each coupling is beyond the bound, (parameters,)."""
    error: float
    """Weighted root mean squared error."""
    cost: float
    """Sum of squares, soft bound and ridge included."""


class _Problem:
    """Weighted least squares: x holds the terms of order <= 2, then a row (weights, bias) for each auxiliary."""

    def __init__(self, table: _Table, tolerance: float, bound: float) -> None:
        z = np.array(table.z)
        n = z.shape[1]
        weight = np.sqrt(np.maximum(table.share, _LEAST_WEIGHT))
        self.weight = weight / np.sqrt(np.sum(weight**2))
        self.goal, self.tolerance, self.bound = np.array(table.log_factor), tolerance, bound
        self.least_gain = _LEAST_GAIN
        self.impossible = ~np.array(table.possible)
        pairs = [z[:, i] * z[:, j] for i, j in itertools.combinations(range(n), 2)]
        low = np.column_stack([np.ones(len(z)), z, *pairs])
        # columns that no valid setting turns on (two states of one variable at once) have no say
        self.kept = np.flatnonzero(low.any(axis=0))
        self.low = low[:, self.kept]
        self.n_orders, self.n_low = low.shape[1], len(self.kept)
        self.settings = np.column_stack([z, np.ones(len(z))])
        self.of_pair = self.kept > n

    def rows(self, x: Array) -> Array:
        """Return weights and biases of the auxiliaries, shape (auxiliaries, units + 1)."""
        return x[self.n_low :].reshape(-1, self.settings.shape[1])

    def couplings(self, size: int) -> Array:
        """Tell them from terms of order <= 1 and biases, which are never bounded."""
        width = self.settings.shape[1]
        in_row = np.arange(width) < width - 1
        return np.concatenate([self.of_pair, np.tile(in_row, (size - self.n_low) // width)])

    def at(self, x: Array, limit: Array) -> _Point:
        """Return errors and costs there, ``limit`` the bound of each parameter."""
        softplus, slopes = _softplus(self.settings @ self.rows(x).T)
        errors = self.weight * (self.low @ x[: self.n_low] + softplus - self.goal)
        # an impossible setting that is too improbable has no error
        np.maximum(errors, 0.0, out=errors, where=self.impossible)
        excess = x - np.minimum(np.maximum(x, -limit), limit)
        misfit, ridge = errors @ errors, x[self.n_low :] @ x[self.n_low :]
        cost = misfit + _BOUND_COST**2 * (excess @ excess) + _RIDGE**2 * ridge
        return _Point(x, slopes, errors, excess, float(np.sqrt(misfit)), float(cost))

    def error(self, x: Array) -> float:
        """Return the weighted root mean squared error."""
        return self.at(x, np.full(len(x), np.inf)).error

    def fitted(self, guesses: Sequence[Array]) -> Array:
        """Return the best fit found from these auxiliaries, each of shape (auxiliaries, units + 1)."""
        found = [_levenberg_marquardt(self, self.with_low_orders(rows)) for rows in guesses]
        good = [x for x in found if self.error(x) <= self.tolerance]
        # of several good ones the weakest couplings: they translate best
        return min(good, key=self.strength) if good else min(found, key=self.error)

    def strength(self, x: Array) -> float:
        """Return the sum of squared couplings."""
        return float(np.sum(x[self.couplings(len(x))] ** 2))

    def linearised(self, point: _Point) -> tuple[Array, Array, Array]:
        """Return J (K, parameters), what bound and ridge add to diag(J^T J), and half the gradient."""
        columns = np.empty((len(self.settings), len(point.x)))
        weight = np.where(self.impossible & (point.errors == 0), 0.0, self.weight)[:, None]
        np.multiply(self.low, weight, out=columns[:, : self.n_low])
        inner = columns[:, self.n_low :].reshape(*point.slopes.shape, self.settings.shape[1])
        np.multiply((point.slopes * weight)[..., None], self.settings[:, None, :], out=inner)
        diagonal = _BOUND_COST**2 * (point.excess != 0)
        diagonal[self.n_low :] += _RIDGE**2
        gradient = point.errors @ columns + _BOUND_COST**2 * point.excess
        gradient[self.n_low :] += _RIDGE**2 * point.x[self.n_low :]
        return columns, diagonal, gradient

    def with_low_orders(self, rows: Array) -> Array:
        """Return x for given auxiliaries, the terms of order <= 2 at their best (impossible settings as given)."""
        rest = self.goal - _softplus(self.settings @ rows.T)[0]
        low = np.linalg.lstsq(self.low * self.weight[:, None], self.weight * rest, rcond=1e-10)[0]
        return np.concatenate([low, rows.ravel()])


def _softplus(drives: Array) -> tuple[Array, Array]:
    """Return the sums of softplus over the last axis, and the slopes of each."""
    away = np.exp(-np.abs(drives))
    above = 1.0 + away
    total = np.maximum(drives, 0.0).sum(axis=-1) + np.log(above.prod(axis=-1))
    return total, np.where(drives > 0, 1.0, away) / above


def _levenberg_marquardt(problem: _Problem, start: Array) -> Array:
    """Return a local minimum, or the first point within the tolerance.

    SciPy's least_squares takes several times as long at this size. All parameters are damped alike: scaled by
    diag(J^T J), weights of saturated units are thrown far off. The damping follows the gain: H. B. Nielsen,
    Damping parameter in Marquardt's method, IMM-REP-1999-05 (1999).
    """
    limit = np.where(problem.couplings(len(start)), problem.bound, np.inf)
    here = problem.at(start, limit)
    damping, growth = 1e-2, 2.0
    for _ in range(_MAX_STEPS):
        columns, diagonal, gradient = problem.linearised(here)
        while growth <= _MOST_GROWTH:
            step = _solved(columns, diagonal + damping, gradient)
            tried = problem.at(here.x - step, limit)
            gained = here.cost - tried.cost
            if gained > 0:
                break
            damping, growth = damping * growth, 2 * growth
        else:
            return here.x
        here, growth = tried, 2.0
        # a short step gains little anywhere
        if here.error < problem.tolerance or (gained < problem.least_gain * here.cost and damping < 1):
            return here.x
        promised = step @ (gradient + damping * step)
        damping *= max(1 / 3, 1 - (2 * gained / promised - 1) ** 3)
    return here.x


def _solved(columns: Array, diagonal: Array, gradient: Array) -> Array:
    """Return ``(J^T J + diag)^-1 gradient``, by Woodbury's identity where settings are fewer than parameters."""
    settings, parameters = columns.shape
    if parameters <= settings:
        normal = columns.T @ columns
        normal.flat[:: parameters + 1] += diagonal
        return np.linalg.solve(normal, gradient)
    root = np.sqrt(diagonal)
    scaled, direct = columns / root, gradient / root
    inner = scaled @ scaled.T
    inner.flat[:: settings + 1] += 1.0
    return (direct - np.linalg.solve(inner, scaled @ direct) @ scaled) / root


_LEAST_WEIGHT = 1e-3
"""Of a setting's squared error, relative to the most probable setting: a factor elsewhere may favour it."""
_BOUND_COST = 0.03
_RIDGE = 1e-5
_SEED = 1
_FEW = 5
_FEWEST = 3
_STARTS = 5
_MOST = 256
_LEAF_WEIGHT, _FEW_WEIGHT = 4.0, 2.0
_SAME = 1e-9
_HALF = 1e-3
_WHOLE = -1
_MAX_STEPS = 400
_MOST_GROWTH = 2.0**8
_LEAST_GAIN, _FEW_GAIN = 1e-4, 3e-3
_LARGEST_BOUND = 30.0
