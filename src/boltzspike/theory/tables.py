"""Functions of all 2^n states of binary units as flat tables, the first unit the most significant bit."""

from __future__ import annotations

import numpy as np

from boltzspike.model.description import Array


def all_states(n: int) -> Array:
    """Return all 2^n states in order, int8 (2^n, n), unit 0 the most significant bit."""
    codes = np.arange(2**n, dtype=np.int64)[:, None]
    return ((codes >> np.arange(n - 1, -1, -1)) & 1).astype(np.int8)


def linear(coefficients: Array) -> Array:
    """Return ``c z`` of all states, shape (2^n,); each unit doubles the table.

    Examples
    --------
    >>> linear(np.array([10.0, 1.0]))
    array([ 0.,  1., 10., 11.])
    """
    table = np.zeros(2 ** len(coefficients))
    size = 1
    for c in coefficients[::-1]:
        np.add(table[:size], c, out=table[size : 2 * size])
        size *= 2
    return table


def quadratic(weights: Array, biases: Array) -> Array:
    """Return ``z W z / 2 + b z`` of all states, shape (2^n,); each unit doubles the table."""
    n = len(biases)
    table = np.zeros(2**n)
    size = 1
    for k in range(n - 1, -1, -1):
        upper = table[size : 2 * size]
        upper[:] = linear(weights[k, k + 1 :])
        upper += biases[k]
        upper += table[:size]
        size *= 2
    return table


def marginal_sums(table: Array) -> Array:
    """Return, for each unit, the sum of a table over the states where it is 1, shape (n,).

    Examples
    --------
    >>> marginal_sums(np.array([0.1, 0.2, 0.3, 0.4]))
    array([0.7, 0.6])
    """
    sums = []
    while len(table) > 1:
        pairs = table.reshape(-1, 2)
        sums.append(pairs[:, 1].sum())
        table = pairs[:, 0] + pairs[:, 1]
    return np.array(sums[::-1])
