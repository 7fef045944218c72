"""JSON as sbs writes it; the numbers come from our own response curve, so what must come back is known."""

import json

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import BoltzspikeWarning, ValidationError
from boltzspike.theory.membrane import leverage

S1, S5A = bs.presets.S1, bs.presets.S5a


def configuration(preset, calibration, *, dt=0.01):
    """Return a SamplerConfiguration as sbs's ``write`` leaves it, for a curve from theory."""
    neuron, background = preset.neuron, preset.background
    alpha, middle = calibration.alpha_control, calibration.u0_control
    v_rest = np.linspace(middle - 5 * alpha, middle + 5 * alpha, 31)
    curve = bs.response(neuron, background, v_rest=v_rest, method="density")
    parameters = {
        "cm": neuron.c_m, "tau_m": neuron.tau_m, "tau_refrac": neuron.tau_refrac, "tau_syn_E": neuron.tau_syn_exc,
        "tau_syn_I": neuron.tau_syn_inh, "i_offset": 0.0, "v_rest": neuron.v_rest, "v_reset": neuron.v_reset,
        "v_thresh": neuron.v_thresh,
    }  # fmt: skip
    kind = "Current"
    if preset is S1:
        kind = "Conductance"
        parameters |= {"e_rev_E": neuron.e_rev_exc, "e_rev_I": neuron.e_rev_inh, "pynn_model": "IF_cond_exp"}
    source = {
        "_type": "PoissonSourceConfiguration", "rates": background.rates.tolist(),
        "weights": background.weights.tolist(),
    }  # fmt: skip
    return {
        "_type": "SamplerConfiguration",
        "neuron_parameters": {"_type": f"NeuronParameters{kind}Exponential", **parameters},
        "calibration": {
            "_type": "Calibration", "sim_name": "pyNN.nest", "sim_setup_kwargs": None, "duration": 1e5, "dt": dt,
            "burn_in_time": 500.0, "V_rest_min": v_rest[0], "V_rest_max": v_rest[-1], "num_samples": 31,
            "samples_p_on": curve.p.tolist(), "fit": {"_type": "Fit", "alpha": alpha, "v_p05": middle},
            "source_config": source,
        },
        "source_config": source,
        "tso_parameters": {"_type": "TsoParameters", "U": 1.0, "u": 1.0, "x": 0.0, "tau_rec": None,
                           "tau_fac": None,
                           "weight_rescale": 1.0},
    }  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def to_file(data):
        (tmp_path / "sbs.json").write_text(json.dumps(data, indent=2))
        return tmp_path / "sbs.json"

    return to_file


@pytest.mark.parametrize("preset", [S1, S5A], ids=["conductance", "current"])
def test_a_calibration_keeps_its_logistic_and_turns_mv_of_v_rest_into_mv_of_mean_potential(preset, write):
    ours = bs.calibrate(preset.neuron, preset.background)
    theirs = bs.read(write(configuration(preset, ours)))
    assert theirs.neuron == preset.neuron
    assert theirs.background == preset.background
    assert theirs.alpha == pytest.approx(ours.alpha, rel=1e-9)
    assert theirs.u0 == pytest.approx(ours.u0, rel=1e-9)
    assert theirs.control_at(1.0) == pytest.approx(ours.control_at(1.0))
    if preset is S1:
        assert leverage(S1.neuron, S1.background, "v_rest") == pytest.approx(200 / 260)
    assert (theirs.dt, theirs.method, theirs.points) == (None, "sbs", 31)
    assert theirs.rms == pytest.approx(ours.rms, rel=0.5)
    assert 0 < theirs.alpha_error < 0.02 * theirs.alpha


def test_the_calibration_samples_and_is_saved(write, tmp_path, random_machine):
    calibration = bs.read(write(configuration(S1, bs.calibrate(S1.neuron, S1.background))))
    calibration.save(tmp_path / "ours.json")
    assert bs.read(tmp_path / "ours.json") == calibration
    result = bs.sample(random_machine(3), calibration=calibration, duration=1e4, chains=16, threads=1)
    assert np.all(np.abs(result.marginals() - result.exact().marginals) < 0.02 + 4 * result.marginals_error())


def test_a_coarse_time_step_is_kept(write):
    data = configuration(S1, bs.calibrate(S1.neuron, S1.background), dt=0.1)
    assert bs.read(write(data)).dt == 0.1


def test_neurons_and_sources_are_read_alone(write):
    data = configuration(S1, bs.calibrate(S1.neuron, S1.background))
    assert bs.read(write(data["neuron_parameters"])) == S1.neuron
    source = data["source_config"] | {"rates": 3000.0}
    assert bs.read(write(source)) == S1.background


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d.update(_type="PreCalibration"),
            "_type: must be one of SamplerConfiguration, .*'PreCalibration'",
        ),
        (lambda d: d["calibration"].pop("fit"), "Calibration: needs fit"),
        (lambda d: d["calibration"]["fit"].update(alpha=None), "Fit: needs alpha"),
        (
            lambda d: d["neuron_parameters"].update(tau_m=-1.0),
            "neuron_parameters: LIF.tau_m: must be > 0 ms, got -1",
        ),
        (lambda d: d["neuron_parameters"].pop("cm"), "NeuronParametersConductanceExponential: needs cm"),
        (lambda d: d["calibration"].update(source_config=4), "source_config: must be an object, got 4"),
        (lambda d: d["source_config"].update(rates=[1.0, 2.0]), "differs from that of the calibration"),
        (lambda d: d["source_config"].update(_type="MultiPoisson"), "must be a PoissonSourceConfiguration"),
        (
            lambda d: d["calibration"]["fit"].update(alpha=-1.0),
            "sbs.json: Calibration.alpha: must be > 0 mV, got -",
        ),
    ],
)
def test_what_a_file_lacks_is_named(write, change, message):
    data = json.loads(json.dumps(configuration(S1, bs.calibrate(S1.neuron, S1.background))))
    change(data)
    with pytest.raises(ValidationError, match=message):
        bs.read(write(data))


def test_synapses_that_are_not_renewing_are_warned_of(write):
    data = configuration(S1, bs.calibrate(S1.neuron, S1.background))
    data["tso_parameters"]["tau_rec"] = 13.0
    with pytest.warns(BoltzspikeWarning, match="no part of a calibration"):
        bs.read(write(data))
