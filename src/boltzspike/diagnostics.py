"""Is it right? Estimates with standard errors from independent chains, and bias told apart from sampling noise.

Standard errors come from the spread of independent blocks: the chains, or, with fewer than 16 of them,
consecutive parts of each chain. Autocorrelation is thereby accounted for, without a model of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from boltzspike.errors import ValidationError, require
from boltzspike.samples import Spikes, joint_counts

Array = np.ndarray
MIN_BLOCKS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class KLDivergence:
    """D_KL between what was sampled and a target.

    ``value`` is the plug-in estimate D(sampled || target). It exceeds zero even for a perfect sampler, by
    ``floor`` on average; ``bias = value - floor`` is the part that a longer run does not remove.
    """

    value: float
    floor: float
    """Expected value of the estimate for an unbiased sampler of the same length and autocorrelation."""
    bias: float
    """Systematic part; may come out slightly negative by chance."""
    error: float
    """Standard error of ``bias``."""
    reverse: float
    """Plug-in D(target || sampled); infinite if a state of the target was never seen."""
    unseen: int
    """Number of states that were never seen."""
    unseen_probability: float
    """Their probability under the target."""

    def __str__(self) -> str:
        """Return bias, error and floor."""
        return f"D_KL = {self.value:.3g} (bias {self.bias:.3g} +- {self.error:.1g}, floor {self.floor:.2g})"


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


def kl_divergence(states: Array, target: Array) -> KLDivergence:
    """Compare the joint distribution of the states with a target.

    Parameters
    ----------
    states
        Sampled states, (chains, draws, n).
    target
        Probabilities of the 2^n states, unit 0 the most significant bit.

    Returns
    -------
    The floor is ``sum_k Var(q_k)/(2 q_k)`` (second-order expansion of the plug-in estimate) with the variance of
    the estimated probability q_k taken from independent blocks; for a common autocorrelation time it is
    ``(K - 1)/(2 N_eff)``. The error of the bias is a jackknife over the blocks.
    """
    n = states.shape[-1]
    require(target.shape == (2**n,), "target", f"of 2^{n} probabilities", target.shape)
    return kl_of_blocks(block_joint(states), target)


def kl_of_blocks(per_block: Array, target: Array) -> KLDivergence:
    """Compare the joint distributions of independent blocks, (blocks, 2^n), with a target."""
    number = len(per_block)
    sampled = per_block.mean(axis=0)
    seen = sampled > 0

    def bias_of(mean: Array, second: Array, count: int) -> tuple[float, float]:
        variance = np.maximum(second / count - mean**2, 0) / (count - 1)
        floor = float(np.sum(variance[mean > 0] / (2 * mean[mean > 0])))
        return _kl(mean, target) - floor, floor

    total, squares = per_block.sum(axis=0), (per_block**2).sum(axis=0)
    bias, floor = bias_of(sampled, squares, number)
    error = math.inf
    if math.isfinite(bias):
        left_out = np.array(
            [bias_of((total - block) / (number - 1), squares - block**2, number - 1)[0] for block in per_block]
        )
        error = float(np.sqrt((number - 1) * np.mean((left_out - left_out.mean()) ** 2)))
    return KLDivergence(
        value=_kl(sampled, target),
        floor=floor,
        bias=bias,
        error=error,
        reverse=_kl(target, sampled),
        unseen=int(np.sum(~seen)),
        unseen_probability=float(target[~seen].sum()),
    )


def _kl(p: Array, q: Array) -> float:
    support = p > 0
    if np.any(q[support] <= 0):
        return math.inf
    return float(np.sum(p[support] * np.log(p[support] / q[support])))


def standard_error(per_block: Array) -> Array:
    """Return the standard error of the mean over independent blocks (blocks, ...)."""
    return np.asarray(per_block.std(axis=0, ddof=1) / np.sqrt(len(per_block)))


def block_joint(states: Array) -> Array:
    """Return the joint distributions of independent blocks of states, (blocks, 2^n)."""
    counts = joint_counts(blocks(states))
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


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


@dataclass(frozen=True, kw_only=True, slots=True)
class BurstStatistics:
    """Inter-spike intervals of one neuron, and the bursts and pauses that they fall into."""

    intervals: Array
    """Every interval, ms, shape (intervals,)."""
    longest_interval: float
    """A burst goes on while the interval is at most this, ms."""
    probability: Array
    """P_n: share of the bursts that have n spikes, n = 1 .. the longest one, shape (N,)."""
    probability_error: Array
    """Its standard error, bursts taken as independent."""
    pause: Array
    """T_n: mean pause after a burst of n spikes (its last interval less tau_refrac), ms, (N,); NaN for none."""
    pause_error: Array
    """Its standard error; NaN with fewer than ten bursts, which do not tell one."""
    bursts: int
    """Number of bursts, the first and the last of each chain not counted."""


def bursts(spikes: Spikes, *, dt: float, longest_interval: float) -> BurstStatistics:
    """Return the burst statistics of the spikes of one unit.

    Raises
    ------
    ValidationError
        With more than one unit, or where no burst lies between two pauses.
    """
    require(spikes.n_units == 1, "bursts", "of one unit", f"{spikes.n_units} units")
    interval = np.diff(spikes.step) * dt
    broken = np.diff(spikes.chain) != 0
    last = np.flatnonzero(broken | (interval > longest_interval + dt / 2))  # spikes that end a burst, or a chain
    whole = ~broken[last[1:]] & ~broken[last[:-1]]
    length, pause = np.diff(last)[whole], interval[last[1:]][whole] - float(spikes.refractory_steps[0]) * dt
    if not len(length):
        raise ValidationError(
            f"bursts: needs a burst between two pauses, got {len(spikes.step)} spikes in {spikes.n_chains} "
            "chain(s); run longer, or nearer to p = 1/2"
        )
    count = np.bincount(length)[1:]
    share = count / len(length)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(length, pause)[1:] / count
        variance = np.bincount(length, (pause - mean[length - 1]) ** 2)[1:] / (count - 1)
        error = np.where(count >= 10, np.sqrt(variance / count), np.nan)
    return BurstStatistics(
        intervals=interval[~broken],
        longest_interval=longest_interval,
        probability=share,
        probability_error=np.sqrt(share * (1 - share) / len(length)),
        pause=mean,
        pause_error=error,
        bursts=len(length),
    )
