import dataclasses

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import BoltzspikeWarning, UnsupportedFeature, ValidationError
from boltzspike.theory.predict import METHODS, predict

S1 = bs.presets.S1
MU = np.array([-52.0, -50.5, -49.0])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_probabilities_that_rise_with_the_mean_potential(method):
    p, error = predict(S1.neuron, S1.background, MU, method=method)
    assert p.shape == error.shape == (3,)
    assert np.all((p >= 0) & (p <= 1))
    assert np.all(np.diff(p) >= 0)


@pytest.mark.parametrize("method", ["burst", "burst-paper", "adiabatic", "erf", "siegert-coloured"])
def test_a_closed_form_is_within_its_stated_error_of_the_density(method):
    exact, grid_error = predict(S1.neuron, S1.background, MU)
    p, error = predict(S1.neuron, S1.background, MU, method=method)
    assert np.all(np.abs(p - exact) < error + grid_error)


@pytest.mark.parametrize("method", METHODS)
def test_without_noise_every_method_is_the_deterministic_neuron(method):
    neuron = dataclasses.replace(S1.neuron, v_reset=-60.0)
    silent = bs.PoissonBackground(rates=[0.0], weights=[0.001])
    p, _ = predict(neuron, silent, np.array([-51.0, -45.0]), method=method)
    assert p == pytest.approx([0.0, 10 / (10 + 1.0 * np.log(15 / 5))])


def test_two_synaptic_time_constants_are_beyond_the_burst_theory_and_it_says_by_how_much():
    neuron = dataclasses.replace(S1.neuron, tau_syn_exc=5.0)
    with pytest.warns(BoltzspikeWarning, match=r"off by up to 0.11"):
        p, error = predict(neuron, S1.background, MU, method="burst")
    exact, _ = predict(neuron, S1.background, MU)
    assert np.all(np.abs(p - exact) < error)


def test_unknown_methods_and_alpha_kernels_are_refused():
    with pytest.raises(ValidationError, match="no response method 'dencity'; did you mean 'density'"):
        predict(S1.neuron, S1.background, MU, method="dencity")
    alpha = dataclasses.replace(S1.neuron, kernel="alpha")
    for method in ("density", "burst"):
        with pytest.raises(UnsupportedFeature, match="method='simulation'"):
            predict(alpha, S1.background, MU, method=method)


@pytest.mark.parametrize("method", ["density", "burst", "siegert-coloured"])
def test_drawn_refractory_periods_are_refused_where_the_theory_needs_a_fixed_one(method):
    neuron = dataclasses.replace(S1.neuron, refractory=bs.RandomRefractory(sd=2.0))
    with pytest.raises(UnsupportedFeature, match=f"the {method} response needs a fixed refractory period"):
        predict(neuron, S1.background, MU, method=method)
    assert np.array_equal(
        predict(neuron, S1.background, MU, method="siegert")[0],
        predict(S1.neuron, S1.background, MU, method="siegert")[0],
    )


def test_without_noise_the_grid_rounds_the_climb_up_to_whole_steps():
    silent = bs.PoissonBackground(rates=[], weights=[])
    neuron = dataclasses.replace(S1.neuron, v_reset=-51.0)
    mu = np.array([-51.0, -49.0])
    p, _ = predict(neuron, silent, mu, dt=0.1)
    # 1 ms ln 2 = .693 ms takes seven steps, of which the refractory period holds one
    assert p == pytest.approx([0.0, 10.0 / 10.6])
