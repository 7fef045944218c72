import numpy as np
import pytest
from scipy.special import logsumexp

from boltzspike.errors import UnsupportedFeature, ValidationError
from boltzspike.theory.exact import all_states, exact_joint, exact_moments
from boltzspike.theory.sampling_likelihood import best_beta, sampling_likelihood
from boltzspike.training import full, restricted
from boltzspike.training.likelihood import (
    annealed,
    base_of,
    independent_log_likelihood,
    log_likelihood,
    log_partition,
    reverse_bound,
)


@pytest.mark.parametrize("sizes", [(14, 5), (5, 14), (3, 2)])
def test_the_exact_log_partition_is_that_of_enumeration(sizes):
    model = restricted(*sizes, scale=0.8, seed=4)
    exact = exact_moments(model.machine().to_boltzmann(), method="enumeration").log_z
    found = log_partition(model)
    assert found.value == pytest.approx(exact, abs=1e-9)
    assert found.method == "smaller layer"
    assert found.error == 0


def test_the_exact_log_likelihood_is_that_of_enumeration(rng):
    model = restricted(6, 4, scale=1.0, seed=2)
    data = rng.integers(0, 2, (20, 6))
    p = exact_joint(model.machine()).reshape(64, 16).sum(axis=1)
    expected = np.log(p[data @ (1 << np.arange(6)[::-1])]).mean()
    assert log_likelihood(model, data).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("base", [None, "data"])
def test_annealed_importance_sampling_agrees_with_the_exact_sum_within_its_error(base):
    model = restricted(20, 12, scale=0.7, seed=1)
    log_z = log_partition(model, method="exact").value
    start = None if base is None else base_of(np.random.default_rng(3).random((50, 20)) < 0.3)
    found = log_partition(model, method="ais", base=start, runs=300, betas=500, seed=2)
    assert found.error < 0.05
    assert abs(found.value - log_z) < 4 * found.error
    assert found.effective_runs > 100
    # the error is that of repeated estimates; 4 of its own standard errors, 1/sqrt(2 (20 - 1))
    again = [log_partition(model, method="ais", base=start, runs=200, betas=60, seed=s) for s in range(20)]
    spread, told = np.std([a.value for a in again], ddof=1), np.mean([a.error for a in again])
    assert abs(spread / told - 1) < 4 / np.sqrt(38)


def test_bounds_from_both_ends_enclose_the_log_partition():
    model = restricted(12, 10, scale=1.2, seed=1)
    log_z = log_partition(model, method="exact").value
    p = exact_joint(model.machine()).reshape(2**12, -1).sum(axis=1)
    rng = np.random.default_rng(0)
    samples = all_states(12)[rng.choice(2**12, size=2000, p=p)]
    # few temperatures: both bounds are loose, and lie on their sides by far more than their errors
    below = annealed(model, runs=2000, betas=10, seed=1)
    above, error = reverse_bound(model, samples, betas=10, seed=1)
    assert below.mean() + 4 * below.std() / np.sqrt(2000) < log_z < above - 4 * error
    above, error = reverse_bound(model, samples[:1000], betas=500, seed=1)
    assert abs(above - log_z) < 0.02


def test_the_partition_function_says_what_it_can_not_do():
    with pytest.raises(UnsupportedFeature, match="likelihood: of RBMs"):
        log_partition(full(3, 2))
    with pytest.raises(ValidationError, match="at most 25 units, got 30"):
        log_partition(restricted(30, 30), method="exact")
    with pytest.raises(ValidationError, match="method"):
        log_partition(restricted(3, 3), method="guess")
    assert log_partition(restricted(30, 30), runs=5, betas=5).method.startswith("AIS")


def test_independent_units_have_the_likelihood_of_their_means(rng):
    p = np.array([0.2, 0.5, 0.9])
    train, test = (rng.random((size, 3)) < p for size in (20000, 20000))
    expected = (p * np.log(p) + (1 - p) * np.log(1 - p)).sum()
    assert independent_log_likelihood(train, test) == pytest.approx(expected, abs=4 * 0.7 / np.sqrt(20000))


def test_the_sampling_likelihood_is_a_normalised_density_below_that_of_the_sampled_law(rng):
    model = restricted(6, 3, scale=1.5, seed=1)
    p = exact_joint(model.machine()).reshape(64, -1).sum(axis=1)
    states = all_states(6)
    samples = states[rng.choice(64, size=400, p=p)]
    log_p = sampling_likelihood(samples, states, beta=0.9)
    assert logsumexp(log_p) == pytest.approx(0, abs=1e-9)
    assert p @ log_p < p @ np.log(p)
    one_mode = sampling_likelihood(np.repeat(samples[:1], 400, axis=0), states, beta=0.9)
    assert p @ one_mode < p @ log_p - 0.5


def test_the_best_beta_is_that_of_the_validation_data(rng):
    samples = rng.integers(0, 2, (50, 8))
    noisy = samples ^ (rng.random(samples.shape) < 0.15)
    assert best_beta(samples, samples) == 0.99
    assert best_beta(samples, noisy) in (0.8, 0.85, 0.9)
    with pytest.raises(ValidationError, match="beta"):
        sampling_likelihood(samples, samples, beta=0.5)
    with pytest.raises(ValidationError, match="columns"):
        sampling_likelihood(samples, samples[:, :3], beta=0.9)
