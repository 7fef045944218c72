import dataclasses

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import CalibrationError, ValidationError
from boltzspike.theory.membrane import membrane_statistics

S1 = bs.presets.S1


def test_s1_has_the_published_logistic(s1_calibration):
    assert s1_calibration.u0 == pytest.approx(-50.48, abs=s1_calibration.u0_error + 0.005)
    assert s1_calibration.alpha == pytest.approx(0.600, abs=s1_calibration.alpha_error + 0.0005)
    assert s1_calibration.u0_error < 0.01


def test_the_biased_neuron_sits_where_the_logistic_says(s1_calibration):
    for bias in (-2.0, 0.0, 1.5):
        mu = membrane_statistics(s1_calibration.biased(bias), S1.background).mu
        assert mu == pytest.approx(s1_calibration.u0 + s1_calibration.alpha * bias)


@pytest.mark.parametrize("preset", [bs.presets.S2, bs.presets.thesis], ids=["S2", "thesis"])
def test_either_control_gives_the_same_logistic_of_the_mean_potential(preset):
    by_v, by_i = (bs.calibrate(preset.neuron, preset.background, control=c) for c in ("v_rest", "i_offset"))
    assert by_v.u0 == pytest.approx(by_i.u0)
    assert by_v.alpha == pytest.approx(by_i.alpha)


def test_theory_and_simulation_agree_within_their_errors(s1_calibration):
    simulated = bs.calibrate(S1.neuron, S1.background, method="simulation", points=31, duration=2e4, chains=16)
    for field in ("u0", "alpha"):
        error = np.hypot(getattr(simulated, field + "_error"), getattr(s1_calibration, field + "_error"))
        assert abs(getattr(simulated, field) - getattr(s1_calibration, field)) < 4 * error
    assert simulated.dt == 0.1
    assert s1_calibration.method == "density"
    assert s1_calibration.dt is None


def test_the_response_of_a_calibrated_neuron_is_its_logistic_within_the_stated_deviation(s1_calibration):
    biases = np.array([-2.0, 0.0, 2.0])
    curve = bs.response(
        S1.neuron, S1.background, v_rest=[s1_calibration.control_at(b) for b in biases], method="simulation",
        duration=2e4,
    )  # fmt: skip
    expected = 1 / (1 + np.exp(-biases))
    tolerance = s1_calibration.max_deviation + 0.001 + 4 * curve.error
    assert np.all(np.abs(curve.p - expected) < tolerance)
    assert curve.rate == pytest.approx(curve.p * 100)


def test_a_neuron_without_noise_can_not_be_calibrated():
    for background in (
        bs.PoissonBackground(rates=[], weights=[]),
        bs.PoissonBackground(rates=[0.0, 0.0], weights=[0.001, -0.001]),
        bs.PoissonBackground(rates=[3000.0], weights=[0.0]),
    ):
        with pytest.raises(CalibrationError, match="gives no noise"):
            bs.calibrate(S1.neuron, background)


def test_a_curve_that_never_reaches_one_half_is_refused():
    from boltzspike.calibration import calibration_from_curve

    curve = bs.response(S1.neuron, S1.background, v_rest=np.linspace(-58, -53, 9))
    with pytest.raises(CalibrationError, match="never fires often enough: p"):
        calibration_from_curve(curve, S1.neuron, S1.background, control="v_rest", version="")


def test_the_verdict_names_the_regime_and_what_to_change():
    sampling = bs.calibrate(S1.neuron, S1.background).verdict
    assert sampling.regime == "sampling"
    thesis = bs.presets.thesis
    useless = bs.calibrate(thesis.neuron, thesis.background, control="v_rest").verdict
    assert "bias it by current" in str(useless)
    assert "bias it by current" not in str(
        bs.calibrate(thesis.neuron, thesis.background, control="i_offset").verdict
    )
    slow = dataclasses.replace(
        bs.presets.S2.neuron, v_thresh=-50.0, v_reset=-60.0, tau_syn_exc=5.0, tau_syn_inh=5.0, tau_refrac=2.0,
        e_rev_inh=-80.0,
    )  # fmt: skip
    background = bs.PoissonBackground(rates=[1000.0, 1000.0], weights=[0.0006, -0.001])
    verdict = bs.calibrate(slow, background).verdict
    assert verdict.regime == "not sampling"
    assert "membrane is too slow" in str(verdict)


def test_many_neurons_are_calibrated_as_each_alone_and_progress_is_told():
    neurons = [dataclasses.replace(S1.neuron, v_reset=v) for v in (-50.001, -50.5, -51.0)]
    told = []
    found = bs.calibrate_many(
        neurons, S1.background, points=9, processes=2, progress=lambda *done: told.append(done)
    )
    assert found == [bs.calibrate(neuron, S1.background, points=9) for neuron in neurons]
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_the_neuron_of_many_that_can_not_be_calibrated_is_named():
    silent = bs.PoissonBackground(rates=[], weights=[])
    with pytest.raises(CalibrationError, match="calibrate_many: neuron 1: calibrate: the background"):
        bs.calibrate_many([S1.neuron] * 2, [S1.background, silent], points=9, processes=1)
    with pytest.raises(ValidationError, match="background: must be one, or 2, got '1'"):
        bs.calibrate_many([S1.neuron] * 2, [silent])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "siegfried"}, "no response method 'siegfried'"),
        ({"control": "v_reset"}, "control: must be one of v_rest, i_offset, balance, got 'v_reset'"),
        ({"points": 2}, "points: must be at least 5, got 2"),
    ],
)
def test_bad_options_are_named(values, message):
    with pytest.raises(ValidationError, match=message):
        bs.calibrate(S1.neuron, S1.background, **values)


