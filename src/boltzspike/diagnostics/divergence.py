"""How far what was sampled is from a target: systematic part told apart from sampling noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from boltzspike.diagnostics.estimates import block_joint
from boltzspike.errors import require

Array = np.ndarray


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
    sampled = per_block.mean(axis=0)
    seen = sampled > 0
    value, floor, bias, error = jackknifed(per_block, lambda q, variance: kl_and_floor(q, variance, target))
    return KLDivergence(
        value=value,
        floor=floor,
        bias=bias,
        error=error,
        reverse=_kl(target, sampled),
        unseen=int(np.sum(~seen)),
        unseen_probability=float(target[~seen].sum()),
    )


def jackknifed(
    per_block: Array, of: Callable[[Array, Array], tuple[float, float]]
) -> tuple[float, float, float, float]:
    """Return value, floor, bias = value - floor, and its error from leaving out each block in turn.

    ``of`` takes the mean over the blocks and the variance of that mean.
    """
    number = len(per_block)

    def at(total: Array, squares: Array, count: int) -> tuple[float, float]:
        mean = total / count
        return of(mean, np.maximum(squares / count - mean**2, 0) / (count - 1))

    total, squares = per_block.sum(axis=0), (per_block**2).sum(axis=0)
    value, floor = at(total, squares, number)
    left_out = np.array([np.subtract(*at(total - one, squares - one**2, number - 1)) for one in per_block])
    if not math.isfinite(value) or not np.isfinite(left_out).all():
        return value, floor, value - floor, math.inf
    error = float(np.sqrt((number - 1) * np.mean((left_out - left_out.mean()) ** 2)))
    return value, floor, value - floor, error


def kl_and_floor(q: Array, variance: Array, p: Array) -> tuple[float, float]:
    """Return D(q || p), and what the variance of q alone makes of it, to second order."""
    return _kl(q, p), float(np.sum(variance[q > 0] / (2 * q[q > 0])))


def _kl(p: Array, q: Array) -> float:
    support = p > 0
    if np.any(q[support] <= 0):
        return math.inf
    return float(np.sum(p[support] * np.log(p[support] / q[support])))
