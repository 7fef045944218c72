"""False alarms and power are measured with many more runs by benchmarks/diagnostics.py."""

import numpy as np
import pytest
from scipy import stats

from boltzspike import diagnostics
from boltzspike.errors import ValidationError
from boltzspike.theory.exact import exact_joint, exact_moments


def test_hotelling_with_one_dimension_is_the_t_test(rng):
    x = rng.normal(0.3, 1, (20, 1))
    found = diagnostics.mean_test(x, np.zeros(1))
    assert found.method == "Hotelling's T^2"
    t, p = stats.ttest_1samp(x[:, 0], 0)
    assert found.p_value == pytest.approx(p)
    assert found.deviation == pytest.approx(t)
    assert found.statistic == pytest.approx(t**2)


def test_hotelling_does_not_depend_on_the_coordinates(rng):
    x = rng.normal(0.2, 1, (30, 4))
    turned = rng.normal(size=(4, 4))
    found, other = (diagnostics.mean_test(y, np.zeros(4)) for y in (x, x @ turned))
    assert found.p_value == pytest.approx(other.p_value)


@pytest.mark.parametrize(("blocks", "dimensions"), [(32, 4), (32, 40), (16, 200)])
def test_p_values_of_a_true_hypothesis_are_uniform(rng, blocks, dimensions):
    mixed = rng.normal(size=(dimensions, dimensions))
    p = [
        diagnostics.mean_test(rng.normal(size=(blocks, dimensions)) @ mixed, np.zeros(dimensions), seed=k).p_value
        for k in range(200)
    ]
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_a_shift_is_found_with_more_dimensions_than_blocks(rng):
    x = rng.normal(size=(16, 200)) + 0.4
    found = diagnostics.mean_test(x, np.zeros(200))
    assert found.method == "sign flips"
    assert found.p_value < 1e-3


def test_what_is_constant_is_named_and_left_out(rng):
    x = np.column_stack([rng.normal(size=20), np.full(20, 0.3), rng.normal(size=20)])
    found = diagnostics.mean_test(x, np.zeros(3))
    assert found.constant == (1,)
    assert found.dimensions == 2
    assert found.worst in (0, 2)
    with pytest.raises(ValidationError, match="marginals: nothing changed between blocks"):
        diagnostics.mean_test(np.ones((20, 2)), np.zeros(2))


def test_dependent_quantities_are_no_singular_matrix(rng):
    x = rng.normal(size=(40, 2))
    found = diagnostics.mean_test(np.column_stack([x, x[:, :1]]), np.zeros(3))
    assert found.method == "sign flips"
    assert 0.001 < found.p_value <= 1


def test_the_corrected_g_is_the_plain_one_for_independent_draws(rng):
    p = np.array([0.4, 0.3, 0.2, 0.1])
    counts = rng.multinomial(1000, p, size=2000)
    found = diagnostics.joint_test(counts / 1000, p)
    total = counts.sum(axis=0)
    g = 2 * np.sum(total * np.log(total / (total.sum() * p)))
    assert found.statistic * total.sum() == pytest.approx(g)
    # the eigenvalues are known to 1/sqrt(blocks)
    assert found.p_value == pytest.approx(stats.chi2.sf(g, 3), abs=0.05)


def test_autocorrelation_alone_is_no_alarm_but_for_a_test_that_counts_draws(neural, target):
    p = exact_joint(target)
    corrected, naive = [], []
    for seed in range(60):
        states = neural(target.weights, target.biases, draws=200, seed=100 + seed)
        corrected.append(diagnostics.joint_test(diagnostics.block_joint(states), p).p_value)
        counts = diagnostics.joint(states) * states.shape[0] * states.shape[1]
        g = 2 * np.sum(counts[counts > 0] * np.log(counts[counts > 0] / (counts.sum() * p[counts > 0])))
        naive.append(stats.chi2.sf(g, 31))
    # at 5 %, 60 unbiased runs give more than 10 alarms with a chance of 2e-4
    assert np.sum(np.array(corrected) < 0.05) <= 10
    assert np.sum(np.array(naive) < 0.05) > 20


def test_rare_states_are_one_cell(neural, target):
    p = exact_joint(target)
    states = neural(target.weights, target.biases, draws=20)
    assert diagnostics.joint_test(diagnostics.block_joint(states), p).dimensions < 31


def test_a_state_that_the_target_forbids_is_proof():
    shares = np.tile([0.5, 0.5], (16, 1))
    found = diagnostics.joint_test(shares, np.array([1.0, 0.0]))
    assert found.p_value == 0
    assert found.worst == 1


def test_the_bound_is_the_worst_of_all_limits(rng):
    x = rng.normal(0, 0.01, (32, 3)) + np.array([0, 0.05, 0])
    found = diagnostics.bias_bound(x, np.zeros(3))
    mean, error = abs(x[:, 1].mean()), x[:, 1].std(ddof=1) / np.sqrt(32)
    assert found.worst == 1
    assert found.bound == pytest.approx(mean + stats.t.ppf(0.99, 31) * error)
    assert found.below(0.06)
    assert not found.below(0.05)
    wider = diagnostics.bias_bound(x, np.zeros(3), truth_error=0.01)
    assert wider.bound == pytest.approx(mean + stats.t.ppf(0.99, 31) * np.hypot(error, 0.01))


def test_the_bound_holds_as_often_as_it_says(rng):
    truth = np.array([0.02, 0.0])
    bounds = np.array([
        diagnostics.bias_bound(truth + rng.normal(0, 0.02, (16, 2)), np.zeros(2), confidence=0.9).bound
        for _ in range(500)
    ])  # fmt: skip
    # exceeded in at most 10 % of runs, and, with one large bias, not in far fewer; 4 standard errors
    assert np.mean(bounds < 0.02) < 0.1 + 4 * np.sqrt(0.09 / 500)
    assert np.mean(bounds < 0.02) > 0.02


def test_pairs_and_marginals_of_the_target_pass(neural, target):
    moments, states = exact_moments(target), neural(target.weights, target.biases, draws=2000)
    above = np.triu_indices(5, 1)
    pairs = diagnostics.mean_test(diagnostics.block_pairs(states), moments.pairs[above], of="pairs")
    assert pairs.p_value > 1e-3
    assert pairs.dimensions == 10


def test_the_degrees_of_freedom_are_those_of_the_eigenvalues(rng):
    """Two directions of variances 1 and 1/4: (sum lambda)^2 / sum lambda^2 = 1.25^2 / 1.0625."""
    p = np.full(4, 0.25)
    directions = 0.01 * np.array([[1, -1, 0, 0], [0, 0, 0.5, -0.5]])
    inverse = []
    for _ in range(300):
        found = diagnostics.joint_test(p + rng.normal(size=(64, 2)) @ directions, p)
        inverse.append(1 / float(found.method.split()[1]))
    # a ratio of estimates is biased by some 1/blocks
    truth = 1.0625 / 1.25**2
    assert abs(np.mean(inverse) - truth) < 4 * np.std(inverse) / np.sqrt(300) + 3 / 64
