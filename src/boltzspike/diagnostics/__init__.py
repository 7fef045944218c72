"""Is it right? Estimates with errors, and bias told apart from sampling noise (docs/diagnostics.md)."""

from boltzspike.diagnostics.bursting import BurstStatistics, bursts
from boltzspike.diagnostics.chains import Convergence, Efficiency, convergence, efficiency
from boltzspike.diagnostics.distances import (
    Distance,
    Distances,
    Extrapolation,
    distances_of_blocks,
    extrapolation,
    moment_error,
)
from boltzspike.diagnostics.divergence import KLDivergence, kl_divergence, kl_of_blocks
from boltzspike.diagnostics.estimates import (
    MIN_BLOCKS,
    block_joint,
    block_marginals,
    block_pairs,
    blocks,
    chain_marginals,
    effective_samples,
    joint,
    joint_error,
    marginals,
    marginals_error,
    pairs,
    pairs_error,
    standard_error,
)
from boltzspike.diagnostics.hypotheses import (
    BiasBound,
    TargetTest,
    bias_bound,
    joint_test,
    mean_test,
    two_sample_test,
)
from boltzspike.diagnostics.modes import Mixing, SampleLikelihood, basins, mixing, nearest, sample_likelihood
from boltzspike.diagnostics.temperature import Temperature, likely_temperature, pseudo_temperature
from boltzspike.diagnostics.verdict import Verdict, judge

__all__ = [
    "MIN_BLOCKS",
    "BiasBound",
    "BurstStatistics",
    "Convergence",
    "Distance",
    "Distances",
    "Efficiency",
    "Extrapolation",
    "KLDivergence",
    "Mixing",
    "SampleLikelihood",
    "TargetTest",
    "Temperature",
    "Verdict",
    "basins",
    "bias_bound",
    "block_joint",
    "block_marginals",
    "block_pairs",
    "blocks",
    "bursts",
    "chain_marginals",
    "convergence",
    "distances_of_blocks",
    "effective_samples",
    "efficiency",
    "extrapolation",
    "joint",
    "joint_error",
    "joint_test",
    "judge",
    "kl_divergence",
    "kl_of_blocks",
    "likely_temperature",
    "marginals",
    "marginals_error",
    "mean_test",
    "mixing",
    "moment_error",
    "nearest",
    "pairs",
    "pairs_error",
    "pseudo_temperature",
    "sample_likelihood",
    "standard_error",
    "two_sample_test",
]
