"""Exact distributions of Boltzmann machines: by enumeration, an RBM's smaller layer, or elimination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logsumexp

from boltzspike.errors import require
from boltzspike.model.boltzmann import BoltzmannMachine, Machine, RestrictedBoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.theory.tables import all_states, linear, marginal_sums, quadratic
from boltzspike.theory.treewidth import MAX_ENTRIES, Elimination, check_cost, eliminated, plan

__all__ = ["Exact", "all_states", "exact_given", "exact_joint", "exact_marginals_given", "exact_moments"]

MAX_UNITS = 25
_BLOCK_UNITS = 16
_ENUMERATED_UNITS = 20
"""Up to so many units of a machine, or of a small RBM's smaller layer, enumeration takes a second and wins."""
_WORTH = 16
"""How many states of an enumeration cost as much as an entry of an elimination."""
_WHOLE_TABLE_UNITS = 22
_MOST_TERMS = 2**31
"""States of an RBM's smaller layer times its units, up to which a sum takes less than two minutes of one core."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Exact:
    """Exact moments of a machine."""

    log_z: float
    """Log partition function."""
    marginals: Array
    """p(z_k = 1), shape (n,)."""
    pairs: Array
    """p(z_k = z_j = 1), shape (n, n), the marginals on the diagonal; elimination leaves some uncoupled NaN."""
    method: str
    """``"enumeration"``, ``"smaller layer"`` or ``"elimination, width w"``."""


def exact_moments(machine: Machine, *, method: str | None = None) -> Exact:
    """Return the exact moments.

    Parameters
    ----------
    machine
        The machine.
    method
        ``"enumeration"`` of all states in blocks, so the memory stays bounded; ``"smaller layer"`` of an RBM,
        the other factorises; ``"elimination"`` (``theory.treewidth``). ``None``: enumeration up to 20 units,
        beyond that whichever is cheaper.

    Raises
    ------
    ValidationError
        Where the machine is out of reach, with the size or the cost.
    """
    enumeration = "smaller layer" if isinstance(machine, RestrictedBoltzmannMachine) else "enumeration"
    elimination = None
    if method is None:
        method, elimination = _choose(machine)
    if method == "elimination":
        plain = machine.to_boltzmann()
        elimination = check_cost(elimination or plan(plain.weights), plain.n_units)
        log_z, marginals, pairs = eliminated(plain.weights, plain.biases, elimination)
        return Exact(
            log_z=log_z, marginals=marginals, pairs=pairs, method=f"elimination, width {elimination.width}"
        )
    if method == "smaller layer" and isinstance(machine, RestrictedBoltzmannMachine):
        return _restricted_moments(machine)
    require(method == "enumeration", "method", f"{enumeration!r} or 'elimination'", method)
    return _enumerated_moments(machine.to_boltzmann())


def _choose(machine: Machine) -> tuple[str, Elimination | None]:
    """Return the method, and the order if it is elimination (beyond reach, ``None`` or too dear)."""
    enumeration = "smaller layer" if isinstance(machine, RestrictedBoltzmannMachine) else "enumeration"
    size = _enumerated_units(machine)
    if size <= _ENUMERATED_UNITS:
        return enumeration, None
    elimination = plan(machine.to_boltzmann().weights)
    if size <= MAX_UNITS and (elimination is None or elimination.entries > 2**size // _WORTH):
        return enumeration, None
    return "elimination", elimination


def _enumerated_units(machine: Machine) -> int:
    if isinstance(machine, RestrictedBoltzmannMachine):
        return int(min(machine.weights.shape))
    return machine.n_units


def _enumerated_moments(machine: BoltzmannMachine) -> Exact:
    """Sum over the states in blocks, one a setting of the leading units."""
    n = machine.n_units
    _require_size("exact_moments", n)
    weights, biases = np.asarray(machine.weights), np.asarray(machine.biases)
    heads = n - min(n, _BLOCK_UNITS)
    inner = quadratic(weights[heads:, heads:], biases[heads:])
    of_heads = quadratic(weights[:heads, :heads], biases[:heads])
    head_states = all_states(heads).astype(np.float64)
    log_z = np.array([
        h_energy + logsumexp(inner + linear(h @ weights[:heads, heads:]))
        for h, h_energy in zip(head_states, of_heads)
    ])  # fmt: skip
    total = float(logsumexp(log_z))
    of_tail = np.zeros(len(inner))
    tails = np.zeros((len(head_states), n - heads))
    for k, (h, h_energy) in enumerate(zip(head_states, of_heads)):
        p = np.exp(inner + linear(h @ weights[:heads, heads:]) + (h_energy - total))
        of_tail += p
        tails[k] = marginal_sums(p)
    second = np.zeros((n, n))
    p_heads = np.exp(log_z - total)
    second[:heads, :heads] = head_states.T @ (head_states * p_heads[:, None])
    second[:heads, heads:] = head_states.T @ tails
    second[heads:, :heads] = second[:heads, heads:].T
    tail_states = all_states(n - heads).astype(np.float64)
    second[heads:, heads:] = tail_states.T @ (tail_states * of_tail[:, None])
    return Exact(log_z=total, marginals=np.diagonal(second).copy(), pairs=second, method="enumeration")


def exact_given(machine: Machine, clamp: Mapping[int, int]) -> Exact | None:
    """Return the exact moments of all units under evidence, or ``None`` where they are out of reach.

    Out of reach is more than 2^27 entries of an elimination, or an RBM whose sum would take minutes.
    """
    conditioned, free = machine.given(clamp)
    method, elimination = _choose(conditioned)
    if method == "elimination" and (elimination is None or elimination.entries > MAX_ENTRIES):
        return None
    if method == "smaller layer" and 2 ** _enumerated_units(conditioned) * conditioned.n_units > _MOST_TERMS:
        return None
    moments = exact_moments(conditioned)
    marginals = np.zeros(machine.n_units)
    marginals[list(clamp)] = list(clamp.values())
    marginals[free] = moments.marginals
    pairs = np.outer(marginals, marginals)
    pairs[np.diag_indices_from(pairs)] = marginals
    pairs[np.ix_(free, free)] = moments.pairs
    return replace(moments, marginals=marginals, pairs=pairs)


def exact_marginals_given(machine: Machine, clamps: Sequence[Mapping[int, int]]) -> Array | None:
    """Return the exact marginals under each of many pieces of evidence, (len(clamps), n); ``None`` out of reach.

    Evidence on the same units shares its work: of an RBM what the smaller layer does to the free units, of a
    machine of up to 22 units the table of all states. Whatever shares nothing is done one by one.
    """
    marginals = np.zeros((len(clamps), machine.n_units))
    together: dict[tuple[int, ...], list[int]] = {}
    for row, clamp in enumerate(clamps):
        together.setdefault(tuple(sorted(clamp)), []).append(row)
    table: Array | None = None
    for units, rows in together.items():
        values = np.array([[clamps[row][unit] for unit in units] for row in rows], dtype=np.float64)
        found: Array | None = None
        if isinstance(machine, RestrictedBoltzmannMachine):
            found = _restricted_marginals_given(machine, np.array(units, dtype=int), values)
        elif machine.n_units <= _WHOLE_TABLE_UNITS and len(clamps) > 1:
            if table is None:
                table = quadratic(np.asarray(machine.weights), np.asarray(machine.biases))
            found = np.stack([_slice_marginals(table, machine.n_units, units, value) for value in values])
        if found is not None:
            marginals[rows] = found
            continue
        for row in rows:
            one = exact_given(machine, clamps[row])
            if one is None:
                return None
            marginals[row] = one.marginals
    return marginals


def _slice_marginals(table: Array, n: int, units: tuple[int, ...], values: Array) -> Array:
    held = dict(zip(units, values))
    log_weights = table.reshape((2,) * n)[tuple(int(held[k]) if k in held else slice(None) for k in range(n))]
    log_weights = log_weights.ravel()
    p = np.exp(log_weights - logsumexp(log_weights))
    marginals = np.array([held.get(k, 0.0) for k in range(n)])
    marginals[[k for k in range(n) if k not in held]] = marginal_sums(p)
    return marginals


def _restricted_marginals_given(machine: RestrictedBoltzmannMachine, units: Array, values: Array) -> Array | None:
    """Return the marginals (evidence, n) for evidence within the larger layer, of which the smaller is free."""
    weights = np.asarray(machine.weights)
    b, c = np.asarray(machine.visible_biases), np.asarray(machine.hidden_biases)
    visible, hidden = np.arange(len(b)), len(b) + np.arange(len(c))
    if len(b) < len(c):
        weights, b, c, visible, hidden = weights.T, c, b, hidden, visible
    if len(c) > MAX_UNITS or not np.isin(units, visible).all():
        return None
    held = units - visible[0]
    free = np.setdiff1d(np.arange(len(b)), held)
    drive = c + values @ weights[held]  # (evidence, smaller layer)
    low = min(len(c), 12)
    tail, heads = all_states(low).astype(np.float64), all_states(len(c) - low)
    marginals = np.zeros((len(values), machine.n_units))
    marginals[:, units] = values
    log_z = np.full(len(values), -np.inf)
    small, of_free = np.zeros((len(values), len(c))), np.zeros((len(values), len(free)))
    for head in heads:
        h = np.concatenate([np.broadcast_to(head, (len(tail), len(head))), tail], axis=1)
        field = h @ weights[free].T + b[free]
        log_weights = drive @ h.T + np.logaddexp(0, field).sum(axis=1)
        total = np.logaddexp(log_z, logsumexp(log_weights, axis=1))
        p, before = np.exp(log_weights - total[:, None]), np.exp(log_z - total)[:, None]
        small = small * before + p @ h
        of_free = of_free * before + p @ expit(field)
        log_z = total
    marginals[:, hidden], marginals[:, visible[free]] = small, of_free
    return marginals


def exact_joint(machine: Machine) -> Array:
    """Return the probabilities of all 2^n states, unit 0 the most significant bit; at most 25 units (256 MB)."""
    _require_size("exact_joint", machine.n_units)
    plain = machine.to_boltzmann()
    log_weights = quadratic(np.asarray(plain.weights), np.asarray(plain.biases))
    log_weights -= logsumexp(log_weights)
    return np.exp(log_weights, out=log_weights)


def _restricted_moments(machine: RestrictedBoltzmannMachine) -> Exact:
    weights = np.asarray(machine.weights)
    b, c = np.asarray(machine.visible_biases), np.asarray(machine.hidden_biases)
    swapped = len(b) < len(c)
    if swapped:
        weights, b, c = weights.T, c, b
    # now c is the smaller layer: enumerate it, the other factorises given it
    _require_size("exact_moments of an RBM's smaller layer", len(c))
    small = len(c)
    low = min(small, 12)
    tail = all_states(low).astype(np.float64)
    n = len(b) + small
    log_z, second = -np.inf, np.zeros((n, n))
    for head in all_states(small - low):
        h = np.concatenate([np.broadcast_to(head, (len(tail), small - low)), tail], axis=1)
        field = h @ weights.T + b
        log_weights = h @ c + np.logaddexp(0, field).sum(axis=1)
        block_log_z = float(logsumexp(log_weights))
        on = expit(field)
        mean = np.concatenate([on, h], axis=1)
        block = mean.T @ (mean * np.exp(log_weights - block_log_z)[:, None])
        variance = np.exp(log_weights - block_log_z) @ (on * (1 - on))
        block[np.arange(len(b)), np.arange(len(b))] += variance
        total = np.logaddexp(log_z, block_log_z)
        second = second * np.exp(log_z - total) + block * np.exp(block_log_z - total)
        log_z = float(total)
    if swapped:
        order = np.concatenate([np.arange(len(b), n), np.arange(len(b))])
        second = second[np.ix_(order, order)]
    return Exact(log_z=log_z, marginals=np.diagonal(second).copy(), pairs=second, method="smaller layer")


def _require_size(what: str, n: int) -> None:
    require(n <= MAX_UNITS, what, f"of at most {MAX_UNITS} units", n)
