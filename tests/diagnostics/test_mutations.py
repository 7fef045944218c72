"""Samplers with one line wrong: the tests against the target must see each."""

import numpy as np
import pytest
from scipy.special import expit

from boltzspike import diagnostics
from boltzspike.theory.exact import exact_joint, exact_moments


def p_values(states, target):
    moments, above = exact_moments(target), np.triu_indices(target.n_units, 1)
    return {
        "marginals": diagnostics.mean_test(
            diagnostics.blocks(states).mean(axis=1, dtype=float), moments.marginals
        ).p_value,
        "pairs": diagnostics.mean_test(diagnostics.block_pairs(states), moments.pairs[above], of="pairs").p_value,
        "joint": diagnostics.joint_test(diagnostics.block_joint(states), exact_joint(target)).p_value,
        "temperature": diagnostics.pseudo_temperature(states, target).p_value,
    }


def shared_noise(target, rng, share, chains=64, draws=1500):
    """Gibbs sampling in which unit 1 takes the random number of unit 0 in a share of the sweeps."""
    weights, biases = np.asarray(target.weights), np.asarray(target.biases)
    z = np.zeros((chains, len(biases)), dtype=np.int8)
    states = np.empty((chains, draws, len(biases)), dtype=np.int8)
    for t in range(-50, draws):
        numbers = rng.random((chains, len(biases)))
        numbers[:, 1] = np.where(rng.random(chains) < share, numbers[:, 0], numbers[:, 1])
        for k in range(len(biases)):
            z[:, k] = numbers[:, k] < expit(z @ weights[k] + biases[k])
        if t >= 0:
            states[:, t] = z
    return states


def test_nothing_wrong_raises_no_alarm(neural, target, rng):
    assert min(p_values(neural(target.weights, target.biases, draws=2000), target).values()) > 1e-3
    assert min(p_values(shared_noise(target, rng, 0.0), target).values()) > 1e-3


def test_a_refractory_period_one_step_short_is_seen(neural, target):
    # spikes as with 20 steps, at 1 for 19: the chance of a spike is sigma(u - ln tau)
    biases = target.biases + np.log(19 / 20)
    found = p_values(neural(target.weights, biases, draws=4000, tau=19), target)
    assert min(found["marginals"], found["joint"]) < 1e-6


def test_asymmetric_weights_are_seen(neural, target):
    weights = np.array(target.weights)
    weights[0, 1] += 0.3
    found = p_values(neural(weights, target.biases, draws=1000), target)
    assert min(found["marginals"], found["joint"]) < 1e-6


@pytest.mark.parametrize("unit", [0, 3])
def test_a_bias_off_by_a_tenth_is_seen(neural, target, unit):
    biases = np.array(target.biases)
    biases[unit] += 0.1
    found = p_values(neural(target.weights, biases, draws=2000), target)
    assert found["marginals"] < 1e-4


def test_noise_that_two_units_share_is_seen_in_their_pairs(target, rng):
    found = p_values(shared_noise(target, rng, 0.1), target)
    assert found["pairs"] < 1e-4
    assert found["joint"] < 1e-4


def test_samples_that_are_too_hot_are_seen_and_measured(neural, target):
    states = neural(0.9 * target.weights, 0.9 * target.biases, draws=2000)
    assert p_values(states, target)["temperature"] < 1e-4
    found = diagnostics.pseudo_temperature(states, target)
    assert abs(found.beta - 0.9) < 4 * found.error
