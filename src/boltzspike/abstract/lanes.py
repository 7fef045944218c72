"""The kernel of the exact samplers: a lane is a chain, sixteen of them go together.

A unit's drive is summed anew from its neighbours at every update: rounding does not add up, and the state is z and
the age alone. Gibbs sampling is the case ``tau = 1``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from boltzspike import streams
from boltzspike.simd import (
    LANES,
    as_float32,
    as_int32,
    broadcast,
    fmuladd,
    load,
    maximum,
    multiply_high,
    reinterpret_float32,
    select,
    source_version,
    store,
)

Array = np.ndarray
ROW = 2 * LANES
TILE = 4
"""Units that a Philox call has words for."""
UNROLL = 4
"""Neighbours that the random scan sums side by side; its lists are filled up to a multiple of it."""
COMMON_ORDER = 0xFFFFFFFF
"""In the place of the chain: the words of the order of a random scan, which all chains share."""

_LARGEST = np.float32(80.0)
"""|drive| beyond which nothing is drawn: exp(-80) is far below the resolution of a word, 2^-32."""
_LOG2_E = np.float32(np.log2(np.e))
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(np.log(2) - 0.693359375)
# e^r = 1 + r + r^2 q(r), |r| <= ln(2)/2: Chebyshev fit of q, relative error of e^r 1e-7
_Q = [np.float32(c) for c in np.polynomial.Polynomial.cast(
    np.polynomial.Chebyshev.interpolate(
        lambda r: np.where(abs(r) < 1e-4, 0.5 + r / 6, (np.exp(r) - 1 - r) / np.where(r == 0, 1, r) ** 2),
        4, domain=[-0.35, 0.35],
    )
).coef]  # fmt: skip
_Q0, _Q1, _Q2, _Q3, _Q4 = _Q
_SCALE = np.float32(2.0**-31)
_HALF_STEP = np.float32(2.0**-32)

_philox4x32 = njit(inline="always")(streams.philox4x32)
_signed = lambda word: np.int32(word - 2**32 if word >= 2**31 else word)
_MULTIPLIER_0, _MULTIPLIER_1 = _signed(0xD2511F53), _signed(0xCD9E8D57)
_WEYL_0, _WEYL_1 = _signed(0x9E3779B9), _signed(0xBB67AE85)


@njit(forceinline=True)
def philox(c0, c1, c2, c3, k0, k1):
    """Return ``streams.philox4x32`` of eight counters, one a lane."""
    multiplier_0, multiplier_1 = broadcast(_MULTIPLIER_0), broadcast(_MULTIPLIER_1)
    weyl_0, weyl_1 = broadcast(_WEYL_0), broadcast(_WEYL_1)
    for _ in range(10):
        c0, c1, c2, c3 = (
            multiply_high(multiplier_1, c2) ^ c1 ^ k0,
            multiplier_1 * c2,
            multiply_high(multiplier_0, c0) ^ c3 ^ k1,
            multiplier_0 * c0,
        )
        k0, k1 = k0 + weyl_0, k1 + weyl_1
    return c0, c1, c2, c3


@njit(forceinline=True)
def exp(x):
    """Return e^x for 0 <= x <= 80, relative error 2e-7."""
    k = as_int32(fmuladd(x, broadcast(_LOG2_E), broadcast(np.float32(0.5))))
    whole = as_float32(k)
    r = fmuladd(whole, broadcast(-_LN2_HIGH), x)
    r = fmuladd(whole, broadcast(-_LN2_LOW), r)
    q = fmuladd(broadcast(_Q4), r, broadcast(_Q3))
    q = fmuladd(q, r, broadcast(_Q2))
    q = fmuladd(q, r, broadcast(_Q1))
    q = fmuladd(q, r, broadcast(_Q0))
    power = reinterpret_float32((k + broadcast(np.int32(127))) << 23)
    return fmuladd(r * r, q, r + broadcast(np.float32(1.0))) * power


@njit(forceinline=True)
def draw(word, u):
    """Return a mask that is set with probability sigma(u).

    The rarer value is drawn, with probability 1/(1 + exp(|u|)): small words keep all their bits in float32, so
    both tails are resolved to 2^-31.
    """
    zero = broadcast(np.float32(0.0))
    size = maximum(u, zero - u)
    size = select(size < broadcast(_LARGEST), size, broadcast(_LARGEST))
    uniform = fmuladd(as_float32(word >> 1), broadcast(_SCALE), broadcast(_HALF_STEP))
    rarer = fmuladd(uniform, exp(size), uniform) < broadcast(np.float32(1.0))
    return rarer ^ (zero < u)


@njit(forceinline=True)
def update(z, age, at, u_low, u_high, word_low, word_high, tau, refractory):
    """Update one unit of sixteen chains, given its drives; return the changes of z."""
    one, zero = broadcast(np.float32(1.0)), broadcast(np.float32(0.0))
    on_low, on_high = draw(word_low, u_low), draw(word_high, u_high)
    if refractory:
        none, step, full = broadcast(np.int32(0)), broadcast(np.int32(1)), broadcast(np.int32(tau))
        age_low, age_high = load(age, at) - step, load(age, at + LANES) - step
        age_low = select(age_low > none, age_low, select(on_low, full, none))
        age_high = select(age_high > none, age_high, select(on_high, full, none))
        store(age, at, age_low)
        store(age, at + LANES, age_high)
        on_low, on_high = age_low > none, age_high > none
    new_low, new_high = select(on_low, one, zero), select(on_high, one, zero)
    change_low, change_high = new_low - load(z, at), new_high - load(z, at + LANES)
    store(z, at, new_low)
    store(z, at + LANES, new_high)
    return change_low, change_high


@njit(forceinline=True)
def keep(z, places, states, drawn):
    """Copy z to the states of a draw."""
    for unit in range(len(places)):
        at = places[unit]
        for lane in range(states.shape[0]):
            states[lane, drawn, unit] = np.int8(z[at + lane])


@njit(forceinline=True)
def sum_of(weights, at, drives, z_low, z_high):
    """Add a neighbour to the drives of a tile."""
    a0, b0, a1, b1, a2, b2, a3, b3 = drives
    w0, w1 = broadcast(weights[at]), broadcast(weights[at + 1])
    w2, w3 = broadcast(weights[at + 2]), broadcast(weights[at + 3])
    return (
        fmuladd(w0, z_low, a0), fmuladd(w0, z_high, b0), fmuladd(w1, z_low, a1), fmuladd(w1, z_high, b1),
        fmuladd(w2, z_low, a2), fmuladd(w2, z_high, b2), fmuladd(w3, z_low, a3), fmuladd(w3, z_high, b3),
    )  # fmt: skip


@cache
def sequential_kernel(*, refractory: bool, version: int = source_version(Path(__file__))) -> Any:
    """Return the compiled kernel of updates in order, with tau > 1 or for tau = 1.

    Four units that follow each other are a tile: their drives are summed together, so that z is read once for the
    four, and then what earlier ones of the tile changed is added.
    """

    @njit(nogil=True, cache=True)
    def run_block(
        start, steps, tau, z, age, chains, key, biases, places, starts, neighbours, weights, within, every, states
    ):
        """Advance sixteen chains by steps of one update of each unit.

        ``z`` float32 and ``age`` int32 [unit][16], in the order of updates, filled up to whole tiles; ``chains``
        int32 [16]; ``key`` uint64 [2]; ``biases`` float32 [unit][16], less ln(tau). Tile t has the neighbours
        ``starts[t] : starts[t + 1]``: ``neighbours`` int32, where in z, ``weights`` float32 [neighbour][4];
        ``within`` float32 [tile][4][4], target first. ``places`` int32 [unit]: where in z. ``states`` int8 (chains
        of the block, draws, units).
        """
        drawn = 0
        k0, k1 = broadcast(np.int32(key[0])), broadcast(np.int32(key[1]))
        chains_low, chains_high = load(chains, 0), load(chains, LANES)
        for step in range(start, start + steps):
            c0, c1 = broadcast(np.int32(step & 0xFFFFFFFF)), broadcast(np.int32(step >> 32))
            for tile in range(len(starts) - 1):
                c2 = broadcast(np.int32(tile))
                of_low = philox(c0, c1, c2, chains_low, k0, k1)
                of_high = philox(c0, c1, c2, chains_high, k0, k1)
                at = tile * TILE * ROW
                drives = (
                    load(biases, at), load(biases, at + LANES),
                    load(biases, at + ROW), load(biases, at + ROW + LANES),
                    load(biases, at + 2 * ROW), load(biases, at + 2 * ROW + LANES),
                    load(biases, at + 3 * ROW), load(biases, at + 3 * ROW + LANES),
                )  # fmt: skip
                for entry in range(starts[tile], starts[tile + 1]):
                    j = neighbours[entry]
                    drives = sum_of(weights, entry * TILE, drives, load(z, j), load(z, j + LANES))
                a0, b0, a1, b1, a2, b2, a3, b3 = drives
                w = tile * TILE * TILE
                d, e = update(z, age, at, a0, b0, of_low[0], of_high[0], tau, refractory)
                w1, w2, w3 = broadcast(within[w + 4]), broadcast(within[w + 8]), broadcast(within[w + 12])
                a1, b1 = fmuladd(w1, d, a1), fmuladd(w1, e, b1)
                a2, b2 = fmuladd(w2, d, a2), fmuladd(w2, e, b2)
                a3, b3 = fmuladd(w3, d, a3), fmuladd(w3, e, b3)
                d, e = update(z, age, at + ROW, a1, b1, of_low[1], of_high[1], tau, refractory)
                w2, w3 = broadcast(within[w + 9]), broadcast(within[w + 13])
                a2, b2 = fmuladd(w2, d, a2), fmuladd(w2, e, b2)
                a3, b3 = fmuladd(w3, d, a3), fmuladd(w3, e, b3)
                d, e = update(z, age, at + 2 * ROW, a2, b2, of_low[2], of_high[2], tau, refractory)
                w3 = broadcast(within[w + 14])
                a3, b3 = fmuladd(w3, d, a3), fmuladd(w3, e, b3)
                update(z, age, at + 3 * ROW, a3, b3, of_low[3], of_high[3], tau, refractory)
            if every and (step + 1) % every == 0:
                keep(z, places, states, drawn)
                drawn += 1
        return version

    return run_block


@cache
def random_kernel(*, version: int = source_version(Path(__file__))) -> Any:
    """Return the compiled kernel of updates of units drawn anew, the same unit in all chains; tau = 1."""

    @njit(nogil=True, cache=True)
    def run_block(start, steps, z, chains, key, biases, places, starts, neighbours, weights, every, states):
        """Advance sixteen chains by steps of n updates.

        As in the sequential kernel, but a tile is one unit: ``weights`` float32 [neighbour].
        """
        units = len(places)
        drawn = 0
        zero = broadcast(np.float32(0.0))
        k0, k1 = broadcast(np.int32(key[0])), broadcast(np.int32(key[1]))
        chains_low, chains_high = load(chains, 0), load(chains, LANES)
        unused = np.zeros(1, dtype=np.int32)
        for step in range(start, start + steps):
            low, high = np.uint64(step & 0xFFFFFFFF), np.uint64(step >> 32)
            c0, c1 = broadcast(np.int32(low)), broadcast(np.int32(high))
            for first in range(0, units, 4):
                c2 = broadcast(np.int32(first // 4))
                of_low = philox(c0, c1, c2, chains_low, k0, k1)
                of_high = philox(c0, c1, c2, chains_high, k0, k1)
                order = _philox4x32(low, high, np.uint64(first // 4), np.uint64(COMMON_ORDER), key[0], key[1])
                for i in range(min(4, units - first)):
                    k = np.int64((order[i] * np.uint64(units)) >> np.uint64(32))
                    at = k * ROW
                    a0, b0 = load(biases, at), load(biases, at + LANES)
                    a1, b1, a2, b2, a3, b3 = zero, zero, zero, zero, zero, zero
                    for e in range(starts[k], starts[k + 1], UNROLL):
                        w, j = broadcast(weights[e]), neighbours[e]
                        a0, b0 = fmuladd(w, load(z, j), a0), fmuladd(w, load(z, j + LANES), b0)
                        w, j = broadcast(weights[e + 1]), neighbours[e + 1]
                        a1, b1 = fmuladd(w, load(z, j), a1), fmuladd(w, load(z, j + LANES), b1)
                        w, j = broadcast(weights[e + 2]), neighbours[e + 2]
                        a2, b2 = fmuladd(w, load(z, j), a2), fmuladd(w, load(z, j + LANES), b2)
                        w, j = broadcast(weights[e + 3]), neighbours[e + 3]
                        a3, b3 = fmuladd(w, load(z, j), a3), fmuladd(w, load(z, j + LANES), b3)
                    update(
                        z,
                        unused,
                        at,
                        (a0 + a1) + (a2 + a3),
                        (b0 + b1) + (b2 + b3),
                        of_low[i],
                        of_high[i],
                        1,
                        False,
                    )
            if every and (step + 1) % every == 0:
                keep(z, places, states, drawn)
                drawn += 1
        return version

    return run_block
