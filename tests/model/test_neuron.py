import dataclasses
import math

import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError

S1 = bs.presets.S1.neuron
S5A = bs.presets.S5a.neuron


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c_m": 0.0}, r"LIF.c_m: must be > 0 nF, got 0.0"),
        ({"tau_m": -1.0}, r"LIF.tau_m: must be > 0 ms, got -1.0"),
        ({"tau_refrac": 0.0}, r"LIF.tau_refrac: must be > 0 ms"),
        ({"tau_syn_exc": -5.0}, r"LIF.tau_syn_exc: must be > 0 ms, got -5.0"),
        ({"tau_syn_inh": math.nan}, r"LIF.tau_syn_inh: must be > 0 ms, got nan"),
        ({"v_rest": math.inf}, r"LIF.v_rest: must be a finite number mV, got inf"),
        ({"v_rest": "low"}, r"LIF.v_rest: must be a finite number mV, got 'low'"),
        ({"v_reset": -50.0}, r"LIF.v_reset: must be < v_thresh = -50 mV, got -50.0"),
        ({"e_rev_exc": -50.0}, r"LIF.e_rev_exc: must be > v_thresh = -50 mV"),
        ({"e_rev_inh": -49.0}, r"LIF.e_rev_inh: must be < v_thresh = -50 mV"),
        ({"kernel": "square"}, r"LIF.kernel: must be 'exponential' or 'alpha', got 'square'"),
    ],
)
def test_a_bad_value_is_named_with_its_range(change, message):
    with pytest.raises(ValidationError, match=message):
        dataclasses.replace(S1, **change)


def test_v_rest_may_lie_anywhere():
    assert dataclasses.replace(S1, v_rest=300.0).v_rest == 300.0


def test_current_neuron_checks_the_same_fields():
    with pytest.raises(ValidationError, match=r"CurrentLIF.tau_m: must be > 0 ms, got -1.0"):
        dataclasses.replace(S5A, tau_m=-1.0)


def test_a_misspelt_parameter_gets_the_right_one_suggested():
    with pytest.raises(ValidationError, match=r"LIF: no parameter 'tau_sym_exc'; did you mean 'tau_syn_exc'\?"):
        bs.LIF(tau_sym_exc=10.0)


def test_a_missing_parameter_is_named():
    with pytest.raises(ValidationError, match=r"PoissonBackground: needs weights"):
        bs.PoissonBackground(rates=[1.0])


def test_a_description_is_frozen_and_compares_by_value():
    with pytest.raises(dataclasses.FrozenInstanceError):
        S1.c_m = 1.0
    assert dataclasses.replace(S1) == S1
    assert dataclasses.replace(S1, c_m=0.3) != S1
    background = bs.presets.S1.background
    assert bs.PoissonBackground(rates=background.rates, weights=background.weights) == background


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rates": [-1.0], "weights": [0.1]}, r"PoissonBackground.rates\[0\]: must be >= 0 Hz, got -1.0"),
        (
            {"rates": [1.0, math.nan], "weights": [0.1, 0.1]},
            r"PoissonBackground.rates\[1\]: must be finite, got nan",
        ),
        ({"rates": [1.0], "weights": [0.1, 0.2]}, r"PoissonBackground.weights: must be as many as rates \(1\)"),
        ({"rates": 3.0, "weights": [0.1]}, r"PoissonBackground.rates: must be an array of 1 dimension"),
        ({"rates": ["a"], "weights": [0.1]}, r"PoissonBackground.rates: must be an array of numbers"),
    ],
)
def test_a_bad_background_is_named(values, message):
    with pytest.raises(ValidationError, match=message):
        bs.PoissonBackground(**values)


def test_the_callers_arrays_are_left_alone():
    import numpy as np

    rates = np.array([3000.0, 3000.0])
    background = bs.PoissonBackground(rates=rates, weights=[0.001, -0.001])
    bs.calibrate(S1, background)
    assert np.array_equal(rates, [3000.0, 3000.0])
    rates[0] = 1.0
    assert background.rates[0] == 3000.0


def test_unknown_preset_gets_a_suggestion():
    with pytest.raises(ValidationError, match="no set named 'thesys'; did you mean 'thesis'"):
        bs.presets.preset("thesys")


@pytest.mark.parametrize("preset", bs.presets.ALL.values(), ids=lambda preset: preset.name)
def test_every_preset_can_be_calibrated_by_its_control(preset):
    calibration = bs.calibrate(preset.neuron, preset.background, control=preset.control)
    # Gaussian noise gets no lower than .007; dodo, with its reset .4 sigma below threshold, is at .0103
    assert 0.006 < calibration.rms < 0.011
    assert calibration.verdict.regime == "sampling"
    assert preset.source
