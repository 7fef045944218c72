import dataclasses

import numpy as np
import pytest
from scipy.integrate import quad, trapezoid

import boltzspike as bs
from boltzspike.model.presets import S5a
from boltzspike.theory.membrane import effective_currents, free_autocorrelation, leverage, membrane_statistics
from boltzspike.theory.psp import psp


@pytest.mark.parametrize(
    ("name", "tau_eff", "sigma"),
    [("S1", 0.769, 1.053), ("S2", 0.813, 2.98), ("S5a", 1.0, 3.162)],
)
def test_tau_eff_and_sigma_are_those_of_the_published_table(name, tau_eff, sigma):
    preset = bs.presets.preset(name)
    statistics = membrane_statistics(preset.neuron, preset.background)
    assert statistics.tau_eff == pytest.approx(tau_eff, rel=1e-3)
    assert statistics.sigma == pytest.approx(sigma, rel=1e-3)


def test_effective_currents_keep_what_the_mean_conductance_sets():
    neuron = dataclasses.replace(bs.presets.S1.neuron, v_rest=-49.0, tau_syn_inh=6.0, i_offset=0.02)
    background = bs.PoissonBackground(rates=[2000.0, 900.0], weights=[0.001, -0.002])
    full = membrane_statistics(neuron, background)
    currents = membrane_statistics(*effective_currents(neuron, background))
    for name in ("mu", "sigma", "g_tot", "tau_eff", "tau_syn"):
        assert getattr(currents, name) == pytest.approx(getattr(full, name), rel=1e-12), name


@pytest.mark.parametrize("v_rest", [-52.5, -50.6, -48.5])
def test_effective_currents_respond_as_the_conductances_do(v_rest):
    """The density solver of each: in the high-conductance state the fluctuations of G move p by less than .001."""
    preset = bs.presets.S1
    neuron = dataclasses.replace(preset.neuron, v_rest=v_rest)
    currents, background = effective_currents(neuron, preset.background)
    p = bs.response(neuron, preset.background, v_rest=[neuron.v_rest]).p
    assert bs.response(currents, background, v_rest=[currents.v_rest]).p == pytest.approx(p, abs=1e-3)
    assert 0.02 < p[0] < 0.98


def test_effective_currents_are_of_conductances():
    with pytest.raises(bs.UnsupportedFeature, match="conductance-based neurons"):
        effective_currents(S5a.neuron, S5a.background)


def test_the_free_variance_is_that_of_campbells_theorem():
    neuron = dataclasses.replace(bs.presets.S1.neuron, tau_syn_exc=4.0, tau_syn_inh=15.0)
    background = bs.PoissonBackground(rates=[2000.0, 900.0, 400.0], weights=[0.001, -0.002, 0.003])
    statistics = membrane_statistics(neuron, background)
    variance = 0.0
    for rate, weight in zip([2.0, 0.9, 0.4], [0.001, -0.002, 0.003]):
        tau_syn = neuron.tau_syn_exc if weight > 0 else neuron.tau_syn_inh
        force = (neuron.e_rev_exc if weight > 0 else neuron.e_rev_inh) - statistics.mu
        power, _ = quad(
            lambda t, tau=tau_syn: psp(t, tau_syn=tau, tau_eff=statistics.tau_eff) ** 2, 0, 300, limit=200
        )
        variance += rate * (abs(weight) * force / neuron.c_m) ** 2 * power
    assert statistics.sigma_free == pytest.approx(np.sqrt(variance), rel=1e-6)


def test_alpha_and_exponential_kernels_have_the_moments_of_their_integrals():
    alpha = dataclasses.replace(bs.presets.S5a.neuron, kernel="alpha")
    background = bs.presets.S5a.background
    tau, rate, weight = 10.0, 1.0, 0.2
    area, _ = quad(lambda t: t / tau * np.exp(1 - t / tau), 0, np.inf)
    power, _ = quad(lambda t: (t / tau * np.exp(1 - t / tau)) ** 2, 0, np.inf)
    one_sided = bs.PoissonBackground(rates=[1000.0], weights=[weight])
    assert membrane_statistics(alpha, one_sided).mu == pytest.approx(-50 + rate * weight * area / 0.2)
    assert membrane_statistics(alpha, background).sigma == pytest.approx(np.sqrt(2 * rate * power) * weight / 0.2)


def test_leverage_is_the_derivative_of_the_mean_potential():
    for control in ("v_rest", "i_offset"):
        preset = bs.presets.S2
        moved = dataclasses.replace(preset.neuron, **{control: getattr(preset.neuron, control) + 0.5})
        difference = membrane_statistics(moved, preset.background).mu
        difference -= membrane_statistics(preset.neuron, preset.background).mu
        assert leverage(preset.neuron, preset.background, control) == pytest.approx(difference / 0.5)


def test_without_background_the_membrane_is_the_leak():
    silent = bs.PoissonBackground(rates=[], weights=[])
    statistics = membrane_statistics(bs.presets.S1.neuron, silent)
    assert statistics.sigma == 0
    assert statistics.tau_eff == pytest.approx(1.0)
    assert statistics.mu == pytest.approx(-50.0)


@pytest.mark.parametrize("tau_syn_inh", [10.0, 4.0, 1.0])
def test_the_free_autocorrelation_is_that_of_the_psps(tau_syn_inh):
    neuron = dataclasses.replace(S5a.neuron, tau_syn_inh=tau_syn_inh)  # tau_eff = 1: the last one is the limit
    background = S5a.background
    time, lag = np.arange(0, 200, 0.005), np.array([0.0, 0.5, 3.0, 20.0])
    covariance = np.zeros(len(lag))
    for rate, weight in zip(background.rates, background.weights):
        tau_syn = neuron.tau_syn_exc if weight > 0 else tau_syn_inh
        shape = weight * psp(time, tau_syn=tau_syn, tau_eff=1.0)
        shifted = [np.interp(time + one, time, shape, right=0.0) for one in lag]
        covariance += rate * np.array([trapezoid(shape * other, time) for other in shifted])
    found = free_autocorrelation(neuron, background, lag)
    assert found == pytest.approx(covariance / covariance[0], abs=1e-5)
