"""Auxiliary units fitted to a factor: as few as reach a tolerance, with moderate couplings."""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from boltzspike.compilation.auxiliary import Auxiliary, FactorSettings, Fit
from boltzspike.compilation.encoding import Monomial, Polynomial, add
from boltzspike.model.description import Array


def by_fit(factor: FactorSettings, high: Polynomial, *, tolerance: float, bound: float) -> Fit:
    """Return as few auxiliary units as reach the tolerance with couplings within the bound.

    Terms of order <= 2 and auxiliary units are fitted together by Levenberg-Marquardt. It starts from units that
    are on in the leaves of a decision tree for the factor, each a conjunction of the few units that lead there; in
    factors with few terms of order >= 3 also from random ones.

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
    table = _Table(
        z=tuple(map(tuple, factor.z.tolist())),
        log_factor=tuple(factor.log_factor.tolist()),
        share=tuple(factor.share.tolist()),
        possible=tuple(factor.possible.tolist()),
        high=tuple((tuple(map(factor.units.index, monomial)), value) for monomial, value in high.items()),
    )
    low, rows, residual = _found(table, tolerance, bound)
    pairs = itertools.combinations(factor.units, 2)
    terms: Polynomial = {}
    for monomial, value in zip([(), *((u,) for u in factor.units), *pairs], low):
        add(terms, {tuple(sorted(monomial)): float(value)})
    auxiliaries = (Auxiliary(units=factor.units, weights=row[:-1].copy(), bias=float(row[-1])) for row in rows)
    return Fit(terms=terms, auxiliaries=tuple(auxiliaries), residual=residual)


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
    n_exact = _exact_units(table.high)
    few = n_exact <= _FEW
    problem = _Problem(table, tolerance, bound if few else 2 * bound)
    best = problem.with_low_orders(np.zeros((0, problem.width)))
    if not problem.solved(best):
        best = _few_units(problem, best, table.high, n_exact + 3) if few else _many_units(problem, best)
    low = np.zeros(problem.n_orders)
    low[problem.kept] = best[: problem.n_low]
    rows = problem.rows(best)
    for values in (low, rows):
        values.flags.writeable = False
    return low, rows, problem.error(best)


def _exact_units(high: Sequence[tuple[Monomial, float]]) -> int:
    """Return how many units the exact reduction takes, those for what others add to lower orders included."""
    if len(high) > _FEW:
        return len(high)
    parts = (itertools.combinations(m, order) for m, _ in high for order in range(3, len(m) + 1))
    return len(set(itertools.chain.from_iterable(parts)))


def _few_units(problem: _Problem, best: Array, high: Sequence[tuple[Monomial, float]], most: int) -> Array:
    """Return the fit of a factor with few terms of order >= 3.

    Whether it can be done at all within the bound is asked of the largest number of units; the smallest number
    that does is tried from more starts.
    """
    rng = np.random.default_rng(_SEED)
    *smaller, largest = _trees(problem, 1, most)

    def fitted(rows: Array, number: int, starts: int) -> Array:
        return problem.fitted([rows, *(_anywhere(number, problem.width, high, rng) for _ in range(starts))])

    def tried(tree: Tree) -> Array:
        number, leaves = tree
        return fitted(_conjunctions(leaves, problem.width, _FEW_WEIGHT), number, _STARTS)

    while problem.bound <= _LARGEST_BOUND and not problem.solved(best):
        with_most = tried(largest)
        if problem.solved(with_most):
            rows = problem.rows(next(filter(problem.solved, map(tried, smaller)), with_most))
            return fitted(rows, len(rows), _MORE_STARTS)
        # the most units, each as strong as need be, translate better than few strong ones
        best = problem.less_bound(min(best, with_most, key=problem.error))
    return best


def _many_units(problem: _Problem, best: Array) -> Array:
    """Return the fit of a factor with many terms of order >= 3."""
    most = min(len(problem.goal) - 1, _MOST)
    while problem.bound <= _LARGEST_BOUND and not problem.solved(best):
        for number, leaves in _trees(problem, _FEWEST, most):
            found = problem.fitted([_conjunctions(leaves, problem.width, _LEAF_WEIGHT)])
            best = min(best, found, key=problem.error)
            if problem.solved(best):
                return best
            if len(leaves) <= number:  # the tree is whole
                break
        best = problem.less_bound(best)
    return best


Leaf = tuple[dict[int, int], float]
"""The units that lead to a leaf of a decision tree and their states, and the mean log factor there."""
Tree = tuple[int, list[Leaf]]
"""How many splits were allowed, and what they led to."""


def _trees(problem: _Problem, number: int, most: int) -> Iterator[Tree]:
    """Return the leaves of decision trees for the factor, grown best first, each time half as many more splits.

    A split is as good as it lowers the weighted variance.
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
    while True:
        while len(heap) <= number and heap[0][2] != _WHOLE:
            _, _, unit, at, (path, _) = heapq.heappop(heap)
            for state in (0, 1):
                heapq.heappush(heap, leaf(at[z[at, unit] == state], {**path, unit: state}))
        yield number, [entry[-1] for entry in heap]
        if number >= most:
            return
        number = min(number + max(1, number // 2), most)


def _conjunctions(leaves: Sequence[Leaf], width: int, strength: float) -> Array:
    """Return a unit for each leaf but the least that is on there alone, rows of weights and bias."""
    least = min(value for _, value in leaves)
    rows = []
    for path, value in leaves:
        if (above := value - least) < _SAME:
            continue
        row = np.zeros(width)
        for unit, state in path.items():
            row[unit] = strength if state else -strength
        # softplus(drive) = what is above the least
        row[-1] = above + np.log(-np.expm1(-above)) - strength * sum(path.values())
        rows.append(row)
    return np.array(rows).reshape(-1, width)


def _anywhere(number: int, width: int, high: Sequence[tuple[Monomial, float]], rng: np.random.Generator) -> Array:
    """Return random conjunctions, rows of weights and bias, each with an interaction of the sign of some term.

    The interaction of an auxiliary unit among some units has the sign of the product of its weights to them.
    """
    rows = rng.choice([-1.0, 1.0], (number, width)) * rng.uniform(1.0, 3.0, (number, width))
    size = np.abs([value for _, value in high])
    for row, k in zip(rows, rng.choice(len(high), number, p=size / size.sum())):
        units, value = high[k]
        if np.prod(row[list(units)]) * value < 0:
            row[rng.choice(units)] *= -1
    rows[:, -1] = -np.maximum(rows[:, :-1], 0).sum(axis=1) + rng.uniform(-1.0, 2.0, number)
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
        self.impossible = ~np.array(table.possible)
        pairs = [z[:, i] * z[:, j] for i, j in itertools.combinations(range(n), 2)]
        low = np.column_stack([np.ones(len(z)), z, *pairs])
        # columns that no valid setting turns on (two states of one variable at once) have no say
        self.kept = np.flatnonzero(low.any(axis=0))
        self.low = low[:, self.kept]
        self.weighted_low = self.low * self.weight[:, None]
        self.n_orders, self.n_low = low.shape[1], len(self.kept)
        self.settings = np.column_stack([z, np.ones(len(z))])
        self.width = n + 1
        self.of_pair = self.kept > n

    def rows(self, x: Array) -> Array:
        """Return weights and biases of the auxiliaries, shape (auxiliaries, units + 1)."""
        return x[self.n_low :].reshape(-1, self.width)

    def couplings(self, size: int) -> Array:
        """Tell them from terms of order <= 1 and biases, which are never bounded."""
        in_row = np.arange(self.width) < self.width - 1
        return np.concatenate([self.of_pair, np.tile(in_row, (size - self.n_low) // self.width)])

    def at(self, x: Array, limit: Array) -> _Point:
        """Return errors and costs there, ``limit`` the bound of each parameter."""
        softplus, slopes = _softplus(self.settings @ self.rows(x).T)
        errors = self.weight * (self.low @ x[: self.n_low] + softplus - self.goal)
        # an impossible setting that is too improbable has no error
        np.maximum(errors, 0.0, out=errors, where=self.impossible)
        excess = x - np.minimum(np.maximum(x, -limit), limit)
        misfit = errors @ errors
        cost = misfit + _BOUND_COST**2 * (excess @ excess) + _RIDGE**2 * (x @ x)
        return _Point(x, slopes, errors, excess, float(np.sqrt(misfit)), float(cost))

    def error(self, x: Array) -> float:
        """Return the weighted root mean squared error."""
        return self.at(x, np.full(len(x), np.inf)).error

    def solved(self, x: Array) -> bool:
        """Tell whether the error is within the tolerance."""
        return self.error(x) <= self.tolerance

    def fitted(self, guesses: Sequence[Array]) -> Array:
        """Return the best fit found from these auxiliaries, each of shape (auxiliaries, units + 1)."""
        found = [_levenberg_marquardt(self, self.with_low_orders(rows)) for rows in guesses]
        # of several good ones that whose units are on least: what biases must cancel is less
        return min(filter(self.solved, found), key=self.activity, default=min(found, key=self.error))

    def less_bound(self, x: Array) -> Array:
        """Return a better fit from this one, the bound doubled from here on."""
        self.bound *= 2
        return min(x, self.fitted([self.rows(x)]), key=self.error)

    def activity(self, x: Array) -> float:
        """Return how many auxiliaries are on, on average over the settings by their weight."""
        return float(np.sum(self.weight**2 @ _softplus(self.settings @ self.rows(x).T)[1]))

    def linearised(self, point: _Point) -> tuple[Array, Array, Array]:
        """Return J (K, parameters), what bound and ridge add to diag(J^T J), and half the gradient."""
        weighted = point.slopes * self.weight[:, None]
        columns = np.empty((len(self.settings), len(point.x)))
        columns[:, : self.n_low] = self.weighted_low
        inner = columns[:, self.n_low :].reshape(*weighted.shape, self.width)
        np.multiply(weighted[..., None], self.settings[:, None, :], out=inner)
        columns[self.impossible & (point.errors == 0)] = 0.0
        diagonal = _BOUND_COST**2 * (point.excess != 0) + _RIDGE**2
        gradient = point.errors @ columns + _BOUND_COST**2 * point.excess + _RIDGE**2 * point.x
        return columns, diagonal, gradient

    def with_low_orders(self, rows: Array) -> Array:
        """Return x for given auxiliaries, the terms of order <= 2 at their best (impossible settings as given)."""
        rest = self.goal - _softplus(self.settings @ rows.T)[0]
        low = np.linalg.lstsq(self.weighted_low, self.weight * rest, rcond=1e-10)[0]
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
        if here.error < problem.tolerance or gained < _LEAST_GAIN * here.cost:
            return here.x
        promised = step @ (gradient + damping * step)
        damping *= max(1 / 3, 1 - float(2 * gained / promised - 1) ** 3)
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
_STARTS, _MORE_STARTS = 3, 3
_FEW = 5
_FEWEST = 3
_MOST = 256
_LEAF_WEIGHT, _FEW_WEIGHT = 4.0, 2.0
_SAME = 1e-9
_HALF = 1e-3
_WHOLE = -1
_MAX_STEPS = 400
_MOST_GROWTH = 2.0**8
_LEAST_GAIN = 1e-3
_LARGEST_BOUND = 30.0
