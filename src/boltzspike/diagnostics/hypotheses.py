"""Is what was sampled the target, as far as these samples can tell? Tests and bounds from independent blocks.

Draws of a chain depend on each other, so a test that counts draws rejects a perfect sampler. Chains don't: all
that is here takes means over blocks that are independent (``estimates.blocks``: the chains, where there are 16 or
more) and knows no more than how these means scatter. docs/diagnostics.md has measured false-alarm rates and power.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc, stdtrit

from boltzspike.errors import ValidationError, require

Array = np.ndarray
BLOCKS_A_DIMENSION = 3
"""Hotelling's test needs more blocks than dimensions, and has little power with few more."""
FLIPS = 9999
LEAST_EXPECTED = 5.0
"""Effective draws that a joint state should get to be a cell of its own; rarer ones are taken together."""
_NEGLIGIBLE = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetTest:
    """A test of the hypothesis that the samples come from the target."""

    of: str
    """``"marginals"``, ``"pairs"`` or ``"joint"``."""
    statistic: float
    p_value: float
    """Chance of a deviation at least as large from an unbiased sampler of the same length and autocorrelation."""
    dimensions: int
    blocks: int
    method: str
    constant: tuple[int, ...] = ()
    """Numbers of the quantities that were the same in all blocks; they have no spread and take no part."""
    worst: int | None = None
    """Number of the quantity, or of the cell, that deviates most in units of its standard error."""
    deviation: float = np.nan
    """Of the worst: in standard errors."""

    def __str__(self) -> str:
        """Return the p-value, and from what."""
        made = f"{self.method}, {self.dimensions} dimensions, {self.blocks} blocks"
        return f"{self.of}: p = {self.p_value:.3g} ({made})"


def mean_test(per_block: Array, truth: Array, *, of: str = "marginals", seed: int = 0) -> TargetTest:
    """Test whether the means of blocks have the expectations that the target gives them.

    With at least three blocks a dimension, Hotelling's T^2 = B d^T S^-1 d with B blocks, d the mean deviation and
    S the covariance of the blocks; T^2 (B - k)/(k (B - 1)) has the F(k, B - k) distribution for normal means.

    With fewer, S is singular or nearly so. Then the statistic is the sum of the squares of the means over their
    mean squares, sum_k (mean_c x_ck)^2 / mean_c x_ck^2 with x the deviations, and what it would be by chance comes
    from turning round the signs of all deviations of a block together, at random: under the hypothesis they are
    symmetric about zero, whatever their covariance. Only the sum over blocks has to know about dimensions, so the
    number of these does not matter.

    Parameters
    ----------
    per_block
        Means of independent blocks, shape (blocks, k).
    truth
        Expectations under the target, shape (k,).
    of
        What the means are of.
    seed
        Of the flips.

    References
    ----------
    H. Hotelling, Ann. Math. Statist. 2 (1931) 360. Randomisation: E. L. Lehmann, J. P. Romano, "Testing
    Statistical Hypotheses", 3rd ed. (2005), section 15.2.
    """
    blocks, number = per_block.shape
    require(truth.shape == (number,), "truth", f"of shape ({number},)", truth.shape)
    spread = per_block.std(axis=0, ddof=1)
    moving = spread > _NEGLIGIBLE
    constant = tuple(map(int, np.flatnonzero(~moving)))
    if not moving.any():
        raise ValidationError(f"{of}: nothing changed between blocks, so there is no test; sample longer")
    x = (per_block - truth)[:, moving]
    t = x.mean(axis=0) / (spread[moving] / np.sqrt(blocks))
    at = int(np.argmax(np.abs(t)))
    rank = np.linalg.matrix_rank((x - x.mean(axis=0)) / spread[moving])
    k = x.shape[1]
    if rank == k and blocks >= BLOCKS_A_DIMENSION * k:
        mean = x.mean(axis=0)
        covariance = np.atleast_2d(np.cov(x, rowvar=False))
        statistic = float(blocks * mean @ np.linalg.solve(covariance, mean))
        p_value = float(fdtrc(k, blocks - k, statistic * (blocks - k) / (k * (blocks - 1))))
        method = "Hotelling's T^2"
    else:
        scaled = x / np.sqrt((x**2).mean(axis=0))
        gram = scaled @ scaled.T / blocks**2
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(FLIPS, blocks))
        statistic = float(gram.sum())
        by_chance = np.einsum("fb,fb->f", signs @ gram, signs)
        p_value = float((1 + np.sum(by_chance >= statistic * (1 - 1e-12))) / (FLIPS + 1))
        method = "sign flips"
    return TargetTest(
        of=of,
        statistic=statistic,
        p_value=p_value,
        dimensions=k,
        blocks=blocks,
        method=method,
        constant=constant,
        worst=int(np.flatnonzero(moving)[at]),
        deviation=float(t[at]),
    )


