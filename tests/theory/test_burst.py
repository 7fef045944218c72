import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError
from boltzspike.theory.burst import Burst, burst_moments, burst_response
from boltzspike.theory.membrane import leverage, membrane_statistics


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


def test_the_closed_form_is_the_sum_over_bursts(rng):
    """Sum P_n, T_n and tau_b_n burst by burst, on a fine grid, against the closed form."""
    burst = burst_of(bs.presets.S2, np.array([-52.5]))
    length, drift, quiescence = burst_moments(burst)
    mu, sigma, theta = burst.mu[0], burst.sigma[0], burst.v_thresh
    r = np.exp(-burst.tau_refrac / burst.tau_syn)
    spread = sigma * np.sqrt(1 - r * r)
    u = rng.normal(size=400_000) * spread + mu + (burst.theta_eff[0] - mu) * r
    n_spikes, climbs = np.ones(len(u)), np.zeros(len(u))
    alive = u > theta
    while alive.any():
        n_spikes[alive] += 1
        climbs[alive] += burst.tau_eff * np.log((u[alive] - burst.v_reset) / (u[alive] - theta))
        u[alive] = rng.normal(size=alive.sum()) * spread + mu + (u[alive] - mu) * r
        alive &= u > theta
    from boltzspike.theory.passage import mean_passage_time

    wait = mean_passage_time(np.sort(u), burst.theta_eff[0], mu, sigma, burst.tau_syn)
    for closed, sampled in ((length[0], n_spikes), (drift[0], climbs), (quiescence[0], wait)):
        assert closed == pytest.approx(sampled.mean(), abs=4 * sampled.std() / np.sqrt(len(u)))


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
