"""Terms of third and higher order by auxiliary units: three constructions.

An auxiliary unit h with weights w and bias c, summed out, adds ``softplus(c + w.z)`` to the log-probability of the
other units. Its interaction of a set S of units with equal |w| follows by Moebius inversion,
``I_S = sum_{T in S} (-1)^(|S|-|T|) softplus(c + w |T|)``.

- ``"monomials"``: one unit for each term of order >= 3, w and c solved so that its interaction of that order is
  the term, its lower ones taken out of the terms below. Exact to rounding.
- ``"assignments"``: one unit for each setting of a factor's units but the least probable, on only there: the
  auxiliary variables of D. Pecevski, L. Buesing, W. Maass, PLoS Comput. Biol. 7, e1002294 (2011), and D. Probst
  et al., Front. Comput. Neurosci. 9, 13 (2015). Exact in the limit of strong weights M, to order exp(-M).
- ``"fitted"``: as few units as reach a tolerance, fitted to the factor by bounded multi-start least squares.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from scipy.special import expit

from boltzspike.compilation.encoding import Monomial, Polynomial, add
from boltzspike.model.description import Array


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Auxiliary:
    """One auxiliary unit."""

    units: Monomial
    """The units it is coupled to."""
    weights: Array
    """Weights to them."""
    bias: float

    def value(self, z: Array) -> Array:
        """Return ``softplus(c + w.z)`` for states of the coupled units, shape (..., units) -> (...,)."""
        return np.logaddexp(0.0, z @ self.weights + self.bias)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FactorSettings:
    """A factor at K settings of its units: those that show a state of every variable."""

    units: Monomial
    z: Array
    """The settings, shape (K, units)."""
    log_factor: Array
    """What is to be reproduced there, shape (K,)."""
    share: Array
    """Probability of each setting under the factor relative to the largest: the weight of its squared error."""
    possible: Array
    """Whether the factor is above zero there."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fit:
    """A factor reduced: its terms of order <= 2, its auxiliary units, the error left."""

    terms: Polynomial
    auxiliaries: tuple[Auxiliary, ...]
    residual: float
    """Root of the weighted mean squared error of the log factor."""


def by_monomials(terms: Polynomial) -> Fit:
    """Return the exact reduction, one auxiliary unit for each term of order >= 3.

    A positive term takes equal weights w and bias -(d - 1) w - shift, so that all d units together, or one fewer,
    turn the auxiliary on; for a negative one the last unit is taken as flipped.
    """
    left = dict(terms)
    auxiliaries = []
    for order in range(max((len(m) for m in left), default=0), 2, -1):
        for monomial in sorted(m for m in left if len(m) == order):
            theta = left.pop(monomial)
            if abs(theta) < 1e-12:
                continue
            weight, bias = _solve(order, abs(theta))
            weights = np.full(order, weight)
            if theta < 0:
                # flipping the last unit: c + w (1 - z) in place of c + w z
                weights[-1], bias = -weight, bias + weight
            unit = Auxiliary(units=monomial, weights=weights, bias=bias)
            auxiliaries.append(unit)
            interactions = _moebius(unit)
            interactions.pop(monomial)
            add(left, {subset: -value for subset, value in interactions.items()})
    return Fit(terms=left, auxiliaries=tuple(auxiliaries), residual=0.0)


def _solve(order: int, theta: float) -> tuple[float, float]:
    """Return (w, c) with ``I_d(w, c) = theta > 0`` and w the smallest over a few thresholds c."""
    counts = np.arange(order + 1)
    signs = (-1.0) ** (order - counts) * _binomials(order)
    best = (np.inf, 0.0)
    for offset in (1.5, 1.25, 1.0, 0.75, 0.5):
        interaction = lambda w, o=offset: float(signs @ np.logaddexp(0.0, w * (counts - order + o)))
        high = 1.0
        while interaction(high) < theta and high < _LARGEST:
            high *= 2
        low = high / 2
        while interaction(low) > theta and low > 1e-9:
            low /= 2
        if interaction(low) < theta <= interaction(high):
            w = float(
                scipy.optimize.brentq(lambda x, f=interaction: f(x) - theta, low, high, xtol=1e-15, rtol=1e-15)
            )
            best = min(best, (w, -w * (order - offset)))
    return best


