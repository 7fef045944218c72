import numba
import numpy as np
import pytest
from scipy.special import expit

from boltzspike import simd, streams
from boltzspike.abstract import lanes


def test_philox_in_lanes_is_that_of_streams(rng):
    words = rng.integers(0, 2**32, (6, simd.LANES), dtype=np.uint64)
    words[4:] = words[4:, :1]
    signed = words.astype(np.uint32).view(np.int32)

    @numba.njit
    def drawn(counters, out):
        words = lanes.philox(
            simd.load(counters[0], 0), simd.load(counters[1], 0), simd.load(counters[2], 0),
            simd.load(counters[3], 0), simd.load(counters[4], 0), simd.load(counters[5], 0),
        )  # fmt: skip
        simd.store(out[0], 0, words[0])
        simd.store(out[1], 0, words[1])
        simd.store(out[2], 0, words[2])
        simd.store(out[3], 0, words[3])

    out = np.zeros((4, simd.LANES), dtype=np.int32)
    drawn(signed, out)
    assert np.array_equal(out.view(np.uint32), np.array(streams.philox4x32(*words)).astype(np.uint32))


def test_the_exponential_is_right_to_the_last_digits_of_float32(rng):
    @numba.njit
    def exponential(x, out):
        for at in range(0, len(x), simd.LANES):
            simd.store(out, at, lanes.exp(simd.load(x, at)))

    x = rng.uniform(0, 80, 80_000).astype(np.float32)
    out = np.zeros_like(x)
    exponential(x, out)
    assert np.abs(out / np.exp(x.astype(float)) - 1).max() < 2.5e-7


@pytest.mark.parametrize("u", [-18.0, -6.0, -0.4, 0.0, 1.0, 7.0, 18.0])
def test_the_border_between_words_is_the_logistic(u):
    """By bisection over all 2^32 words: the share that gives the rarer value, to 3e-7 of itself in both tails."""

    @numba.njit
    def decide(word, u):
        x = np.full(simd.LANES, u, np.float32)
        words = np.full(simd.LANES, np.int32(word))
        mask = lanes.draw(simd.load(words, 0), simd.load(x, 0))
        return simd.bits(mask) & 1

    at_zero = decide(0, u)
    low, high = 0, 2**32
    while high - low > 1:
        middle = (low + high) // 2
        if decide(middle, u) == at_zero:
            low = middle
        else:
            high = middle
    rarer = high / 2**32
    assert (at_zero == 1) == (u <= 0)
    assert rarer == pytest.approx(expit(-abs(u)), rel=3e-7, abs=2**-31)


@pytest.mark.parametrize(("u", "expected"), [(np.inf, 1), (-np.inf, 0), (100.0, 1), (-100.0, 0)])
def test_an_infinite_drive_decides(u, expected):
    @numba.njit
    def decide(word, u):
        x = np.full(simd.LANES, u, np.float32)
        return simd.bits(lanes.draw(simd.load(np.full(simd.LANES, np.int32(word)), 0), simd.load(x, 0)))

    for word in (0, 1, 2**31, 2**32 - 1):
        assert decide(word, u) == 255 * expected
