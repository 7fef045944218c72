"""Exact distributions of Boltzmann machines: enumeration, and RBMs by the smaller layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logsumexp

from boltzspike.errors import require
from boltzspike.model.boltzmann import BoltzmannMachine, Machine, RestrictedBoltzmannMachine
from boltzspike.model.description import Array

MAX_UNITS = 25
_BLOCK_UNITS = 16


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Exact:
    """Exact moments of a machine."""

    log_z: float
    """Log partition function."""
    marginals: Array
    """p(z_k = 1), shape (n,)."""
    pairs: Array
    """p(z_k = z_j = 1), shape (n, n), the marginals on the diagonal."""
    method: str


def can_enumerate(machine: Machine) -> bool:
    """Return whether ``exact_moments`` can treat this machine."""
    if isinstance(machine, RestrictedBoltzmannMachine):
        return min(machine.weights.shape) <= MAX_UNITS
    return machine.n_units <= MAX_UNITS


def exact_moments(machine: Machine) -> Exact:
    """Return the exact moments, by enumeration of all states or, for an RBM, of its smaller layer.

    States go in blocks of 2^16, so the memory stays bounded.
    """
    if isinstance(machine, RestrictedBoltzmannMachine):
        return _restricted_moments(machine)
    _require_size("exact_moments", machine.n_units)
    n = machine.n_units
    log_z, second = -np.inf, np.zeros((n, n))
    for states, log_weights in _blocks(machine):
        block_log_z = float(logsumexp(log_weights))
        z = states.astype(np.float64)
        block_second = z.T @ (z * np.exp(log_weights - block_log_z)[:, None])
        total = np.logaddexp(log_z, block_log_z)
        second = second * np.exp(log_z - total) + block_second * np.exp(block_log_z - total)
        log_z = float(total)
    return Exact(log_z=log_z, marginals=np.diagonal(second).copy(), pairs=second, method="enumeration")


def exact_given(machine: Machine, clamp: Mapping[int, int]) -> Exact | None:
    """Return the exact moments of all units under evidence, or ``None`` where they can't be enumerated."""
    conditioned, free = machine.given(clamp)
    if not can_enumerate(conditioned):
        return None
    moments = exact_moments(conditioned)
    marginals = np.zeros(machine.n_units)
    marginals[list(clamp)] = list(clamp.values())
    marginals[free] = moments.marginals
    pairs = np.outer(marginals, marginals)
    pairs[np.diag_indices_from(pairs)] = marginals
    pairs[np.ix_(free, free)] = moments.pairs
    return replace(moments, marginals=marginals, pairs=pairs)


def exact_joint(machine: Machine) -> Array:
    """Return the probabilities of all 2^n states, unit 0 the most significant bit; at most 25 units (256 MB)."""
    if isinstance(machine, RestrictedBoltzmannMachine):
        machine = machine.to_boltzmann()
    _require_size("exact_joint", machine.n_units)
    log_weights = np.concatenate([block for _, block in _blocks(machine)])
    log_weights -= logsumexp(log_weights)
    return np.exp(log_weights, out=log_weights)


def all_states(n: int) -> Array:
    """Return all 2^n states in order, int8 (2^n, n), unit 0 the most significant bit."""
    codes = np.arange(2**n, dtype=np.int64)[:, None]
    return ((codes >> np.arange(n - 1, -1, -1)) & 1).astype(np.int8)


def _blocks(machine: BoltzmannMachine) -> Iterator[tuple[Array, Array]]:
    """Yield (states, -energy) of all states in order, a block a setting of the leading units."""
    n = machine.n_units
    low = min(n, _BLOCK_UNITS)
    tail = all_states(low)
    states = np.zeros((2**low, n), dtype=np.int8)
    states[:, n - low :] = tail
    for head in all_states(n - low):
        states[:, : n - low] = head
        yield states, -machine.energy(states)


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