def _binomials(n: int) -> Array:
    row: Array = np.ones(1)
    for _ in range(n):
        row = np.convolve(row, [1.0, 1.0])
    return row


def _moebius(unit: Auxiliary) -> Polynomial:
    """Return all interactions of an auxiliary unit."""
    n = len(unit.units)
    table = unit.value(settings(n)).reshape((2,) * n)
    for axis in range(n):
        off, on = np.take(table, 0, axis), np.take(table, 1, axis)
        table = np.stack([off, on - off], axis)
    return {
        tuple(u for u, bit in zip(unit.units, position) if bit): float(value)
        for position, value in np.ndenumerate(table)
    }


def settings(n: int) -> Array:
    """Return all 2^n settings, shape (2^n, n), the first unit the most significant bit."""
    return (np.arange(2**n)[:, None] >> np.arange(n - 1, -1, -1)) & 1


def by_assignments(factor: FactorSettings, *, strength: float) -> Fit:
    """Return the construction of the literature.

    Parameters
    ----------
    factor
        The factor at its valid settings.
    strength
        M: each unit that differs from the setting takes M from the auxiliary unit's drive.
    """
    units, z, log_factor = factor.units, factor.z, factor.log_factor
    least = float(log_factor.min())
    auxiliaries = []
    for setting, value in zip(z, log_factor - least):
        if value < 1e-12:
            continue
        # at its setting the auxiliary contributes softplus(drive) = log factor above the least
        drive = float(value + np.log(-np.expm1(-value)))
        weights = np.where(setting == 1, strength, -strength)
        bias = drive - strength * float(setting.sum())
        auxiliaries.append(Auxiliary(units=units, weights=weights.astype(float), bias=bias))
    got = least + sum(a.value(z) for a in auxiliaries)
    residual = float(np.sqrt(np.mean((got - log_factor) ** 2)))
    return Fit(terms={(): least}, auxiliaries=tuple(auxiliaries), residual=residual)


def by_fit(
    factor: FactorSettings, *, tolerance: float, bound: float, exact: Sequence[Auxiliary], starts: int = 6
) -> Fit:
    """Return as few auxiliary units as reach the tolerance with couplings within the bound.

    Terms of order <= 2 and auxiliary units are fitted together by Levenberg-Marquardt, from the units found so far
    and one more at a few places.

    Parameters
    ----------
    factor
        The factor at its valid settings; impossible ones may come out less probable still.
    tolerance
        Wanted root mean squared error of the log factor, settings weighted by their share.
    bound
        |w| beyond which a coupling costs; twice that in factors with many terms of order >= 3, where weak ones
        would take very many units.
    exact
        The auxiliary units of ``by_monomials``: where fewer don't suffice, they are where the search starts from.
    starts
        Starts for each number of units in factors with few terms.
    """
    units = factor.units
    few = len(exact) <= _FEW
    problem = _Problem(factor, bound if few else 2 * bound)
    starts = starts if few else 1
    rng = np.random.default_rng(_SEED)
    most = (2 * len(exact) + 2 if few else len(exact)) * (len(units) + 1)
    found = problem.with_low_orders(np.zeros(0))
    best, left = found, problem.error(found)
    while left > tolerance:
        rows = found[problem.n_low :]
        if len(rows) >= most:
            # with so many units, only stronger ones are left to try
            if problem.bound > _LARGEST_BOUND:
                break
            problem.bound *= 2
            guesses = [best, problem.with_low_orders(_embedded(exact, units))]
        else:
            # where many will be needed, a third more at a time: one by one would take minutes
            number = 1 if few else 1 + len(rows) // (3 * (len(units) + 1))
            more = [
                np.concatenate([_first_guess(len(units), start, rng) for _ in range(number)])
                for start in range(starts)
            ]
            guesses = [problem.with_low_orders(np.concatenate([rows, new])) for new in more]
        tried = [_levenberg_marquardt(problem, guess, tolerance) for guess in guesses]
        good = [x for x in tried if problem.error(x) < tolerance]
        # of several good ones the weakest couplings: they translate best
        found = min(good, key=problem.strength) if good else min(tried, key=problem.error)
        if problem.error(found) < left:
            best, left = found, problem.error(found)
    pairs = itertools.combinations(units, 2)
    names: Sequence[Monomial] = [(), *((u,) for u in units), *pairs]
    terms: Polynomial = {}
    for column, value in zip(problem.kept, best):
        add(terms, {tuple(sorted(names[column])): float(value)})
    rows = best[problem.n_low :].reshape(-1, len(units) + 1)
    auxiliaries = tuple(Auxiliary(units=units, weights=row[:-1].copy(), bias=float(row[-1])) for row in rows)
    return Fit(terms=terms, auxiliaries=auxiliaries, residual=left)


