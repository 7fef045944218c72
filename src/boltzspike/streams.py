"""Random numbers as a pure function of (seed, chain, unit, step): counter-based, no state to keep.

Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
The same seed gives the same numbers on any number of threads, for any split of a run, and for chain k
whatever the number of chains. The functions work on NumPy arrays as they stand and compile under Numba.
"""

from __future__ import annotations

import numpy as np
from scipy.special import pdtr

from boltzspike.errors import require

_MASK = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)

SOURCES_PER_CALL = 4
REFRACTORY_BLOCK, POOL_BLOCK, JITTER_BLOCK = 0xFFFE, 0xFFFD, 0xFFFC
"""Blocks of sources, in the second word of the counter, that stand for other random numbers than private noise."""


def philox4x32(c0, c1, c2, c3, k0, k1):
    """Return four 32-bit random words (as uint64) for a 128-bit counter and a 64-bit key, all uint64 words."""
    for _ in range(10):
        product_0 = _MULTIPLIER_0 * c0
        product_1 = _MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (
            (product_1 >> _SHIFT) ^ c1 ^ k0,
            product_1 & _MASK,
            (product_0 >> _SHIFT) ^ c3 ^ k1,
            product_0 & _MASK,
        )
        k0 = (k0 + _WEYL_0) & _MASK
        k1 = (k1 + _WEYL_1) & _MASK
    return c0, c1, c2, c3


def words(seed: int, chains: np.ndarray, units: np.ndarray, step: int, sources: int) -> np.ndarray:
    """Return the 32-bit words that drive one step, shape (chains, units, sources), uint64.

    The counter is (step, unit, chain) and the key is the seed; four sources share one call.
    """
    c2, c3 = np.meshgrid(units.astype(np.uint64), chains.astype(np.uint64))
    low, high = np.uint64(step & 0xFFFFFFFF), np.uint64(step >> 32)
    key = np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32)
    drawn = []
    for block in range(-(-sources // SOURCES_PER_CALL)):
        c1 = high | np.uint64(block << 16)
        drawn += philox4x32(np.full_like(c2, low), np.full_like(c2, c1), c2, c3, *key)
    return np.stack(drawn[:sources], axis=-1) if sources else np.empty((*c2.shape, 0), dtype=np.uint64)


def refractory_words(seed: int, chains: np.ndarray, units: np.ndarray, steps: np.ndarray | int) -> np.ndarray:
    """Return the 32-bit word, as uint64, that draws the refractory period after each spike; arrays broadcast."""
    return _block_words(seed, chains, units, steps, REFRACTORY_BLOCK)[0]


def jitter(seed: int, chains: np.ndarray, units: np.ndarray, steps: np.ndarray | int, longest: int) -> np.ndarray:
    """Return by how many steps spikes of these steps are late, uniform in 0 .. ``longest``; arrays broadcast."""
    words = _block_words(seed, chains, units, steps, JITTER_BLOCK)[0]
    return (words * np.uint64(longest + 1) >> _SHIFT).astype(np.int64)


def pool_words(seed: int, chains: np.ndarray, sources: int, step: int) -> np.ndarray:
    """Return the 32-bit words of the shared background of a step, shape (chains, sources), uint64."""
    blocks = np.arange(-(-sources // SOURCES_PER_CALL))
    drawn = np.stack(_block_words(seed, chains[:, None], blocks, step, POOL_BLOCK), axis=-1)
    return drawn.reshape(len(chains), -1)[:, :sources]


def _block_words(seed, chains, units, steps, block):
    c0, c2, c3 = np.broadcast_arrays(*(np.asarray(counter, dtype=np.uint64) for counter in (steps, units, chains)))
    c1 = (c0 >> _SHIFT) | np.uint64(block << 16)
    return philox4x32(c0 & _MASK, c1, c2, c3, np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32))


def poisson_counts(words: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return Poisson numbers of the given means (at most 500) for 32-bit words, by summing the law from 0.

    Equals the count of ``poisson_thresholds`` that do not exceed the word; for means that change.
    """
    level = (words + 0.5) * 2.0**-32
    probability = np.exp(-means)
    cumulative, counts = probability.copy(), np.zeros(level.shape, dtype=np.int64)
    while True:
        more = (level > cumulative) & (probability > 0)
        if not more.any():
            return counts
        counts[more] += 1
        probability = np.where(more, probability * means / np.maximum(counts, 1), probability)
        cumulative = np.where(more, cumulative + probability, cumulative)


def poisson_thresholds(mean: float) -> np.ndarray:
    """Return the cumulative Poisson distribution times 2^32: a word w is worth ``sum(w >= thresholds)`` events.

    Exact to the resolution of 2^-32; the tail beyond it is cut.
    """
    if mean <= 0:
        return np.zeros(0, dtype=np.uint64)
    reach = int(mean + 8 * np.sqrt(mean) + 40)
    cumulative = np.round(pdtr(np.arange(reach), mean) * 2.0**32)
    return cumulative[: np.searchsorted(cumulative, 2.0**32) + 1].astype(np.uint64)


def check_seed(seed: int) -> int:
    """Return the seed, or raise: an integer in 0 .. 2^64 - 1."""
    ok = isinstance(seed, int | np.integer) and not isinstance(seed, bool) and 0 <= seed < 2**64
    require(ok, "seed", "an integer in 0 .. 2^64 - 1", seed)
    return int(seed)
