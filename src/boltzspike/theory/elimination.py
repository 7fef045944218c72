"""Exact sums over products of factors: bucket elimination, and the posteriors of Bayesian networks by it.

A factor is ``(scope, table)``: a tuple of variables and an array with one axis each. Elimination forms
one clique per variable (R. Dechter, Bucket elimination: a unifying framework for reasoning, Artif. Intell. 113,
1999); a second pass in the opposite direction gives the beliefs of all cliques.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from boltzspike.errors import UnsupportedFeature, ValidationError
from boltzspike.model.bayesnet import BayesianNetwork, Evidence
from boltzspike.model.description import Array

Factor = tuple[tuple[int, ...], Array]
MAX_CLIQUE = 2**24
"""Largest clique table that is formed (128 MB)."""
_MAX_AXES = 52
"""Axes that one einsum can name."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Beliefs:
    """The sum over a product of factors, and the normalised distribution's marginals over cliques."""

    log_z: float
    """Log of the sum; ``-inf`` if every product is zero."""
    cliques: tuple[Factor, ...]
    """Normalised joint marginals, one a clique."""

    def marginal(self, variables: Sequence[int]) -> Array:
        """Return the joint marginal of variables that share a clique, axes in their order."""
        wanted = set(variables)
        holding = [factor for factor in self.cliques if wanted <= set(factor[0])]
        if not holding:
            raise UnsupportedFeature(f"no clique holds all of the variables {list(variables)}")
        scope, table = min(holding, key=lambda factor: factor[1].size)
        summed = table.sum(axis=tuple(axis for axis, v in enumerate(scope) if v not in wanted))
        left = [v for v in scope if v in wanted]
        return np.transpose(summed, [left.index(v) for v in variables])


def beliefs(cardinalities: Sequence[int], logs: Sequence[Factor], *, largest: int = MAX_CLIQUE) -> Beliefs:
    """Return log sum and clique marginals of ``prod_f exp(table_f)``, variables without a factor included.

    All sums are formed in the log domain: large terms of opposite sign in different factors don't underflow.

    Parameters
    ----------
    cardinalities
        Number of states of each variable, shape (n,).
    logs
        The factors' logarithms, ``-inf`` allowed; pass zeros over a set of variables to have their joint marginal.
    largest
        Largest clique allowed, in table entries.

    Raises
    ------
    UnsupportedFeature
        Before anything is allocated, where the order found needs a larger clique.
    """
    n = len(cardinalities)
    order, width = elimination_order(cardinalities, [scope for scope, _ in logs])
    if width > largest:
        raise UnsupportedFeature(
            f"exact elimination needs a table of {width:.3g} entries ({8 * width / 2**30:.3g} GiB), "
            f"more than {largest:.3g}"
        )
    when = {v: step for step, v in enumerate(order)}
    buckets: list[list[Factor]] = [[] for _ in range(n)]
    log_z = 0.0

    def place(factor: Factor) -> int | None:
        nonlocal log_z
        if not factor[0]:
            log_z += float(factor[1])
            return None
        step = min(when[v] for v in factor[0])
        buckets[step].append(factor)
        return step

    for factor in logs:
        place(factor)
    conditionals: list[Factor] = []
    above: list[int | None] = []
    for step, variable in enumerate(order):
        scope, table = product([((variable,), np.zeros(cardinalities[variable])), *buckets[step]], np.add)
        buckets[step] = []
        axis = scope.index(variable)
        peak = table.max(axis=axis, keepdims=True)
        # where nothing is possible the conditional stays zero
        table = np.exp(table - np.where(np.isneginf(peak), 0.0, peak))
        total = table.sum(axis=axis, keepdims=True)
        with np.errstate(divide="ignore"):
            message = np.log(total) + peak
        conditionals.append((scope, table / np.where(total > 0, total, 1.0)))
        above.append(place((scope[:axis] + scope[axis + 1 :], message.squeeze(axis))))
    if not math.isfinite(log_z):
        return Beliefs(log_z=-math.inf, cliques=())
    cliques: list[Factor] = [((), np.ones(()))] * n
    for step in reversed(range(n)):
        scope, table = conditionals[step]
        parent = above[step]
        if parent is not None:
            rest = tuple(v for v in scope if v != order[step])
            table = table * aligned(scope, (rest, _marginal(cliques[parent], rest)))
        cliques[step] = (scope, table)
    return Beliefs(log_z=log_z, cliques=tuple(cliques))


def elimination_order(cardinalities: Sequence[int], scopes: Sequence[tuple[int, ...]]) -> tuple[list[int], float]:
    """Return an order by least fill-in (ties: smallest clique) and the entries of its largest clique."""
    neighbours: dict[int, set[int]] = {v: set() for v in range(len(cardinalities))}
    for scope in scopes:
        for v in scope:
            neighbours[v].update(set(scope) - {v})
    size = np.log2(np.maximum(cardinalities, 1))
    cost: dict[int, tuple[int, float]] = {}

    def rated(v: int) -> tuple[int, float]:
        near = neighbours[v]
        missing = sum(len(near - neighbours[u]) - 1 for u in near)
        return missing, float(size[v] + sum(size[u] for u in near))

    order: list[int] = []
    width = 0.0
    stale = set(neighbours)
    while neighbours:
        for v in stale & neighbours.keys():
            cost[v] = rated(v)
        chosen = min(neighbours, key=lambda v: cost[v])
        near = neighbours.pop(chosen)
        width = max(width, cost[chosen][1])
        order.append(chosen)
        stale = set(near)
        for u in near:
            stale |= neighbours[u]
        for u in near:
            neighbours[u] |= near
            neighbours[u] -= {u, chosen}
    return order, 2.0**width


