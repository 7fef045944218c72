"""Variable elimination: exact moments of machines of low treewidth (trees, chains, lattices, sparse graphs).

Units are summed out one by one. Eliminating v leaves a message on its neighbours S, which become coupled:

``m_v(S) = log sum_(z_v) exp(z_v (b_v + sum_S W_vs z_s) + messages to v)``

and the conditional p(z_v = 1 | S). Backwards, p(S) of the last one eliminated gives p(v, S) of the ones before.
Tables have 2^|S| entries. The transfer matrix of a lattice of width w is the case of an order along it: 2^w.

R. Dechter, "Bucket elimination", Artif. Intell. 113 (1999) 41.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from boltzspike.errors import require
from boltzspike.model.description import Array
from boltzspike.theory.tables import linear, marginal_sums

MAX_ENTRIES = 2**27
"""Entries of all tables together: 1 GiB, some ten seconds."""
MAX_WIDTH = 25


@dataclass(frozen=True, slots=True)
class Elimination:
    """An order of elimination, and what it costs."""

    order: tuple[int, ...]
    neighbours: tuple[tuple[int, ...], ...]
    """S of each unit in the order, the one eliminated first in front."""

    @property
    def width(self) -> int:
        """Largest |S|: the treewidth, if the order is a best one."""
        return max(map(len, self.neighbours))

    @property
    def entries(self) -> int:
        """Entries of all tables together."""
        return sum(2 ** len(s) for s in self.neighbours)


def plan(weights: Array) -> Elimination | None:
    """Return the cheapest of four orders: least degree, as given, along the band, fewest fill-ins.

    ``None``: each needs tables of more than 2^25 entries. To find the best order of all is NP-hard.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    coupled = np.asarray(weights) != 0
    graph = [sum(1 << int(j) for j in np.flatnonzero(row)) for row in coupled]
    if not _may_be_narrow(graph):
        return None
    band = reverse_cuthill_mckee(csr_array(coupled), symmetric_mode=True).tolist()
    best = None
    for order in (_degree, range(len(graph)), band, _fewest_fill_ins):
        found = _eliminate(graph, order)
        if found is not None and (best is None or found.entries < best.entries):
            best = found
        if best is not None and best.width <= 1:  # a forest
            break
    return best


def check_cost(elimination: Elimination | None, n: int) -> Elimination:
    """Return the elimination, or raise with its cost if that is out of reach."""
    found = "more than 2^25 entries in one table"
    if elimination is not None:
        found = f"{elimination.entries:.2g} entries (width {elimination.width})"
        if elimination.entries <= MAX_ENTRIES:
            return elimination
    require(False, f"elimination of {n} units", f"of tables of at most {MAX_ENTRIES:.2g} entries", found)
    raise AssertionError


def eliminated(weights: Array, biases: Array, elimination: Elimination) -> tuple[float, Array, Array]:
    """Return log Z, the marginals (n,) and p(z_k = z_j = 1), (n, n), NaN for pairs that no table holds.

    All pairs that are coupled are held.
    """
    n = len(biases)
    position = {v: i for i, v in enumerate(elimination.order)}
    waiting: list[list[tuple[tuple[int, ...], Array]]] = [[] for _ in range(n)]
    conditional: list[Array] = []
    log_z = 0.0
    for v, scope in zip(elimination.order, elimination.neighbours):
        odds = linear(weights[v, list(scope)]) + biases[v]
        message = np.zeros(2 ** len(scope))
        for of, table in waiting[v]:
            off, on = table.reshape(2, -1)
            _add(message, scope, of[1:], off)
            _add(odds, scope, of[1:], on - off)
        waiting[v] = []
        conditional.append(expit(odds))
        message += np.logaddexp(0, odds)
        if scope:
            waiting[scope[0]].append((scope, message))
        else:
            log_z += float(message[0])

    # backwards: p(S) waits at each unit for those whose S lies within its own table
    marginals, pairs = np.zeros(n), np.full((n, n), np.nan)
    joint: list[Array | None] = [None] * n
    children: list[list[int]] = [[] for _ in range(n)]
    for i, scope in enumerate(elimination.neighbours):
        if scope:
            children[position[scope[0]]].append(i)
    for i in range(n - 1, -1, -1):
        v, scope = elimination.order[i], elimination.neighbours[i]
        of_scope = joint[i] if scope else np.ones(1)
        assert of_scope is not None
        on = conditional[i] * of_scope
        marginals[v] = pairs[v, v] = on.sum()
        pairs[v, list(scope)] = pairs[list(scope), v] = marginal_sums(on)
        for child in children[i]:
            inner = elimination.neighbours[child][1:]
            joint[child] = np.concatenate([_sum_out(half, scope, inner) for half in (of_scope - on, on)])
        joint[i] = None
    return log_z, marginals, pairs


