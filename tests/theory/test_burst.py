import dataclasses

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import BoltzspikeWarning, ValidationError
from boltzspike.theory.burst import Burst, burst_cycle, burst_response, burst_terms
from boltzspike.theory.membrane import leverage, membrane_statistics
from boltzspike.theory.passage import mean_passage_time


def burst_of(preset, mu):
    s = membrane_statistics(preset.neuron, preset.background)
    return Burst(
        mu=mu,
        sigma=np.full_like(mu, s.sigma),
        tau_eff=s.tau_eff,
        tau_syn=s.tau_syn,
        tau_refrac=preset.neuron.tau_refrac,
        v_thresh=preset.neuron.v_thresh,
        v_reset=preset.neuron.v_reset,
    )


S1_CHECK = [
    (-54.108, 0.00369, 0.00016),
    (-52.739, 0.05359, 0.00035),
    (-51.369, 0.28662, 0.00078),
    (-50.685, 0.48152, 0.00081),
    (-50.0, 0.68183, 0.00073),
    (-49.315, 0.83870, 0.00054),
    (-48.631, 0.93294, 0.00034),
    (-47.946, 0.97729, 0.00017),
]
"""v_rest, p(z=1) and its standard error from continuous-time simulation, measured beforehand (S1)."""


def test_the_response_of_s1_is_the_simulated_one_within_the_theorys_known_error():
    v_rest, p, error = np.array(S1_CHECK).T
    preset = bs.presets.S1
    s = membrane_statistics(preset.neuron, preset.background)
    mu = s.mu + (v_rest - preset.neuron.v_rest) * leverage(preset.neuron, preset.background, "v_rest")
    consistent = burst_response(burst_of(preset, mu))
    papers = burst_response(burst_of(preset, mu), start="theta")
    assert np.all(np.abs(consistent - p) < 0.0075 + 4 * error)
    assert np.all(np.abs(papers - p) < 0.0285 + 4 * error)
    assert np.max(np.abs(papers - p)) > 0.02


def test_in_the_limit_of_an_instant_membrane_the_response_at_threshold_is_known():
    burst = Burst(
        mu=np.array([0.0]), sigma=np.array([1.0]), tau_eff=1e-9, tau_syn=10.0, tau_refrac=10.0, v_thresh=0.0,
        v_reset=-1e-6,
    )  # fmt: skip
    assert burst_response(burst)[0] == pytest.approx(0.7878, abs=1e-4)


@pytest.mark.parametrize("start", ["theta", "theta_eff"])
@pytest.mark.parametrize("preset", [bs.presets.S1, bs.presets.S2], ids=["S1", "S2"])
def test_the_truncated_sum_of_the_paper_is_the_closed_form(preset, start):
    s = membrane_statistics(preset.neuron, preset.background)
    burst = burst_of(preset, preset.neuron.v_thresh + s.sigma * np.array([-3.0, -1.0, 0.0, 1.0]))
    terms = burst_terms(burst, 400, start=start)
    assert terms.p == pytest.approx(burst_response(burst, start=start), rel=1e-10)
    assert terms.probability.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-12)
    cycle = burst_cycle(burst, start=start)
    assert np.sum(terms.probability * np.arange(1, 401), axis=1) == pytest.approx(cycle.length, rel=1e-10)
    assert np.sum(terms.probability * terms.quiescence, axis=1) == pytest.approx(cycle.quiescence, rel=1e-10)
    assert cycle.isi_mean == pytest.approx(10.0 / cycle.p)


def test_the_terms_are_those_of_an_ornstein_uhlenbeck_path_simulated_spike_by_spike(rng):
    burst = burst_of(bs.presets.S2, np.array([-52.5]))
    terms = burst_terms(burst, 3)
    mu, sigma, theta = burst.mu[0], burst.sigma[0], burst.v_thresh
    r = np.exp(-burst.tau_refrac / burst.tau_syn)
    spread = sigma * np.sqrt(1 - r * r)
    paths = 400_000
    u = rng.normal(size=paths) * spread + mu + (burst.theta_eff[0] - mu) * r
    for n in range(3):
        ended = u <= theta
        share = ended.sum() / paths
        assert terms.probability[0, n] == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / paths))
        start = np.sort(u[ended])
        wait = mean_passage_time(start, burst.theta_eff[0], mu, sigma, burst.tau_syn)
        assert terms.quiescence[0, n] == pytest.approx(wait.mean(), abs=4 * wait.std() / np.sqrt(len(wait)))
        u = u[~ended]
        climb = burst.tau_eff * np.log((u - burst.v_reset) / (u - theta))
        assert terms.drift[0, n] == pytest.approx(climb.mean(), abs=4 * climb.std() / np.sqrt(len(climb)))
        u = rng.normal(size=len(u)) * spread + mu + (u - mu) * r


@pytest.mark.parametrize("tau_refrac", [0.5, 10.0, 300.0])
def test_probability_is_conserved_whatever_the_refractory_period(tau_refrac):
    burst = dataclasses.replace(burst_of(bs.presets.S1, np.array([-51.0, -50.0])), tau_refrac=tau_refrac)
    terms = burst_terms(burst, 4000)
    assert terms.probability.sum(axis=1) == pytest.approx(np.ones(2), abs=1e-9)


def test_a_slow_membrane_gets_a_warning_with_the_error():
    burst = dataclasses.replace(burst_of(bs.presets.S1, np.array([-50.0])), tau_eff=8.0)
    with pytest.warns(BoltzspikeWarning, match=r"off by .03 to .05"):
        burst_response(burst)


def test_far_from_threshold_the_response_is_zero_or_one_and_never_nan():
    p = burst_response(burst_of(bs.presets.S1, np.array([-400.0, -60.0, -40.0, 300.0])))
    assert p[0] == 0
    assert p[1] < 1e-12
    assert p[2] > 0.998
    assert np.all(np.isfinite(p))


def test_without_noise_the_theory_refuses():
    burst = Burst(
        mu=np.zeros(1), sigma=np.zeros(1), tau_eff=1.0, tau_syn=10.0, tau_refrac=10.0, v_thresh=0.0, v_reset=-1.0
    )
    with pytest.raises(ValidationError, match="sigma: must be > 0 mV"):
        burst_response(burst)
    with pytest.raises(ValidationError, match="start: must be 'theta' or 'theta_eff'"):
        burst_response(burst_of(bs.presets.S1, np.zeros(1)), start="reset")
