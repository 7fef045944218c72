"""A Bayesian network under evidence, made smaller without changing the posterior of what is left."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from boltzspike.errors import ValidationError
from boltzspike.model.bayesnet import BayesianNetwork
from boltzspike.model.description import Array
from boltzspike.theory.elimination import Factor, product, reduced_factors

MAX_SUBSTITUTED = 2**6
"""Entries that a factor may have after a deterministic variable was substituted into it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Simplified:
    """Factors over the variables that must be sampled, and how the others follow from them."""

    factors: tuple[Factor, ...]
    """Over the variables of the network by index; an axis runs over ``allowed`` states of its variable."""
    allowed: tuple[Array, ...]
    """States of each variable that the evidence leaves possible."""
    sampled: tuple[int, ...]
    """Variables with several possible states that don't follow from others."""
    functions: tuple[tuple[int, tuple[int, ...], Array], ...]
    """Deterministic variables (variable, parents, state by the parents' states), parents first."""
    barren: tuple[int, ...]
    """Variables dropped because nothing was asked about them."""


def simplify(
    network: BayesianNetwork,
    fixed: Mapping[int, int],
    likelihoods: Mapping[int, Array],
    wanted: Sequence[int] | None = None,
    kept: Collection[int] = (),
) -> Simplified:
    """Absorb the evidence, drop barren variables and impossible states, substitute deterministic variables.

    Parameters
    ----------
    network, fixed, likelihoods
        The network, hard evidence by index, soft evidence by index.
    wanted
        Variables whose posterior is asked for; those that are neither among them, observed, nor above one of
        these, are barren: their tables sum to one. ``None``: all are wanted.
    kept
        Variables that are sampled though they follow from their parents.
    """
    needed = set(range(network.n_variables))
    if wanted is not None:
        needed = set()
        waiting = [*wanted, *fixed, *likelihoods]
        while waiting:
            k = waiting.pop()
            if k not in needed:
                needed.add(k)
                waiting += network.scope(k)[:-1]
    tables = reduced_factors(network, fixed, likelihoods)
    factors = [f for k, f in enumerate(tables) if k >= network.n_variables or k in needed]
    owners = [k for k in range(network.n_variables) if k in needed]
    allowed = [np.array([fixed[k]]) if k in fixed else np.arange(c) for k, c in enumerate(network.cardinalities)]
    factors = _drop_impossible_states(network, factors, allowed)
    functions = []
    for k in network.order():
        if k not in needed or len(allowed[k]) < 2 or k in likelihoods or k in kept:
            continue
        own = owners.index(k)
        scope, table = factors[own]
        if scope[-1:] != (k,) or not np.isin(table, (0.0, 1.0)).all() or not (table.sum(axis=-1) == 1).all():
            continue
        users = [f for f, (s, _) in enumerate(factors) if k in s and f != own]
        merged = {f: _without(k, factors[f], factors[own]) for f in users}
        if len(scope) == 1 or any(m[1].size > max(MAX_SUBSTITUTED, factors[f][1].size) for f, m in merged.items()):
            continue
        for f, factor in merged.items():
            factors[f] = factor
        factors[own] = ((), np.ones(()))
        state = np.zeros([network.cardinalities[v] for v in scope[:-1]], dtype=np.int64)
        state[np.ix_(*(allowed[v] for v in scope[:-1]))] = allowed[k][np.argmax(table, axis=-1)]
        functions.append((k, scope[:-1], state))
    determined = {k for k, _, _ in functions}
    sampled = tuple(k for k in sorted(needed) if len(allowed[k]) > 1 and k not in determined)
    return Simplified(
        factors=tuple(factors),
        allowed=tuple(allowed),
        sampled=sampled,
        functions=tuple(functions),
        barren=tuple(sorted(set(range(network.n_variables)) - needed)),
    )


def _drop_impossible_states(network: BayesianNetwork, factors: list[Factor], allowed: list[Array]) -> list[Factor]:
    """Remove states whose entries in some factor are all zero, until none is left; single states leave scopes."""
    for v in np.flatnonzero(np.equal(network.cardinalities, 1)):
        factors = [_restricted(factor, int(v), np.ones(1, dtype=bool)) for factor in factors]
    changed = True
    while changed:
        changed = False
        for scope, table in factors:
            for axis, v in enumerate(scope):
                possible = np.asarray(table.any(axis=tuple(a for a in range(len(scope)) if a != axis)))
                if possible.all():
                    continue
                if not possible.any():
                    raise ValidationError(
                        f"evidence: must be possible, but leaves no state to variable {network.names[v]!r}"
                    )
                allowed[v] = allowed[v][possible]
                factors = [_restricted(factor, v, possible) for factor in factors]
                changed = True
                break
            if changed:
                break
            if not scope and not float(table) > 0:
                raise ValidationError("evidence: must be possible, got observations of probability zero")
    return factors


def _restricted(factor: Factor, v: int, possible: Array) -> Factor:
    scope, table = factor
    if v not in scope:
        return factor
    axis = scope.index(v)
    table = np.compress(possible, table, axis=axis)
    if table.shape[axis] == 1:
        return scope[:axis] + scope[axis + 1 :], table.squeeze(axis)
    return scope, table


def _without(k: int, factor: Factor, definition: Factor) -> Factor:
    """Return a factor with a deterministic variable replaced by its parents."""
    scope, table = product([factor, definition])
    axis = scope.index(k)
    return scope[:axis] + scope[axis + 1 :], table.sum(axis=axis)
