"""Terms of third and higher order by auxiliary units.

An auxiliary unit h with weights w and bias c, summed out, adds ``softplus(c + w.z)`` to the log-probability of the
other units. Its interaction of a set S of units with equal |w| follows by Moebius inversion,
``I_S = sum_{T in S} (-1)^(|S|-|T|) softplus(c + w |T|)``.

- ``"monomials"``: one unit for each term of order >= 3, w and c solved so that its interaction of that order is
  the term, its lower ones taken out of the terms below. Exact to rounding.
- ``"assignments"``: one unit for each setting of a factor's units but the least probable, on only there: the
  auxiliary variables of D. Pecevski, L. Buesing, W. Maass, PLoS Comput. Biol. 7, e1002294 (2011), and D. Probst
  et al., Front. Comput. Neurosci. 9, 13 (2015). Exact in the limit of strong weights M, to order exp(-M).

A third, fitted units, is in ``compilation.fit``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

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


_LARGEST = 1e4