def two_sample_test(first: Array, second: Array, *, of: str = "marginals", seed: int = 0) -> TargetTest:
    """Test whether the means of two runs' blocks have the same expectations.

    The statistic is the sum over quantities of the squared difference of means over its variance; what it would be
    by chance comes from dealing the blocks to the two runs anew, at random: exact for blocks that can be exchanged
    (of equal length), whatever the number of quantities. For blocks of unequal length or scatter it is about right
    where the runs have similar numbers of blocks.

    Parameters
    ----------
    first, second
        Means of independent blocks, shapes (blocks, k).
    """
    k = first.shape[1]
    require(second.shape[1] == k, "second", f"of {k} quantities", second.shape[1])
    both = np.concatenate([first, second])
    moving = both.std(axis=0) > _NEGLIGIBLE
    if not moving.any():
        raise ValidationError(f"{of}: nothing changed between blocks, so there is no test; sample longer")
    # scaled by what does not depend on how the blocks are dealt
    x = (both[:, moving] - both[:, moving].mean(axis=0)) / both[:, moving].std(axis=0)
    gram = x @ x.T
    number, m = len(both), len(first)
    share = np.where(np.arange(number) < m, 1 / m, -1 / (number - m))
    dealt = np.random.default_rng(seed).permuted(np.tile(share, (FLIPS, 1)), axis=1)
    statistic = float(share @ gram @ share)
    by_chance = np.einsum("fb,fb->f", dealt @ gram, dealt)
    off = first.mean(axis=0) - second.mean(axis=0)
    errors = [run.std(axis=0, ddof=1) / np.sqrt(len(run)) for run in (first, second)]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = off / np.hypot(*errors)
    worst = int(np.nanargmax(np.where(moving, np.abs(t), -1.0)))
    return TargetTest(
        of=of,
        statistic=statistic,
        p_value=float((1 + np.sum(by_chance >= statistic * (1 - 1e-12))) / (FLIPS + 1)),
        dimensions=int(moving.sum()),
        blocks=number,
        method="permutation of blocks",
        constant=tuple(map(int, np.flatnonzero(~moving))),
        worst=worst,
        deviation=float(t[worst]),
    )


