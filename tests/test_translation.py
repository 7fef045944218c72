import dataclasses

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError
from boltzspike.program import compile_program
from boltzspike.samples import Record
from boltzspike.theory.membrane import membrane_statistics


def mean_psp_in_alpha(calibration, coupling):
    """Simulate one noise-free PSP on the mean membrane and average it over the refractory period."""
    from boltzspike.engines.reference import ReferenceRunner

    machine = bs.BoltzmannMachine(weights=[[0, coupling], [coupling, 0]], biases=[0.0, 0.0])
    network = bs.translate(machine, calibration, rule="psp").network
    weights = np.zeros((2, 2))
    weights[1, 0] = network.weights[1, 0]
    statistics = membrane_statistics(calibration.neuron, calibration.background)
    # the background's mean conductance and current go into the leak, so that only the PSP is left
    quiet = dataclasses.replace(
        calibration.neuron,
        tau_m=statistics.tau_eff,
        v_rest=calibration.neuron.v_thresh - 1e-6,
        i_offset=0.0,
        v_thresh=calibration.neuron.v_thresh + 40,
        v_reset=calibration.neuron.v_thresh - 1e-6,
    )
    silent = bs.PoissonBackground(rates=[], weights=[])
    held = bs.SpikingNetwork(neurons=quiet, backgrounds=silent, weights=weights)
    runner = ReferenceRunner(compile_program(held, dt=0.01, clamp={0: 1}))
    n = round(quiet.tau_refrac / 0.01)
    samples, _ = runner.run(runner.init(seed=0, chains=1), n + 2, Record(voltages=True))
    return (samples.voltages[0, 2:, 1] - quiet.v_rest).mean() / calibration.alpha


@pytest.mark.parametrize("coupling", [0.1, -0.1])
@pytest.mark.parametrize(("name", "kernel"), [("S1", "exponential"), ("S2", "exponential"), ("S5a", "exponential"),
                                              ("S1", "alpha"), ("S5a", "alpha")])  # fmt: skip
def test_the_psp_of_a_translated_weight_averages_to_it_over_the_refractory_period(name, kernel, coupling):
    preset = bs.presets.preset(name)
    calibration = bs.calibrate(preset.neuron, preset.background, control=preset.control)
    calibration = dataclasses.replace(calibration, neuron=dataclasses.replace(calibration.neuron, kernel=kernel))
    # the input changes the conductance by about w/g_tot, under 1 % at this weight
    assert mean_psp_in_alpha(calibration, coupling) == pytest.approx(coupling, rel=0.01)


def test_the_weight_is_finite_where_the_time_constants_coincide():
    neuron = dataclasses.replace(bs.presets.S5a.neuron, tau_m=10.0, c_m=2.0)
    calibration = bs.calibrate(bs.presets.S5a.neuron, bs.presets.S5a.background)
    calibration = dataclasses.replace(calibration, neuron=neuron)
    machine = bs.BoltzmannMachine(weights=[[0, 1], [1, 0]], biases=[0, 0])
    exact = bs.translate(machine, calibration, rule="psp").network.weights[0, 1]
    nearby = dataclasses.replace(calibration, neuron=dataclasses.replace(neuron, tau_m=10.01, c_m=2.002))
    assert exact == pytest.approx(bs.translate(machine, nearby, rule="psp").network.weights[0, 1], rel=1e-3)


def test_an_unknown_rule_is_named(s1_calibration, random_machine):
    with pytest.raises(ValidationError, match="no translation rule named 'ps'; did you mean 'psp'"):
        bs.translate(random_machine(2), s1_calibration, rule="ps")


def test_biases_go_to_the_control_variable_alone(random_machine):
    preset = bs.presets.S2
    calibration = bs.calibrate(preset.neuron, preset.background, control="i_offset")
    machine = random_machine(3)
    network = bs.translate(machine, calibration, rule="psp").network
    assert {neuron.v_rest for neuron in network.neurons} == {preset.neuron.v_rest}
    assert (
        np.argsort([neuron.i_offset for neuron in network.neurons]).tolist() == np.argsort(machine.biases).tolist()
    )