class _Problem:
    """Weighted least squares: x holds the terms of order <= 2, then a row (weights, bias) for each auxiliary."""

    def __init__(self, factor: FactorSettings, bound: float) -> None:
        z, n = factor.z, factor.z.shape[1]
        weight = np.sqrt(np.maximum(factor.share, _LEAST_WEIGHT))
        self.weight = weight / np.sqrt(np.sum(weight**2))
        self.goal, self.bound = factor.log_factor, bound
        self.impossible = ~factor.possible
        pairs = [z[:, i] * z[:, j] for i, j in itertools.combinations(range(n), 2)]
        low = np.column_stack([np.ones(len(z)), z, *pairs])
        # columns that no valid setting turns on (two states of one variable at once) have no say
        self.kept = np.flatnonzero(low.any(axis=0))
        self.low = low[:, self.kept]
        self.n_low = len(self.kept)
        self.settings = np.column_stack([z, np.ones(len(z))])
        self.of_pair = self.kept > n

    def excess(self, x: Array) -> Array:
        """Return by how much each coupling is beyond the bound; terms of order <= 1 and biases are never."""
        bounded = np.ones(len(x), dtype=bool)
        bounded[: self.n_low] = self.of_pair
        bounded[self.n_low + self.settings.shape[1] - 1 :: self.settings.shape[1]] = False
        return np.where(bounded, np.maximum(np.abs(x) - self.bound, 0.0), 0.0)

    def drives(self, x: Array) -> Array:
        """Return the auxiliaries' inputs, shape (K, auxiliaries)."""
        return self.settings @ x[self.n_low :].reshape(-1, self.settings.shape[1]).T

    def misfit(self, x: Array) -> Array:
        """Return the weighted errors, shape (K,); an impossible setting that is too improbable has none."""
        value = self.low @ x[: self.n_low] + np.logaddexp(0.0, self.drives(x)).sum(axis=1)
        errors = self.weight * (value - self.goal)
        return np.where(self.impossible, np.maximum(errors, 0.0), errors)

    def error(self, x: Array) -> float:
        """Return the weighted root mean squared error."""
        return float(np.sqrt(np.sum(self.misfit(x) ** 2)))

    def strength(self, x: Array) -> float:
        """Return the sum of squared couplings."""
        rows = x[self.n_low :].reshape(-1, self.settings.shape[1])
        return float(np.sum(x[: self.n_low][self.of_pair] ** 2) + np.sum(rows[:, :-1] ** 2))

    def cost(self, x: Array) -> float:
        """Return the sum of squares, soft bound and ridge included."""
        rows, excess, errors = x[self.n_low :], self.excess(x), self.misfit(x)
        return float(errors @ errors + _BOUND_COST**2 * excess @ excess + _RIDGE**2 * rows @ rows)

    def linearised(self, x: Array) -> tuple[Array, Array, Array]:
        """Return J (K, parameters), the diagonal that bound and ridge add to J^T J, and half the gradient."""
        rows = x[self.n_low :]
        slope = expit(self.drives(x))
        inner = (slope[:, :, None] * self.settings[:, None, :]).reshape(len(self.settings), -1)
        errors = self.misfit(x)
        columns = np.concatenate([self.low, inner], axis=1)
        columns *= np.where(self.impossible & (errors == 0), 0.0, self.weight)[:, None]
        excess = self.excess(x)
        diagonal = _BOUND_COST**2 * (excess > 0)
        diagonal[self.n_low :] += _RIDGE**2
        gradient = columns.T @ errors + _BOUND_COST**2 * excess * np.sign(x)
        gradient[self.n_low :] += _RIDGE**2 * rows
        return columns, diagonal, gradient

    def with_low_orders(self, rows: Array) -> Array:
        """Return x for given auxiliaries, the terms of order <= 2 at their best (impossible settings as given)."""
        x = np.concatenate([np.zeros(self.n_low), rows])
        rest = self.goal - np.logaddexp(0.0, self.drives(x)).sum(axis=1)
        x[: self.n_low] = np.linalg.lstsq(self.low * self.weight[:, None], self.weight * rest, rcond=1e-10)[0]
        return x


