"""Distances from a target by several measures: systematic part with a confidence interval, floor apart.

A plug-in estimate exceeds zero even for a perfect sampler, for the sampled probabilities scatter. ``value`` is
that estimate, ``floor`` what scatter alone would make of it, ``bias`` the part that a longer run does not remove,
and ``low`` to ``high`` a confidence interval of that part, from independent blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from boltzspike.diagnostics.divergence import jackknifed, kl_and_floor
from boltzspike.diagnostics.estimates import MIN_BLOCKS, States, pieces
from boltzspike.errors import ValidationError, require
from boltzspike.samples import joint_counts

Array = np.ndarray
CONFIDENCE = 0.95
SEGMENTS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Distance:
    """One measure of the distance from a target."""

    name: str
    value: float
    """As it comes out of the samples."""
    floor: float
    """Expected of an unbiased sampler of the same length and autocorrelation."""
    bias: float
    """Systematic part. Below zero by chance, where the measure is not a square root."""
    low: float
    high: float
    confidence: float = CONFIDENCE
    """Of the interval from ``low`` to ``high``."""

    def __str__(self) -> str:
        """Return bias, interval and floor."""
        return f"{self.name} {self.bias:.3g} ({self.low:.2g} .. {self.high:.2g}), floor {self.floor:.2g}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Distances:
    """A joint distribution against a target."""

    kl: Distance
    """D(sampled || target), nats."""
    reverse_kl: Distance
    """D(target || sampled), nats; infinite if a state of the target was never seen."""
    total_variation: Distance
    """Largest difference in the probability of any event, 1/2 sum |q - p|."""
    hellinger: Distance
    """sqrt(1 - sum sqrt(q p))."""

    def __str__(self) -> str:
        """Return one line each."""
        return "\n".join(map(str, (self.kl, self.reverse_kl, self.total_variation, self.hellinger)))


def distances_of_blocks(per_block: Array, target: Array, *, confidence: float = CONFIDENCE) -> Distances:
    """Compare the joint distributions of independent blocks, (blocks, 2^n), with a target.

    The floors of the divergences and of the squared Hellinger distance are those of the second-order expansion in
    the scatter of the sampled probabilities q, with its variance from the blocks; the intervals are jackknives
    over the blocks with Student's t.

    Total variation has no such expansion, for it has a kink at zero. It is the largest excess of any event:
    TV = max_A q(A) - p(A). So ``bias`` is the excess, in one half of the blocks, of the event that is largest in
    the other half, both ways: unbiased for a perfect sampler, else too small by what scatter hides. The interval
    reaches from this less its error to the plug-in value, which is too large, and its error: it is conservative.

    Parameters
    ----------
    per_block
        Joint distributions of independent blocks, shape (blocks, 2^n).
    target
        Probabilities, shape (2^n,).
    confidence
        Of the intervals.
    """
    require(target.shape == per_block.shape[1:], "target", f"of shape {per_block.shape[1:]}", target.shape)
    quantile = float(stdtrit(len(per_block) - 1, (1 + confidence) / 2))

    def estimated(name: str, of: Callable[[Array, Array], tuple[float, float]], *, root: bool = False) -> Distance:
        value, floor, bias, error = jackknifed(per_block, of)
        low, high = (bias - quantile * error, bias + quantile * error) if math.isfinite(error) else (0.0, math.inf)
        found = np.array([value, floor, bias, low, high])
        if root:
            found = np.sqrt(np.maximum(found, 0))
        return Distance(name=name, **dict(zip(_FIELDS, map(float, found))), confidence=confidence)

    return Distances(
        kl=estimated("D(sampled || target)", lambda q, v: kl_and_floor(q, v, target)),
        reverse_kl=estimated("D(target || sampled)", lambda q, v: _reverse_kl_and_floor(q, v, target)),
        total_variation=_total_variation(per_block, target, quantile, confidence),
        hellinger=estimated("Hellinger", lambda q, v: _squared_hellinger_and_floor(q, v, target), root=True),
    )


def moment_error(
    per_block: Array, truth: Array, *, of: str = "marginals", confidence: float = CONFIDENCE
) -> Distance:
    """Return the root mean square bias of means of blocks, shape (blocks, k), from their expectations (k,)."""
    require(truth.shape == per_block.shape[1:], "truth", f"of shape {per_block.shape[1:]}", truth.shape)

    def squared(mean: Array, variance: Array) -> tuple[float, float]:
        return float(np.mean((mean - truth) ** 2)), float(np.mean(variance))

    value, floor, bias, error = jackknifed(per_block, squared)
    quantile = float(stdtrit(len(per_block) - 1, (1 + confidence) / 2))
    found = np.array([value, floor, bias, bias - quantile * error, bias + quantile * error])
    fields = dict(zip(_FIELDS, map(float, np.sqrt(np.maximum(found, 0)))))
    return Distance(name=f"RMS error of {of}", **fields, confidence=confidence)


_FIELDS = ("value", "floor", "bias", "low", "high")


def _reverse_kl_and_floor(q: Array, variance: Array, p: Array) -> tuple[float, float]:
    possible = p > 0
    q, p = q[possible], p[possible]
    if np.any(q <= 0):
        return math.inf, 0.0
    return float(np.sum(p * np.log(p / q))), float(np.sum(p * variance[possible] / (2 * q**2)))


def _squared_hellinger_and_floor(q: Array, variance: Array, p: Array) -> tuple[float, float]:
    seen = q > 0
    value = float(1 - np.sum(np.sqrt(q * p)))
    return value, float(np.sum(variance[seen] * np.sqrt(p[seen] / q[seen] ** 3)) / 8)


def _total_variation(per_block: Array, target: Array, quantile: float, confidence: float) -> Distance:
    number = len(per_block)
    off = per_block.mean(axis=0) - target
    halves = [per_block[half::2].mean(axis=0) - target for half in (0, 1)]
    bias = float(np.sign(halves[0]) @ halves[1] + np.sign(halves[1]) @ halves[0]) / 4
    error = float((per_block @ np.sign(off)).std(ddof=1)) / 2 / math.sqrt(number)
    scatter = per_block.std(axis=0, ddof=1) / math.sqrt(number)
    value = float(np.abs(off).sum() / 2)
    return Distance(
        name="total variation",
        value=value,
        floor=float(scatter.sum() / 2 * math.sqrt(2 / math.pi)),
        bias=bias,
        # the two ways depend on each other, so no more is claimed than the error of one
        low=bias - quantile * math.sqrt(2) * error,
        high=value + quantile * error,
        confidence=confidence,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Extrapolation:
    """D_KL(sampled || target) against the length of the run: D(T) = D_sys + a/T."""

    draws: Array
    """Lengths T, in draws of a chain, shape (lengths,)."""
    divergences: Array
    """Plug-in D_KL of runs so long, averaged over the parts of the run, shape (lengths,)."""
    systematic: float
    """D_sys."""
    error: float
    """Its standard error, from leaving out each chain in turn."""
    slope: float
    """a, in draws of a chain."""

    def __str__(self) -> str:
        """Return the systematic part."""
        return f"D_KL -> {self.systematic:.3g} +- {self.error:.1g} for a run without end"


def extrapolation(states: States, target: Array) -> Extrapolation:
    """Extrapolate D_KL to a run without end by a line in 1/T through the whole, halves, quarters and eighths.

    It needs no variance of the sampled probabilities and so checks the floor that ``kl_divergence`` subtracts;
    both rest on the same expansion, which wants the states that matter to be seen in an eighth of the run.

    Parameters
    ----------
    states
        Shape (chains, draws, n); at least 16 chains, for the error.
    target
        Probabilities, shape (2^n,).
    """
    chains, draws, n = states.shape
    require(target.shape == (2**n,), "target", f"of 2^{n} probabilities", target.shape)
    if chains < MIN_BLOCKS or draws < SEGMENTS:
        raise ValidationError(
            f"extrapolation: needs {MIN_BLOCKS} chains of {SEGMENTS} draws, got {chains} of {draws}"
        )
    length = draws // SEGMENTS

    def counted(chain: int, segment: int) -> Array:
        run = pieces(states, chain, segment * length, (segment + 1) * length)
        return np.sum([joint_counts(z[None])[0] for z in run], axis=0)

    counts = np.array([[counted(chain, k) for chain in range(chains)] for k in range(SEGMENTS)])
    together = np.array([1, 2, 4, SEGMENTS])

    def divergences(of: Array, over: int) -> Array:
        mean = []
        for parts in together:
            runs = of.reshape(SEGMENTS // parts, parts, -1).sum(axis=1) / (parts * length * over)
            mean.append(np.mean([kl_and_floor(q, q, target)[0] for q in runs]))
        return np.array(mean)

    def fit(d: Array) -> tuple[float, float]:
        slope, systematic = np.polyfit(1 / (together * length), d, 1)
        return float(systematic), float(slope)

    total = counts.sum(axis=1)
    found = divergences(total, chains)
    systematic, slope = fit(found)
    left_out = np.array([fit(divergences(total - counts[:, c], chains - 1))[0] for c in range(chains)])
    # with one chain less the slope is larger; the intercept, in expectation, is not
    error = float(np.sqrt((chains - 1) * np.mean((left_out - left_out.mean()) ** 2)))
    return Extrapolation(
        draws=together * length, divergences=found, systematic=systematic, error=error, slope=slope
    )
