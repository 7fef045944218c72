import dataclasses

import pytest

import boltzspike as bs
from boltzspike.errors import UnsupportedFeature, ValidationError
from boltzspike.theory.design import design_background
from boltzspike.theory.membrane import membrane_statistics

S1, S2, S5A = bs.presets.S1.neuron, bs.presets.S2.neuron, bs.presets.S5a.neuron
UNEQUAL = dataclasses.replace(S1, tau_syn_exc=4.0)


@pytest.mark.parametrize("neuron", [S1, S2, UNEQUAL], ids=["S1", "S2", "unequal"])
@pytest.mark.parametrize(("sigma", "tau_eff", "shift"), [(1.0, 0.7, 0.0), (2.5, 0.2, -1.0)])
def test_the_background_has_the_wanted_moments(neuron, sigma, tau_eff, shift):
    background = design_background(neuron, sigma=sigma, tau_eff=tau_eff, mu=neuron.v_thresh + shift)
    s = membrane_statistics(neuron, background)
    assert s.sigma == pytest.approx(sigma)
    assert s.tau_eff == pytest.approx(tau_eff)
    assert s.mu == pytest.approx(neuron.v_thresh + shift)


@pytest.mark.parametrize("tau_syn_inh", [10.0, 3.0])
def test_currents_have_the_wanted_moments_at_the_given_rate(tau_syn_inh):
    neuron = dataclasses.replace(S5A, tau_syn_inh=tau_syn_inh)
    background = design_background(neuron, sigma=2.0, mu=-50.5, rate=5000.0)
    s = membrane_statistics(neuron, background)
    assert s.sigma == pytest.approx(2.0)
    assert s.mu == pytest.approx(-50.5)
    assert list(background.rates) == [5000.0, 5000.0]


@pytest.mark.parametrize(
    ("neuron", "values", "message"),
    [
        (S1, {"sigma": 1.0, "tau_eff": 2.0}, r"design.tau_eff: must be below tau_m = 1 ms"),
        (S1, {"sigma": 1.0}, r"design.tau_eff: must be > 0 ms, got None"),
        (S1, {"sigma": 1.0, "tau_eff": 0.9, "mu": -20.0}, r"design.mu: must be between -5.* and -4.* mV"),
        (
            S1,
            {"sigma": 9.0, "tau_eff": 0.7},
            r"design.sigma: must be below .* mV, where one input",
        ),
        (S1, {"sigma": -1.0, "tau_eff": 0.7}, r"design.sigma: must be > 0 mV"),
        (S5A, {"sigma": 1.0, "tau_eff": 0.1}, r"design.tau_eff: must be tau_m = 1 ms"),
        (S5A, {"sigma": 0.1, "mu": 0.0}, r"design.mu: must be such that"),
    ],
)
def test_what_can_not_be_reached_is_named_with_what_can(neuron, values, message):
    with pytest.raises(ValidationError, match=message):
        design_background(neuron, **values)


def test_alpha_kernels_are_refused():
    with pytest.raises(UnsupportedFeature, match="alpha kernels"):
        design_background(dataclasses.replace(S1, kernel="alpha"), sigma=1.0, tau_eff=0.7)


@pytest.mark.parametrize(("neuron", "tau_eff"), [(S1, 0.5), (S5A, None)], ids=["conductance", "current"])
def test_a_designed_neuron_has_the_wanted_alpha_and_fires_half_of_the_time(neuron, tau_eff):
    calibration = bs.design(neuron, alpha=0.8, tau_eff=tau_eff)
    assert calibration.alpha == pytest.approx(0.8, rel=3e-3)
    assert calibration.control_at(0.0) == pytest.approx(neuron.v_rest, abs=0.01)
    curve = bs.response(neuron, calibration.background, v_rest=[neuron.v_rest], method="simulation", duration=2e4)
    # one half is where the fitted logistic says; the response differs from it by up to max_deviation
    assert abs(curve.p[0] - 0.5) < calibration.max_deviation + 4 * curve.error[0]


def test_the_design_needs_one_aim():
    for values in ({}, {"alpha": 1.0, "sigma": 1.0}):
        with pytest.raises(ValidationError, match="given either alpha or sigma"):
            bs.design(S1, tau_eff=0.5, **values)
