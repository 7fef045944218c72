"""Estimates with standard errors from independent chains.

Standard errors come from the spread of independent blocks: the chains, or, with fewer than 16 of them,
consecutive parts of each chain. Autocorrelation is thereby accounted for, without a model of it.
"""

from __future__ import annotations

import numpy as np

from boltzspike.errors import ValidationError
from boltzspike.samples import joint_counts

Array = np.ndarray
MIN_BLOCKS = 16


def blocks(values: Array) -> Array:
    """Split (chains, draws, ...) into independent blocks (blocks, draws per block, ...)."""
    chains, draws = values.shape[:2]
    parts = 1 if chains >= MIN_BLOCKS else -(-MIN_BLOCKS // chains)
    if draws < parts or draws == 0:
        raise ValidationError(
            f"states: too few draws for a standard error: {chains} chain(s) of {draws} draws; "
            f"needs at least {parts} draws a chain, or more chains"
        )
    length = draws // parts
    kept = values[:, : length * parts]
    return kept.reshape(chains * parts, length, *values.shape[2:])


def marginals(states: Array) -> Array:
    """Return the share of draws with z = 1, shape (units,)."""
    return states.mean(axis=(0, 1), dtype=np.float64)


def marginals_error(states: Array) -> Array:
    """Return the standard error of ``marginals``, shape (units,)."""
    return standard_error(blocks(states).mean(axis=1, dtype=np.float64))


def pairs(states: Array) -> Array:
    """Return the share of draws with z_k = z_j = 1, shape (units, units)."""
    return _pair_moments(states)[0]


def pairs_error(states: Array) -> Array:
    """Return the standard error of ``pairs``, shape (units, units)."""
    _, squares, number = _pair_moments(blocks(states))
    return np.asarray(np.sqrt(squares / (number - 1) / number))


def joint(states: Array) -> Array:
    """Return the share of draws in each of the 2^n joint states, unit 0 the most significant bit."""
    counts = joint_counts(states).sum(axis=0)
    return np.asarray(counts / counts.sum())


def joint_error(states: Array) -> Array:
    """Return the standard error of ``joint``, shape (2^n,)."""
    return standard_error(block_joint(states))


def effective_samples(states: Array) -> Array:
    """Return the number of independent draws that would give the same standard error, shape (units,).

    NaN for a unit that never changed: its states say nothing about how well it mixes.
    """
    p = marginals(states)
    error = marginals_error(states)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(error > 0, p * (1 - p) / error**2, np.nan))


def standard_error(per_block: Array) -> Array:
    """Return the standard error of the mean over independent blocks (blocks, ...)."""
    return np.asarray(per_block.std(axis=0, ddof=1) / np.sqrt(len(per_block)))


def block_joint(states: Array) -> Array:
    """Return the joint distributions of independent blocks of states, (blocks, 2^n)."""
    counts = joint_counts(blocks(states))
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def block_pairs(states: Array) -> Array:
    """Return the share of draws with z_k = z_j = 1 in independent blocks, k < j row by row, (blocks, n(n-1)/2)."""
    n = states.shape[-1]
    above = np.triu_indices(n, 1)
    shares = []
    for block in blocks(states):
        z = block.astype(np.float32)
        shares.append((z.T @ z)[above].astype(np.float64) / len(z))
    return np.stack(shares)


def _pair_moments(per_block: Array) -> tuple[Array, Array, int]:
    """Return the mean over blocks of p(z_k = z_j = 1), the sum of squares about it, and the number of blocks.

    Block by block (Welford's recursion): a matrix of each would take more memory than the states.
    """
    n = per_block.shape[-1]
    mean, squares = np.zeros((n, n)), np.zeros((n, n))
    for k, states in enumerate(per_block):
        z = states.astype(np.float32)
        off = (z.T @ z).astype(np.float64) / len(z) - mean
        mean += off / (k + 1)
        squares += off**2 * (k / (k + 1))
    return mean, squares, len(per_block)