def test_a_response_needs_one_control_variable():
    for values in ({}, {"v_rest": [-50.0], "i_offset": [0.0]}):
        with pytest.raises(ValidationError, match="given one of v_rest, i_offset and balance"):
            bs.response(S1.neuron, S1.background, **values)
    with pytest.raises(ValidationError, match="v_rest: must be an array of finite numbers"):
        bs.response(S1.neuron, S1.background, v_rest=[np.nan])


@pytest.mark.parametrize("name", ["S1", "S2", "S5a"])
def test_the_balance_of_the_background_is_a_control_like_any_other(name):
    preset = bs.presets.preset(name)
    by_balance, by_current = (
        bs.calibrate(preset.neuron, preset.background, control=control, points=9)
        for control in ("balance", "i_offset")
    )
    # sigma changes along the curve, by 3 % at most in these sets
    assert abs(by_balance.u0 - by_current.u0) < 0.03 * by_current.alpha
    assert by_balance.alpha == pytest.approx(by_current.alpha, rel=0.03)
    tau_eff = membrane_statistics(preset.neuron, preset.background).tau_eff
    for bias in (-2.0, 0.0, 1.5):
        assert by_balance.biased(bias) == preset.neuron
        statistics = membrane_statistics(preset.neuron, by_balance.background_at(bias))
        assert statistics.mu == pytest.approx(by_balance.u0 + by_balance.alpha * bias)
        assert statistics.tau_eff == pytest.approx(tau_eff)
    assert by_balance.u0_control == by_balance.control_at(0.0)


def test_a_network_biased_by_the_balance_samples_as_one_biased_by_the_leak():
    machine = bs.BoltzmannMachine(weights=[[0.0, 0.5], [0.5, 0.0]], biases=[-1.0, 0.5])
    results = [
        bs.sample(
            machine, calibration=bs.calibrate(S1.neuron, S1.background, control=control, points=9), rule="psp",
            duration=2e4,
        )
        for control in ("v_rest", "balance")
    ]  # fmt: skip
    rates = [np.asarray(background.rates) for background in results[1].network.backgrounds]
    assert np.all(rates[1] != rates[0])
    difference = results[0].marginals() - results[1].marginals()
    error = np.hypot(results[0].marginals_error(), results[1].marginals_error())
    assert np.all(np.abs(difference) < 0.002 + 4 * error)


def test_a_calibration_by_balance_survives_a_file(tmp_path):
    calibration = bs.calibrate(S1.neuron, S1.background, control="balance", points=9)
    calibration.save(tmp_path / "c.json")
    assert bs.read(tmp_path / "c.json") == calibration


def test_the_balance_names_what_it_can_not_reach():
    calibration = bs.calibrate(S1.neuron, S1.background, control="balance", points=9)
    low, high = calibration.bias_range
    calibration.background_at(0.999 * high)
    with pytest.raises(ValidationError, match=r"balance: must be between -0.5 .* and 0.5 .*, got"):
        calibration.background_at(1.001 * low)
    one_sided = bs.PoissonBackground(rates=[3000.0], weights=[0.001])
    with pytest.raises(ValidationError, match="balance: must be of a background with excitation and inhibition"):
        bs.calibrate(S1.neuron, one_sided, control="balance")
    far = dataclasses.replace(S1.neuron, v_rest=-80.0)
    with pytest.raises(CalibrationError, match="the balance moves the mean potential from .* move v_rest"):
        bs.calibrate(far, S1.background, control="balance")
    weak = bs.PoissonBackground(rates=[300.0, 300.0], weights=[0.002, -0.002])
    verdict = bs.calibrate(S1.neuron, weak, control="balance", points=9).verdict
    assert "sigma goes from" in str(verdict)


def test_with_a_dt_the_density_holds_for_the_grid_of_the_engine():
    preset = bs.presets.S2  # reset below threshold: the climb takes a step or so
    fitted = bs.calibrate(preset.neuron, preset.background, control="i_offset", dt=0.1, points=9)
    x = [fitted.control_at(4.0)]
    simulated = bs.response(
        preset.neuron, preset.background, i_offset=x, method="simulation", dt=0.1, duration=5e4, chains=64
    )
    on_grid, continuous = (bs.response(preset.neuron, preset.background, i_offset=x, dt=dt) for dt in (0.1, None))
    assert abs(simulated.p - on_grid.p)[0] < 4 * simulated.error[0] + on_grid.error[0] + 0.0003
    assert (simulated.p - continuous.p)[0] > 10 * simulated.error[0]
    assert (fitted.dt, on_grid.dt, continuous.dt) == (0.1, 0.1, None)
    machine = bs.BoltzmannMachine(weights=[[0.0]], biases=[0.0])
    with pytest.raises(ValidationError, match=r"dt: must be 0.1 ms, that of the calibration, got 0.05"):
        bs.sample(machine, calibration=fitted, dt=0.05)
    with pytest.raises(ValidationError, match=r"density_response.dt: must be in 0 .. tau_refrac/10 = 1 ms, got 2"):
        bs.response(preset.neuron, preset.background, i_offset=x, dt=2.0)


def test_a_simulated_calibration_tells_its_points_and_the_time_they_took():
    calibration = bs.calibrate(
        S1.neuron, S1.background, method="simulation", points=13, duration=1000.0, chains=16
    )
    assert calibration.points == 13
    assert calibration.simulated == 13 * 16 * (1000.0 + 500.0)
    assert bs.calibrate(S1.neuron, S1.background, points=9).simulated == 0
