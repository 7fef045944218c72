import dataclasses

import numpy as np
import pytest

from boltzspike.errors import UnsupportedFeature, ValidationError
from boltzspike.theory.exact import all_states, exact_joint
from boltzspike.training import ExactSampler, LayerGibbs, Settings, full, restricted, train
from boltzspike.training.likelihood import log_likelihood
from boltzspike.training.natural import natural_step
from boltzspike.training.samplers import FREE
from boltzspike.translation.tuned import RIDGE


def bars_and_stripes(n):
    rows = all_states(n).astype(int)
    bars, stripes = np.repeat(rows[:, None, :], n, axis=1), np.repeat(rows[:, :, None], n, axis=2)
    return np.unique(np.concatenate([bars, stripes]).reshape(-1, n * n), axis=0)


class Enumerated(ExactSampler):
    """Exact statistics, and the covariance from states as often as they are likely."""

    def free(self, model, state, key, *, steps, initial=None):
        statistics, state = super().free(model, state, key, steps=steps, initial=initial)
        often = np.round(exact_joint(model.machine()) * 1e4).astype(int)
        return dataclasses.replace(statistics, states=np.repeat(all_states(4), often, axis=0)), state


def test_the_natural_step_is_the_inverse_covariance_times_the_gradient():
    model = full(4, 0, scale=0.7, seed=3)
    p, z = exact_joint(model.machine()), all_states(4).astype(float)
    upper = np.triu_indices(4, 1)
    statistics = np.concatenate([z, z[:, upper[0]] * z[:, upper[1]]], axis=1)
    repeated = np.repeat(np.arange(16), np.round(p * 1e5).astype(int))
    covariance = np.cov(statistics[repeated].T, ddof=0)
    gradient = {"weights": np.zeros((4, 4)), "biases": np.array([0.01, 0, 0, -0.02])}
    gradient["weights"][0, 1] = gradient["weights"][1, 0] = 0.03
    vector = np.concatenate([gradient["biases"], gradient["weights"][upper]])
    expected = 0.4 * np.linalg.solve(covariance + RIDGE * np.eye(10), vector)
    states = all_states(4)[repeated]
    free = dataclasses.replace(model.statistics(states.astype(float)), states=states)
    step = natural_step(model, free, gradient, 0.4)
    np.testing.assert_allclose(step["biases"], expected[:4], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(step["weights"][upper], expected[4:], rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(step["weights"], step["weights"].T)


def test_training_the_biases_alone_brings_the_marginals_at_the_weights_as_they_are():
    """Exact gradients: at the maximum of the likelihood in the biases the marginals are the data's."""
    model = full(4, 0, scale=0.7, seed=3)
    z = all_states(4)
    data = np.repeat(z, np.random.default_rng(2).integers(1, 9, len(z)), axis=0)
    for optimizer, epochs in (("natural", 40), ("sgd", 2000)):
        settings = Settings(
            epochs=epochs, batch_size=len(data), learning_rate=0.7, optimizer=optimizer, parameters="biases",
            average=0.5, measure_every=epochs,
        )  # fmt: skip
        trained = train(model, data, Enumerated(), settings).model
        np.testing.assert_allclose(trained.weights, model.weights, rtol=1e-12)
        marginals = exact_joint(trained.machine()) @ z
        np.testing.assert_allclose(marginals, data.mean(axis=0), atol=1e-3)
    with pytest.raises(ValidationError, match=r"Settings.weight_decay: must be 0 with parameters='biases'"):
        Settings(parameters="biases", weight_decay=0.1)
    with pytest.raises(ValidationError, match=r"Settings.parameters: must be 'all' or 'biases', got 'weights'"):
        Settings(parameters="weights")


def test_sixty_natural_updates_learn_what_takes_a_thousand_others():
    data = bars_and_stripes(3)
    model = restricted(9, 8, data=data, scale=0.1, seed=1)
    settings = Settings(epochs=60, batch_size=14, learning_rate=0.5, optimizer="natural", weight_decay=1e-4)
    done = train(model, data, ExactSampler(2048), settings)
    assert -np.log(14) - log_likelihood(done.model, data).value < 0.06


def test_a_natural_training_by_chains_goes_on_bit_for_bit(tmp_path):
    data = bars_and_stripes(2)
    model = restricted(4, 3, data=data, seed=2)
    settings = Settings(epochs=4, batch_size=6, chains=200, optimizer="natural", learning_rate=0.3)
    whole = train(model, data, LayerGibbs(), settings)
    train(model, data, LayerGibbs(), dataclasses.replace(settings, epochs=2), checkpoint=tmp_path / "c.npz")
    rest = train(model, data, LayerGibbs(), settings, resume=tmp_path / "c.npz")
    np.testing.assert_array_equal(rest.model.weights, whole.model.weights)


def test_the_natural_gradient_says_what_it_needs():
    data = bars_and_stripes(2)
    settings = Settings(batch_size=6, optimizer="natural")
    with pytest.raises(UnsupportedFeature, match="keeps the free phase's states"):
        train(restricted(4, 3), data, ExactSampler(), settings)
    with pytest.raises(ValidationError, match="at least the 19 parameters, for optimizer='natural', got 6"):
        train(restricted(4, 3), data, LayerGibbs(), settings)
    with pytest.raises(ValidationError, match=r"ExactSampler.samples: must be >= 0, got -1"):
        ExactSampler(-1)


def test_the_states_of_the_exact_sampler_have_its_statistics():
    model = restricted(4, 3, scale=1.0, seed=3)
    found, _ = ExactSampler(20000).free(model, {}, (5, 0, FREE), steps=1)
    of_states = model.statistics(found.states.astype(float))
    np.testing.assert_allclose(of_states.couplings, found.couplings, atol=4.5 * 0.5 / np.sqrt(20000))
