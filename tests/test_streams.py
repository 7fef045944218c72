import numpy as np
import pytest
from scipy import stats

from boltzspike import streams
from boltzspike.errors import ValidationError


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_vectors(counter, key, expected):
    words = streams.philox4x32(*(np.uint64(c) for c in counter), *(np.uint64(k) for k in key))
    assert [int(word) for word in words] == expected


def test_words_depend_on_chain_unit_step_source_and_seed_alone():
    few = streams.words(7, np.arange(2), np.arange(3), 11, 6)
    many = streams.words(7, np.arange(5), np.arange(4), 11, 6)
    assert np.array_equal(many[:2, :3], few)
    assert len(np.unique(many)) == many.size
    assert not np.any(streams.words(8, np.arange(5), np.arange(4), 11, 6) == many)
    assert not np.any(streams.words(7, np.arange(5), np.arange(4), 12, 6) == many)


@pytest.mark.parametrize("mean", [0.04, 0.3, 10.0, 400.0])
def test_thresholds_draw_poisson_counts(mean):
    thresholds = streams.poisson_thresholds(mean)
    words = np.concatenate(
        [streams.words(3, np.arange(100), np.arange(100), step, 4).ravel() for step in range(5)]
    )
    counts = np.searchsorted(thresholds, words, side="right")
    n = len(counts)
    assert abs(counts.mean() - mean) < 4 * np.sqrt(mean / n)
    assert abs(counts.var() - mean) < 4 * mean * np.sqrt((2 + 1 / mean) / n)
    assert np.isclose(np.mean(counts == 0), np.exp(-mean), atol=4 * np.sqrt(np.exp(-mean) / n))
    assert stats.poisson.sf(len(thresholds) - 1, mean) < 2.0**-32


def test_zero_rate_has_no_events():
    assert len(streams.poisson_thresholds(0.0)) == 0


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True, "7"])
def test_bad_seed_is_refused(seed):
    with pytest.raises(ValidationError, match="seed: must be an integer"):
        streams.check_seed(seed)


@pytest.mark.parametrize("mean", [0.0, 0.03, 0.3, 7.0, 499.0])
def test_summing_the_poisson_law_counts_as_its_thresholds_do(mean):
    words = np.concatenate([[0, 2**32 - 1], np.random.default_rng(3).integers(0, 2**32, 20_000)]).astype(np.uint64)
    expected = np.searchsorted(streams.poisson_thresholds(mean), words, side="right")
    # the last of 2^32 words lies beyond where the thresholds are cut
    assert np.array_equal(streams.poisson_counts(words[2:], np.full(20_000, mean)), expected[2:])
    assert streams.poisson_counts(words[:1], np.full(1, mean)) == expected[0]
    assert streams.poisson_counts(words[1:2], np.full(1, mean))[0] >= expected[1] - 1


def test_private_shared_and_refractory_words_do_not_meet():
    chains, units = np.arange(6), np.arange(8)
    drawn = [
        streams.words(7, chains, units, 11, 8),
        streams.pool_words(7, chains, 8, 11),
        streams.refractory_words(7, chains[:, None], units, 11),
    ]
    together = np.concatenate([words.ravel() for words in drawn])
    assert len(np.unique(together)) == len(together)
    assert np.array_equal(streams.pool_words(7, chains, 13, 11)[:2, :8], streams.pool_words(7, chains[:2], 8, 11))
    late = streams.refractory_words(7, 0, np.arange(3), 2**33 + 5)
    assert not np.array_equal(late, streams.refractory_words(7, 0, np.arange(3), 5))