def product(factors: Sequence[Factor], multiply: np.ufunc = np.multiply) -> Factor:
    """Return the product over the union of the scopes, variables in the order in which they come."""
    scope = tuple(dict.fromkeys(v for s, _ in factors for v in s))
    if len(scope) > _MAX_AXES:
        raise UnsupportedFeature(f"exact elimination: a clique of {len(scope)} variables")
    table = aligned(scope, factors[0])
    for factor in factors[1:]:
        table = multiply(table, aligned(scope, factor))
    return scope, table


def aligned(scope: tuple[int, ...], factor: Factor) -> Array:
    """Return a factor's table with the axes of ``scope``, of length one where it does not depend."""
    inner, table = factor
    axes = sorted(range(len(inner)), key=lambda axis: scope.index(inner[axis]))
    present = set(inner)
    shape, lengths = [], iter(np.transpose(table, axes).shape)
    for v in scope:
        shape.append(next(lengths) if v in present else 1)
    return np.transpose(table, axes).reshape(shape)


def _marginal(factor: Factor, variables: tuple[int, ...]) -> Array:
    scope, table = factor
    summed = table.sum(axis=tuple(axis for axis, v in enumerate(scope) if v not in variables))
    left = [v for v in scope if v in variables]
    return np.transpose(summed, [left.index(v) for v in variables])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Posterior:
    """The exact posterior of a Bayesian network under evidence."""

    marginals: tuple[Array, ...]
    """Probabilities of the states, one array a variable; of an observed variable one and zeros."""
    log_evidence: float
    """log p(evidence); with soft evidence the log of its expected likelihood."""
    joint: Array | None = None
    """Joint posterior of the variables asked for, one axis each."""


def posterior(
    network: BayesianNetwork,
    evidence: Evidence | None = None,
    *,
    likelihoods: Mapping[str, object] | None = None,
    joint: Sequence[str] = (),
) -> Posterior:
    """Return the exact posterior by bucket elimination.

    Variables that are neither observed nor above an observed one are barren where nothing is asked of them; here
    every marginal is asked for, so none is pruned.

    Parameters
    ----------
    network
        The network.
    evidence
        ``{variable: state}``.
    likelihoods
        Soft evidence: ``{variable: {state: p(observation | state)}}`` or one array of likelihoods a variable.
    joint
        Variables whose joint posterior is wanted too.

    Raises
    ------
    ValidationError
        If the evidence has probability zero.

    Examples
    --------
    >>> rain = BayesianNetwork(
    ...     states={"rain": ["yes", "no"], "wet": ["yes", "no"]},
    ...     parents={"wet": ["rain"]},
    ...     tables={"rain": [0.2, 0.8], "wet": [[0.9, 0.1], [0.1, 0.9]]},
    ... )
    >>> [round(float(p), 4) for p in posterior(rain, {"wet": "yes"}).marginals[0]]
    [0.6923, 0.3077]
    """
    fixed = network.evidence_indices(evidence or {})
    factors = reduced_factors(network, fixed, network.likelihood_arrays(likelihoods or {}))
    wanted = tuple(network.index(name) for name in joint)
    free = tuple(v for v in wanted if v not in fixed)
    if free:
        factors.append((free, np.ones([network.cardinalities[v] for v in free])))
    cardinalities = [1 if v in fixed else c for v, c in enumerate(network.cardinalities)]
    found = beliefs(cardinalities, logarithms(factors))
    if not math.isfinite(found.log_z):
        given = ", ".join(f"{network.names[k]}={network.states[k][s]}" for k, s in fixed.items())
        raise ValidationError(f"evidence: must be possible, got {given or 'likelihoods'} of probability zero")
    marginals = tuple(
        np.eye(c)[fixed[v]] if v in fixed else found.marginal([v]) for v, c in enumerate(network.cardinalities)
    )
    table = None
    if wanted:
        table = np.zeros([network.cardinalities[v] for v in wanted])
        table[tuple(fixed.get(v, slice(None)) for v in wanted)] = found.marginal(free) if free else 1.0
    return Posterior(marginals=marginals, log_evidence=found.log_z, joint=table)


def logarithms(factors: Sequence[Factor]) -> list[Factor]:
    """Return the factors' logarithms, ``-inf`` where they are zero."""
    with np.errstate(divide="ignore"):
        return [(scope, np.log(table)) for scope, table in factors]


def reduced_factors(
    network: BayesianNetwork, fixed: Mapping[int, int], likelihoods: Mapping[int, Array]
) -> list[Factor]:
    """Return the network's tables with the evidence absorbed, over the variables that are left."""
    factors: list[Factor] = []
    for k in range(network.n_variables):
        scope = network.scope(k)
        table = network.tables[k][tuple(fixed.get(v, slice(None)) for v in scope)]
        factors.append((tuple(v for v in scope if v not in fixed), table))
    for k, likelihood in likelihoods.items():
        factors.append(((), likelihood[fixed[k]]) if k in fixed else ((k,), likelihood))
    return factors
