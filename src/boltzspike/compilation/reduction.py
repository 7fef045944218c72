"""A factor over variables at the settings of its units, and its fit by parts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from boltzspike.compilation.auxiliary import FactorSettings, Fit
from boltzspike.compilation.encoding import Encoding, Polynomial, add
from boltzspike.compilation.fit import by_fit
from boltzspike.errors import UnsupportedFeature
from boltzspike.model.description import Array

MAX_FACTOR_UNITS = 14
"""Units that a factor of order >= 3 may be over: its auxiliaries are found on a table of all their settings."""


def settings_of(
    scope: tuple[int, ...], log_table: Array, possible: Array, encodings: Mapping[int, Encoding]
) -> FactorSettings:
    """Return a factor given over the states of variables at the valid settings of their units."""
    units = tuple(u for v in scope for u in encodings[v].units)
    if len(units) > MAX_FACTOR_UNITS:
        raise UnsupportedFeature(
            f"a factor over {len(scope)} variables takes {len(units)} units, more than {MAX_FACTOR_UNITS}; "
            "the route 'monomials' takes a unit for each term instead, and has no such limit"
        )
    codes = [np.flatnonzero(encodings[v].state_of >= 0) for v in scope]
    picked = [column.ravel() for column in np.meshgrid(*codes, indexing="ij")]
    bits = []
    for v, code in zip(scope, picked):
        m = len(encodings[v].units)
        bits.append((code[:, None] >> np.arange(m - 1, -1, -1)) & 1)
    states = tuple(encodings[v].state_of[code] for v, code in zip(scope, picked))
    values = log_table[states]
    return FactorSettings(
        units=units,
        z=np.concatenate(bits, axis=1),
        log_factor=values,
        share=np.exp(values - values.max()),
        possible=possible[states],
    )


def fitted(
    factor: FactorSettings,
    exact: Polynomial,
    encodings: Mapping[int, Encoding],
    *,
    tolerance: float,
    bound: float,
) -> Fit:
    """Return the fit of a factor, each largest set of variables with terms of order >= 3 by itself.

    A part takes the terms of order <= 2 that it can: the bound is on couplings as they will be.
    """
    owner = {u: v for v, e in encodings.items() for u in e.units}
    parts = _by_scope({m: value for m, value in exact.items() if len(m) > 2}, owner)
    low: Polynomial = {}
    for monomial, value in exact.items():
        if len(monomial) <= 2:
            over = {owner[u] for u in monomial}
            next((part for scope, part in parts.items() if over <= scope), low)[monomial] = value
    fits = []
    for scope, part in parts.items():
        high = {m: value for m, value in part.items() if len(m) > 2}
        fits.append(by_fit(_part(factor, part, scope, owner), high, tolerance=tolerance, bound=bound))
    for fit in fits:
        add(low, fit.terms)
    auxiliaries = tuple(itertools.chain.from_iterable(fit.auxiliaries for fit in fits))
    return Fit(terms=low, auxiliaries=auxiliaries, residual=max(fit.residual for fit in fits))


def _part(
    factor: FactorSettings, terms: Polynomial, scope: frozenset[int], owner: Mapping[int, int]
) -> FactorSettings:
    """Return some of a factor's terms at the settings of their units; elsewhere the factor is at its best."""
    units = tuple(u for u in factor.units if owner[u] in scope)
    columns = [factor.units.index(u) for u in units]
    z, which = np.unique(factor.z[:, columns], axis=0, return_inverse=True)
    share, possible = np.zeros(len(z)), np.zeros(len(z), dtype=bool)
    np.maximum.at(share, which.ravel(), factor.share)
    np.logical_or.at(possible, which.ravel(), factor.possible)
    log_factor = np.zeros(len(z))
    for monomial, value in terms.items():
        log_factor += value * z[:, [units.index(u) for u in monomial]].prod(axis=1)
    return FactorSettings(units=units, z=z, log_factor=log_factor, share=share, possible=possible)


def _by_scope(terms: Polynomial, owner: Mapping[int, int]) -> dict[frozenset[int], Polynomial]:
    """Return the terms grouped by the largest sets of variables that they are over."""
    groups: dict[frozenset[int], Polynomial] = {}
    for monomial in sorted(terms, key=lambda m: -len({owner[u] for u in m})):
        variables = frozenset(owner[u] for u in monomial)
        home = next((scope for scope in groups if variables <= scope), variables)
        groups.setdefault(home, {})[monomial] = terms[monomial]
    return groups
