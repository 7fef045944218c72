import numpy as np
import pytest
from scipy.special import expit

import boltzspike as bs
from boltzspike import diagnostics
from boltzspike.diagnostics import bursts
from boltzspike.errors import ValidationError
from boltzspike.samples import Spikes
from boltzspike.theory.exact import all_states, exact_joint


def markov_states(rng, chains, draws, p, stay):
    """Independent units that keep their value with probability ``stay``, else draw anew."""
    z = np.empty((chains, draws, len(p)), dtype=np.int8)
    z[:, 0] = rng.random((chains, len(p))) < p
    for t in range(1, draws):
        fresh = rng.random((chains, len(p))) < p
        z[:, t] = np.where(rng.random((chains, len(p))) < stay, z[:, t - 1], fresh)
    return z


@pytest.mark.parametrize(("chains", "draws"), [(64, 400), (2, 12_800)])
@pytest.mark.parametrize("stay", [0.0, 0.8])
def test_standard_errors_are_the_spread_of_repeated_runs(rng, chains, draws, stay):
    p = np.array([0.2, 0.5])
    truth = np.sqrt(p * (1 - p) / (chains * draws) * (1 + stay) / (1 - stay))
    stated = np.mean(
        [diagnostics.marginals_error(markov_states(rng, chains, draws, p, stay)) for _ in range(8)], 0
    )
    # an error from b blocks is itself uncertain by 1/sqrt(2(b - 1)), here over 8 runs and 64 or 16 blocks
    assert stated == pytest.approx(truth, rel=4 * np.sqrt(1 / (2 * 15 * 8)) + 0.03)


def test_effective_samples_count_the_independent_ones(rng):
    z = markov_states(rng, 64, 2000, np.array([0.3, 0.3]), 0.8)
    assert diagnostics.effective_samples(z) == pytest.approx(64 * 2000 / 9, rel=0.6)


def test_a_unit_that_never_changed_has_no_effective_sample_size():
    z = np.zeros((16, 10, 2), dtype=np.int8)
    z[:, ::2, 1] = 1
    assert np.isnan(diagnostics.effective_samples(z)[0])


@pytest.mark.parametrize("stay", [0.0, 0.8])
def test_the_bias_of_an_unbiased_sampler_is_zero_within_its_error(rng, stay):
    p = np.array([0.2, 0.5, 0.7])
    states = all_states(3)
    target = np.prod(np.where(states == 1, p, 1 - p), axis=1)
    found = [diagnostics.kl_divergence(markov_states(rng, 64, 500, p, stay), target) for _ in range(12)]
    bias, error = np.array([d.bias for d in found]), np.array([d.error for d in found])
    tau = (1 + stay) / (1 - stay)
    if stay == 0:
        assert np.mean([d.floor for d in found]) == pytest.approx(7 / (2 * 64 * 500), rel=0.15)
    else:
        # single units have tau = 9, products of units less
        assert 0.3 < np.mean([d.floor for d in found]) / (7 * tau / (2 * 64 * 500)) < 1
    assert abs(bias.mean()) < 4 * bias.std(ddof=1) / np.sqrt(12)
    assert bias.std(ddof=1) == pytest.approx(error.mean(), rel=0.8)


def test_a_true_difference_is_found_and_not_absorbed_by_the_floor(rng):
    p, shifted = np.array([0.5, 0.5]), expit(np.array([0.2, 0.2]))
    target = np.full(4, 0.25)
    states = all_states(2)
    q = np.prod(np.where(states == 1, shifted, 1 - shifted), axis=1)
    truth = np.sum(q * np.log(q / target))
    found = diagnostics.kl_divergence(markov_states(rng, 64, 2000, shifted, 0.5), target)
    assert abs(found.bias - truth) < 4 * found.error
    assert found.bias > 10 * found.error
    assert found.reverse == pytest.approx(found.value, rel=0.1)
    assert p.shape == (2,)


def test_unseen_states_are_counted_and_make_the_reverse_divergence_infinite():
    z = np.zeros((16, 50, 2), dtype=np.int8)
    z[:, ::2, 1] = 1
    found = diagnostics.kl_divergence(z, np.array([0.4, 0.3, 0.2, 0.1]))
    assert found.unseen == 2
    assert found.unseen_probability == pytest.approx(0.3)
    assert found.reverse == np.inf
    assert np.isfinite(found.value)


def test_a_state_that_the_target_forbids_makes_the_divergence_infinite():
    z = np.zeros((16, 50, 1), dtype=np.int8)
    z[:, ::2] = 1
    assert diagnostics.kl_divergence(z, np.array([1.0, 0.0])).value == np.inf


def test_pairs_are_the_second_moments(rng):
    z = markov_states(rng, 20, 300, np.array([0.2, 0.6, 0.5]), 0.3)
    flat = z.reshape(-1, 3).astype(float)
    assert diagnostics.pairs(z) == pytest.approx(flat.T @ flat / len(flat))
    assert np.diagonal(diagnostics.pairs_error(z)) == pytest.approx(diagnostics.marginals_error(z), rel=1e-5)


def test_too_few_draws_for_an_error_are_refused():
    with pytest.raises(ValidationError, match="too few draws for a standard error"):
        diagnostics.marginals_error(np.zeros((1, 3, 2), dtype=np.int8))


def test_the_target_must_have_a_probability_for_every_state(random_machine):
    with pytest.raises(ValidationError, match=r"target: must be of 2\^3 probabilities"):
        diagnostics.kl_divergence(np.zeros((16, 4, 3), dtype=np.int8), exact_joint(random_machine(2)))
    assert bs.diagnostics is diagnostics


def spike_train(steps, chain=0):
    steps = np.asarray(steps)
    return Spikes(
        chain=np.full(len(steps), chain), unit=np.zeros(len(steps), dtype=int), step=steps,
        before=np.full((chain + 1, 1), -1000), refractory_steps=np.array([10]), start=0, stop=1000,
    )  # fmt: skip


def test_bursts_are_cut_at_pauses_and_the_first_and_last_are_left_out():
    # bursts of 2 | 1, 3, 1 | 2 spikes; the pauses after the three whole ones are 40 - 10, 20 - 10, 30 - 10 steps
    train = spike_train([0, 10, 110, 150, 160, 171, 191, 221, 231])
    found = bursts(train, dt=0.5, longest_interval=5.5)
    assert found.bursts == 3
    assert found.probability == pytest.approx([2 / 3, 0, 1 / 3])
    assert found.pause[[0, 2]] == pytest.approx([12.5, 5.0])
    assert np.isnan(found.pause[1])
    assert np.isnan(found.pause_error).all()
    assert len(found.intervals) == 8


def test_a_train_without_a_whole_burst_has_no_burst_statistics():
    with pytest.raises(ValidationError, match="bursts: needs a burst between two pauses, got 2 spikes in 1 chain"):
        bursts(spike_train([0, 10]), dt=0.5, longest_interval=5.5)