def _shape(scope: tuple[int, ...], of: tuple[int, ...]) -> tuple[list[int], list[bool]]:
    """Return the sizes of runs of units of ``scope`` that are all in ``of``, or all not, and which."""
    sizes, present = [1], [True]
    for unit in scope:
        inside = unit in of
        if inside == present[-1]:
            sizes[-1] *= 2
        else:
            sizes.append(2)
            present.append(inside)
    return sizes, present


def _add(table: Array, scope: tuple[int, ...], of: tuple[int, ...], values: Array) -> None:
    """Add values over ``of``, a part of ``scope`` in the same order, to a table over ``scope``."""
    sizes, present = _shape(scope, of)
    view = table.reshape(sizes)
    view += values.reshape([size if inside else 1 for size, inside in zip(sizes, present)])


def _sum_out(table: Array, scope: tuple[int, ...], of: tuple[int, ...]) -> Array:
    """Return the sum of a table over the units of ``scope`` that are not in ``of``."""
    sizes, present = _shape(scope, of)
    for axis in range(len(sizes) - 1, -1, -1):
        if not present[axis]:
            after = int(np.prod(sizes[axis + 1 :]))
            table = table.reshape(-1, sizes[axis], after).sum(axis=1)
            sizes[axis] = 1
    return table.ravel()


Choice = Callable[[list[int], set[int]], int]


def _eliminate(graph: list[int], order: Iterable[int] | Choice) -> Elimination | None:
    """Return the elimination in an order, or in that of a choice at each step; ``None`` where it gets too wide."""
    graph = graph.copy()  # of each unit its neighbours, as bits
    left = set(range(len(graph)))
    given = None if callable(order) else iter(order)
    chosen: list[int] = []
    scopes: list[list[int]] = []
    while left:
        v = next(given) if given is not None else order(graph, left)  # type: ignore[operator]  # a choice
        scope = _members(graph[v])
        if len(scope) > MAX_WIDTH:
            return None
        for s in scope:
            graph[s] = (graph[s] | graph[v]) & ~(1 << s | 1 << v)
        left.discard(v)
        chosen.append(v)
        scopes.append(scope)
    position = {v: i for i, v in enumerate(chosen)}
    neighbours = tuple(tuple(sorted(scope, key=position.__getitem__)) for scope in scopes)
    return Elimination(tuple(chosen), neighbours)


def _members(bits: int) -> list[int]:
    members = []
    while bits:
        lowest = bits & -bits
        members.append(lowest.bit_length() - 1)
        bits ^= lowest
    return members


def _degree(graph: list[int], left: set[int]) -> int:
    return min(left, key=lambda v: graph[v].bit_count())


def _fewest_fill_ins(graph: list[int], left: set[int]) -> int:
    def fill(v: int) -> int:
        if graph[v].bit_count() > MAX_WIDTH:
            return len(graph) ** 2
        return sum((graph[v] & ~graph[s]).bit_count() - 1 for s in _members(graph[v]))

    best, least = -1, -1
    for v in left:
        needed = fill(v)
        if best < 0 or needed < least:
            best, least = v, needed
            if needed == 0:
                break
    return best


def _may_be_narrow(graph: list[int]) -> bool:
    """Return whether repeatedly taking out a unit of least degree never meets one above MAX_WIDTH.

    If it does, part of the graph has that least degree, and its treewidth is no smaller.
    """
    degree = [bits.bit_count() for bits in graph]
    left = set(range(len(graph)))
    queue = [v for v in left if degree[v] <= MAX_WIDTH]
    while queue:
        v = queue.pop()
        if v not in left:
            continue
        left.discard(v)
        for s in _members(graph[v]):
            if s in left:
                degree[s] -= 1
                if degree[s] == MAX_WIDTH:
                    queue.append(s)
    return not left
