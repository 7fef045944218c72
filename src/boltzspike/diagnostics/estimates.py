"""Estimates with standard errors from independent chains.

Standard errors come from the spread of independent blocks: the chains, or, with fewer than 16 of them,
consecutive parts of each chain. Autocorrelation is thereby accounted for, without a model of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from boltzspike.draws import Draws
from boltzspike.errors import ValidationError
from boltzspike.samples import joint_counts

Array = np.ndarray
States = np.ndarray | Draws
"""0 and 1, (chains, draws, units)."""
MIN_BLOCKS = 16
_ENTRIES = 2**22
"""States that are handled at once."""


def blocks(values: Array) -> Array:
    """Split (chains, draws, ...) into independent blocks (blocks, draws per block, ...)."""
    chains, draws = values.shape[:2]
    parts, length = _parts(chains, draws)
    kept = values[:, : length * parts]
    return kept.reshape(chains * parts, length, *values.shape[2:])


def _parts(chains: int, draws: int) -> tuple[int, int]:
    """Return into how many blocks a chain is split, and how many draws each has."""
    parts = 1 if chains >= MIN_BLOCKS else -(-MIN_BLOCKS // chains)
    if draws < parts or draws == 0:
        raise ValidationError(
            f"states: too few draws for a standard error: {chains} chain(s) of {draws} draws; "
            f"needs at least {parts} draws a chain, or more chains"
        )
    return parts, draws // parts


def each_block(states: States) -> Iterator[Iterator[Array]]:
    """Go through the independent blocks, each in pieces (draws, units) of no more than some millions of states.

    So states that are not in memory (``draws.Draws``, a file) need never be there all at once.
    """
    chains, draws, _ = states.shape
    parts, length = _parts(chains, draws)
    for chain in range(chains):
        for part in range(parts):
            yield pieces(states, chain, part * length, (part + 1) * length)


def each_chain(states: States) -> Iterator[Iterator[Array]]:
    """Go through the chains in the same way, all of their draws."""
    chains, draws, _ = states.shape
    for chain in range(chains):
        yield pieces(states, chain, 0, draws)


def pieces(states: States, chain: int, first: int, last: int) -> Iterator[Array]:
    """Go through draws of a chain, (draws, units), some millions of states at a time."""
    at_once = max(_ENTRIES // max(states.shape[-1], 1), 1)
    for begin in range(first, last, at_once):
        yield states[chain, begin : min(begin + at_once, last)]


def block_marginals(states: States) -> Array:
    """Return the share of draws with z = 1 in independent blocks, (blocks, units)."""
    return np.stack([_share(run) for run in each_block(states)])


def _share(run: Iterable[Array]) -> Array:
    on, draws = zip(*((piece.sum(axis=0, dtype=np.int64), len(piece)) for piece in run))
    return np.asarray(np.sum(on, axis=0) / sum(draws))


def chain_marginals(states: States) -> Array:
    """Return the share of draws with z = 1 in each chain, (chains, units)."""
    return np.stack([_share(run) for run in each_chain(states)])


def marginals(states: States) -> Array:
    """Return the share of draws with z = 1, shape (units,)."""
    return chain_marginals(states).mean(axis=0)


def marginals_error(states: States) -> Array:
    """Return the standard error of ``marginals``, shape (units,)."""
    return standard_error(block_marginals(states))


def pairs(states: States) -> Array:
    """Return the share of draws with z_k = z_j = 1, shape (units, units)."""
    return _pair_moments(each_chain(states), states.shape[-1])[0]


def pairs_error(states: States) -> Array:
    """Return the standard error of ``pairs``, shape (units, units)."""
    _, squares, number = _pair_moments(each_block(states), states.shape[-1])
    return np.asarray(np.sqrt(squares / (number - 1) / number))


def joint(states: States) -> Array:
    """Return the share of draws in each of the 2^n joint states, unit 0 the most significant bit."""
    counts = sum(joint_counts(piece[None])[0] for run in each_chain(states) for piece in run)
    return np.asarray(counts / np.sum(counts))


def joint_error(states: States) -> Array:
    """Return the standard error of ``joint``, shape (2^n,)."""
    return standard_error(block_joint(states))


def effective_samples(states: States) -> Array:
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


def block_joint(states: States) -> Array:
    """Return the joint distributions of independent blocks of states, (blocks, 2^n)."""
    counts = np.stack([sum(joint_counts(piece[None])[0] for piece in run) for run in each_block(states)])
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def block_pairs(states: States) -> Array:
    """Return the share of draws with z_k = z_j = 1 in independent blocks, k < j row by row, (blocks, n(n-1)/2)."""
    above = np.triu_indices(states.shape[-1], 1)
    return np.stack([_pair_share(run)[above] for run in each_block(states)])


def _pair_share(run: Iterable[Array]) -> Array:
    counts: Array | float = 0.0
    draws = 0
    for piece in run:
        z = piece.astype(np.float32)  # a piece has fewer draws than its 24 bits count exactly
        counts = counts + (z.T @ z).astype(np.float64)
        draws += len(z)
    return np.asarray(counts / draws)


def _pair_moments(runs: Iterable[Iterable[Array]], units: int) -> tuple[Array, Array, int]:
    """Return the mean over runs of p(z_k = z_j = 1), the sum of squares about it, and the number of runs.

    Run by run (Welford's recursion): a matrix of each would take more memory than the states.
    """
    mean, squares, number = np.zeros((units, units)), np.zeros((units, units)), 0
    for run in runs:
        off = _pair_share(run) - mean
        mean += off / (number + 1)
        squares += off**2 * (number / (number + 1))
        number += 1
    return mean, squares, number