def joint_test(per_block: Array, target: Array) -> TargetTest:
    """Test the joint distribution: G = 2 sum_k q_k ln(q_k/p_k), corrected for autocorrelation (Rao and Scott).

    G of dependent draws is distributed as sum_k lambda_k chi^2_1 with lambda the eigenvalues of V_kl/p_k, V the
    covariance of the sampled probabilities q, taken from the blocks. It is compared with an F distribution of
    (sum lambda)^2 / sum lambda^2 degrees of freedom (the second-order correction) and so many times B - 1, for V
    is itself from B blocks. States that are expected in fewer than five effective draws are one cell.

    Parameters
    ----------
    per_block
        Joint distributions of independent blocks, shape (blocks, 2^n).
    target
        Probabilities, shape (2^n,).

    References
    ----------
    J. N. K. Rao, A. J. Scott, Ann. Statist. 12 (1984) 46; D. R. Thomas, J. N. K. Rao, JASA 82 (1987) 630. Unbiased
    sum of squares of eigenvalues: Z. Bai, H. Saranadasa, Stat. Sinica 6 (1996) 311.
    """
    require(target.shape == per_block.shape[1:], "target", f"of shape {per_block.shape[1:]}", target.shape)
    blocks = len(per_block)
    forbidden = (target <= 0) & (per_block.sum(axis=0) > 0)
    if forbidden.any():
        return TargetTest(
            of="joint", statistic=np.inf, p_value=0.0, dimensions=int(np.sum(target > 0)) - 1, blocks=blocks,
            method="a state that the target forbids", worst=int(np.flatnonzero(forbidden)[0]), deviation=np.inf,
        )  # fmt: skip
    possible = np.flatnonzero(target > 0)
    p, q = target[possible], per_block[:, possible]
    trace = float((q.var(axis=0, ddof=1) / p).sum()) / blocks
    if trace <= _NEGLIGIBLE or len(p) < 2:
        raise ValidationError("joint: nothing changed between blocks, so there is no test; sample longer")
    rare = p * (len(p) - 1) / trace < LEAST_EXPECTED
    if rare.sum() > 1:
        p = np.append(p[~rare], p[rare].sum())
        q = np.column_stack([q[:, ~rare], q[:, rare].sum(axis=1)])
    if len(p) < 2:
        raise ValidationError("joint: fewer than two states are expected five times; sample longer")
    mean = q.mean(axis=0)
    # Gram matrix of the blocks: its trace and its squares are those of V_kl / p_k
    off = (q - mean) / np.sqrt(p)
    gram = off @ off.T / (blocks - 1) / blocks
    trace, free = float(np.trace(gram)), blocks - 1
    squares = free**2 / ((free - 1) * (free + 2)) * (float((gram**2).sum()) - trace**2 / free)
    degrees = min(max(trace**2 / squares, 1.0), len(p) - 1.0) if squares > 0 else len(p) - 1.0
    seen = mean > 0
    g = float(2 * np.sum(mean[seen] * np.log(mean[seen] / p[seen])))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (mean - p) / (q.std(axis=0, ddof=1) / np.sqrt(blocks))
    at = int(np.nanargmax(np.where(np.isfinite(t), np.abs(t), -1)))
    kept = possible[~rare] if rare.sum() > 1 else possible
    return TargetTest(
        of="joint",
        statistic=g,
        p_value=float(fdtrc(degrees, degrees * free, g / trace)),
        dimensions=len(p) - 1,
        blocks=blocks,
        method=f"Rao-Scott, {degrees:.3g} degrees of freedom",
        worst=int(kept[at]) if at < len(kept) else None,
        deviation=float(t[at]),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class BiasBound:
    """An upper bound on the largest bias: ``bound`` is exceeded with a chance of at most 1 - ``confidence``."""

    of: str
    bound: float
    worst: int
    """Number of the quantity that sets the bound."""
    largest: float
    """Largest deviation seen."""
    confidence: float

    def below(self, limit: float) -> bool:
        """Tell whether the samples show that every bias is below ``limit``: the equivalence test."""
        return self.bound < limit

    def __str__(self) -> str:
        """Return the claim."""
        return f"bias of {self.of} below {self.bound:.2g} with {100 * self.confidence:g} %"


def bias_bound(
    per_block: Array,
    truth: Array,
    *,
    of: str = "marginals",
    confidence: float = 0.99,
    truth_error: Array | float = 0.0,
) -> BiasBound:
    """Return max_k (|d_k| + t s_k), d the mean deviation of B blocks, s its standard error, t of B - 1 degrees.

    A test that can succeed, unlike one that fails to reject: if some bias were at least ``x``, its own limit would
    lie below ``x`` with a chance of at most 1 - confidence, and the largest of all limits with no more, however
    many there are (intersection-union; D. J. Schuirmann, J. Pharmacokin. Biopharm. 15 (1987) 657, R. L. Berger,
    Technometrics 24 (1982) 295). What never changed has no known error and enters with its deviation alone.

    Parameters
    ----------
    per_block, truth, of
        As for ``mean_test``.
    confidence
        Of the bound.
    truth_error
        Standard errors of ``truth`` where it was itself sampled.
    """
    require(0.5 < confidence < 1, "confidence", "in (0.5, 1)", confidence)
    blocks = len(per_block)
    off = np.abs(per_block.mean(axis=0) - truth)
    error = np.hypot(per_block.std(axis=0, ddof=1) / np.sqrt(blocks), truth_error)
    limits = off + stdtrit(blocks - 1, confidence) * error
    worst = int(np.argmax(limits))
    return BiasBound(
        of=of, bound=float(limits[worst]), worst=worst, largest=float(off.max()), confidence=confidence
    )
