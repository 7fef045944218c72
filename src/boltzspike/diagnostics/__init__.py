"""Is it right? Estimates with errors, and bias told apart from sampling noise (docs/diagnostics.md)."""

from boltzspike.diagnostics.bursting import BurstStatistics, bursts
from boltzspike.diagnostics.divergence import KLDivergence, kl_divergence, kl_of_blocks
from boltzspike.diagnostics.estimates import (
    MIN_BLOCKS,
    block_joint,
    blocks,
    effective_samples,
    joint,
    joint_error,
    marginals,
    marginals_error,
    pairs,
    pairs_error,
    standard_error,
)

__all__ = [
    "MIN_BLOCKS",
    "BurstStatistics",
    "KLDivergence",
    "block_joint",
    "blocks",
    "bursts",
    "effective_samples",
    "joint",
    "joint_error",
    "kl_divergence",
    "kl_of_blocks",
    "marginals",
    "marginals_error",
    "pairs",
    "pairs_error",
    "standard_error",
]