def _levenberg_marquardt(problem: _Problem, start: Array, tolerance: float) -> Array:
    """Return a local minimum, or the first point within the tolerance.

    SciPy's least_squares takes several times as long at this size.
    """
    x, cost, damping = start, problem.cost(start), 1e-2
    for _ in range(_MAX_STEPS):
        columns, diagonal, gradient = problem.linearised(x)
        scale = np.sum(columns**2, axis=0) + diagonal + 1e-9
        step_of = _few_settings if len(columns) < len(x) else _few_parameters
        for _ in range(_MAX_TRIALS):
            tried = x - step_of(columns, diagonal + damping * scale, gradient)
            tried_cost = problem.cost(tried)
            if tried_cost < cost:
                break
            damping *= 4
        else:
            return x
        gained = cost - tried_cost
        x, cost, damping = tried, tried_cost, max(damping / 5, 1e-9)
        if gained < _LEAST_GAIN * cost or problem.error(x) < tolerance:
            return x
    return x


def _few_parameters(columns: Array, diagonal: Array, gradient: Array) -> Array:
    """Return ``(J^T J + diag)^-1 gradient``."""
    normal = columns.T @ columns
    normal[np.diag_indices(len(normal))] += diagonal
    return np.asarray(np.linalg.solve(normal, gradient))


def _few_settings(columns: Array, diagonal: Array, gradient: Array) -> Array:
    """Return the same by Woodbury's identity: the system solved is as large as there are settings."""
    scaled = columns / diagonal
    inner = scaled @ columns.T
    inner[np.diag_indices(len(inner))] += 1.0
    direct = gradient / diagonal
    return np.asarray(direct - scaled.T @ np.linalg.solve(inner, columns @ direct))


def _embedded(auxiliaries: Sequence[Auxiliary], units: Monomial) -> Array:
    """Return auxiliaries as rows of weights to all of ``units`` and the bias, flat."""
    rows = np.zeros((len(auxiliaries), len(units) + 1))
    for row, a in zip(rows, auxiliaries):
        row[[units.index(u) for u in a.units]] = a.weights
        row[-1] = a.bias
    return rows.ravel()


def _first_guess(n: int, start: int, rng: np.random.Generator) -> Array:
    if start == 0:
        # the conjunction of all units
        return np.concatenate([np.full(n, 2.0), [-2.0 * (n - 1)]])
    signs = rng.choice([-1.0, 1.0], n) * rng.uniform(1.0, 3.0, n)
    return np.concatenate([signs, [-np.maximum(signs, 0).sum() + rng.uniform(-1.0, 2.0)]])


_LEAST_WEIGHT = 1e-3
"""Of a setting's squared error, relative to the most probable setting: a factor elsewhere may favour it."""
_BOUND_COST = 0.03
_RIDGE = 1e-5
_SEED = 1
_FEW = 5
_MAX_STEPS = 100
_MAX_TRIALS = 8
_LEAST_GAIN = 1e-4
_LARGEST = 1e4
_LARGEST_BOUND = 30.0
