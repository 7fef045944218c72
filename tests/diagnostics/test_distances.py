"""Coverage is measured with many more runs by benchmarks/diagnostics.py."""

import numpy as np
import pytest

import boltzspike as bs
from boltzspike import diagnostics
from boltzspike.errors import ValidationError
from boltzspike.theory.exact import exact_joint, exact_moments


def shares(rng, q, blocks=32, draws=500):
    """Joint distributions of independent blocks of independent draws."""
    return rng.multinomial(draws, q, size=blocks) / draws


def truths(q, p):
    return {
        "kl": np.sum(q * np.log(q / p)),
        "reverse_kl": np.sum(p * np.log(p / q)),
        "total_variation": np.abs(q - p).sum() / 2,
        "hellinger": np.sqrt(max(0, 1 - np.sum(np.sqrt(q * p)))),
    }


P = np.array([0.4, 0.3, 0.2, 0.1])
Q = np.array([0.38, 0.3, 0.19, 0.13])


@pytest.mark.parametrize("q", [P, Q], ids=["unbiased", "biased"])
def test_intervals_hold_the_true_distance(rng, q):
    truth, runs = truths(q, P), 200
    held = dict.fromkeys(truth, 0)
    for _ in range(runs):
        found = diagnostics.distances_of_blocks(shares(rng, q), P)
        for name, value in truth.items():
            one = getattr(found, name)
            held[name] += one.low <= value + 1e-12 and value <= one.high
    # at 95 %, fewer than 87 % of 200 has a chance of 1e-5; near zero the estimate is a square, and no normal one
    assert min(held.values()) > 0.87 * runs, held


def test_what_is_left_of_an_unbiased_sampler_is_zero_and_the_value_is_the_floor(rng):
    runs = [diagnostics.distances_of_blocks(shares(rng, P), P) for _ in range(200)]
    for name in ("kl", "reverse_kl", "total_variation"):
        value, floor, bias = (
            np.array([getattr(getattr(one, name), field) for one in runs]) for field in ("value", "floor", "bias")
        )
        spread = value.std(ddof=1) / np.sqrt(len(runs))
        assert abs(bias.mean()) < 4 * bias.std(ddof=1) / np.sqrt(len(runs))
        # the floor is itself estimated, and an expansion: 2 %
        assert abs(value.mean() - floor.mean()) < 4 * spread + 0.02 * floor.mean()


def test_they_agree_with_the_divergence_of_before(rng):
    per_block = shares(rng, Q)
    found, before = diagnostics.distances_of_blocks(per_block, P), diagnostics.kl_of_blocks(per_block, P)
    assert (found.kl.value, found.kl.floor, found.kl.bias) == pytest.approx(
        (before.value, before.floor, before.bias)
    )
    assert found.reverse_kl.value == pytest.approx(before.reverse)


def test_a_state_that_was_never_seen_leaves_the_reverse_divergence_without_an_upper_limit(rng):
    found = diagnostics.distances_of_blocks(shares(rng, np.array([0.5, 0.3, 0.2, 0.0])), P)
    assert found.reverse_kl.value == np.inf
    assert found.reverse_kl.high == np.inf
    assert np.isfinite([found.kl.bias, found.total_variation.bias, found.hellinger.bias]).all()


def test_a_state_that_only_one_block_saw_leaves_no_interval_of_the_reverse_divergence(rng):
    per_block = shares(rng, np.array([0.5, 0.3, 0.2, 0.0]))
    per_block[3] = P
    found = diagnostics.distances_of_blocks(per_block, P).reverse_kl
    assert np.isfinite(found.value)
    assert (found.low, found.high) == (0, np.inf)


def test_the_error_of_marginals_is_their_bias_and_not_their_scatter(rng):
    truth = np.array([0.5, 0.5, 0.5])
    noisy = [diagnostics.moment_error(truth + rng.normal(0, 0.05, (32, 3)), truth) for _ in range(50)]
    assert np.mean([one.value for one in noisy]) == pytest.approx(0.05 / np.sqrt(32), rel=0.2)
    assert np.mean([one.low for one in noisy]) < 0.2 * np.mean([one.value for one in noisy])
    biased = diagnostics.moment_error(truth + np.array([0.1, 0, 0]) + rng.normal(0, 0.05, (32, 3)), truth)
    assert biased.low < 0.1 / np.sqrt(3) < biased.high
    assert biased.low > 0.03


def test_an_extrapolation_leaves_what_is_systematic(neural, target):
    biases = np.array(target.biases)
    biases[0] += 0.3
    other = bs.BoltzmannMachine(weights=target.weights, biases=biases)
    p, q = exact_joint(target), exact_joint(other)
    for sampled, truth in ((target, 0.0), (other, np.sum(q * np.log(q / p)))):
        found = diagnostics.extrapolation(neural(sampled.weights, sampled.biases, draws=800), p)
        assert abs(found.systematic - truth) < 4 * found.error
        assert found.divergences[0] > found.divergences[-1] > truth
        assert found.slope > 0
        assert list(found.draws) == [100, 200, 400, 800]


def test_an_extrapolation_agrees_with_the_floor(neural, target):
    states = neural(target.weights, target.biases, draws=800, seed=5)
    p = exact_joint(target)
    by_floor, by_length = diagnostics.kl_divergence(states, p), diagnostics.extrapolation(states, p)
    assert abs(by_length.systematic - by_floor.bias) < 4 * np.hypot(by_length.error, by_floor.error)


def test_a_few_chains_have_no_extrapolation():
    with pytest.raises(ValidationError, match="extrapolation: needs 16 chains of 8 draws, got 4 of 100"):
        diagnostics.extrapolation(np.zeros((4, 100, 2), dtype=np.int8), np.full(4, 0.25))


def test_pairs_of_blocks_are_the_pairs(neural, target):
    states = neural(target.weights, target.biases, draws=100)
    above = np.triu_indices(5, 1)
    assert diagnostics.block_pairs(states).mean(axis=0) == pytest.approx(diagnostics.pairs(states)[above])
    assert exact_moments(target).pairs[above].shape == (10,)
