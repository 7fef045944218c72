"""How far what was sampled is from a target: systematic part told apart from sampling noise."""

from __future__ import annotations

import math
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
