import dataclasses

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError
from boltzspike.program import compile_program
from boltzspike.samples import Record
from boltzspike.theory.membrane import membrane_statistics


def psp_in_alpha(calibration, coupling, synapse, duration):
    """Simulate PSPs, noise-free, of a neuron that spikes as fast as it can, on the mean membrane; dt = .01 ms."""
    from boltzspike.engines.reference import ReferenceRunner

    machine = bs.BoltzmannMachine(weights=[[0, coupling], [coupling, 0]], biases=[0.0, 0.0])
    network = bs.translate(machine, calibration, rule="psp", synapse=synapse).network
    weights = np.zeros((2, 2))
    weights[1, 0] = network.weights[1, 0]
    statistics = membrane_statistics(calibration.neuron, calibration.background)
    # the background's mean conductance and current go into the leak, so that only the PSP is left
    quiet = dataclasses.replace(
        calibration.neuron,
        tau_m=statistics.tau_eff,
        v_rest=calibration.neuron.v_thresh - 1e-6,
        i_offset=0.0,
        v_thresh=calibration.neuron.v_thresh + 3 * calibration.alpha * abs(coupling),
        v_reset=calibration.neuron.v_thresh - 1e-6,
    )
    silent = bs.PoissonBackground(rates=[], weights=[])
    silence = bs.Piecewise(quantity="clamp", times=[0.0, 1.5 * quiet.tau_refrac], values=[1, 0], units=[0])
    held = bs.SpikingNetwork(neurons=quiet, backgrounds=silent, weights=weights, synapse=synapse, schedule=silence)
    runner = ReferenceRunner(compile_program(held, dt=0.01))
    samples, _ = runner.run(runner.init(seed=0, chains=1), round(duration / 0.01) + 2, Record(voltages=True))
    return (samples.voltages[0, 2:, 1] - quiet.v_rest) / calibration.alpha


def mean_psp_in_alpha(calibration, coupling):
    return psp_in_alpha(calibration, coupling, bs.Synapse(), calibration.neuron.tau_refrac).mean()


@pytest.mark.parametrize("coupling", [0.1, -0.1])
@pytest.mark.parametrize("name", ["S1", "S5a"])
@pytest.mark.parametrize("teeth", [1, 5])
def test_with_teeth_the_mean_drive_of_a_burst_is_the_weight_and_nothing_is_left_of_it(name, coupling, teeth):
    """Of conductances, too: excitation ends by inhibition that weighs the same at threshold."""
    preset = bs.presets.preset(name)
    calibration = bs.calibrate(preset.neuron, preset.background, control=preset.control)
    synapse = bs.Synapse(plasticity="additive", teeth=teeth)
    trace = psp_in_alpha(calibration, coupling, synapse, 40.0)
    # two spikes; the input changes the conductance by about w/g_tot, under 1 % at this weight
    assert trace.sum() * 0.01 / 20 == pytest.approx(coupling, rel=0.01)
    # the threshold stands 3 alpha |W| = .18 mV of 50 higher than where the opposite weights are equal
    assert np.abs(trace[-500:]).max() < 4e-3 * abs(coupling)
    q = np.exp(-10 / (teeth * 10))
    assert np.abs(trace[600:1900]).max() / np.abs(trace[600:1900]).min() < 1.02 / q


def test_synapses_with_teeth_are_refused_where_they_can_not_cut():
    S1 = bs.presets.S1
    coupled = lambda neuron, teeth: bs.SpikingNetwork(
        neurons=neuron, backgrounds=S1.background, weights=[[0, 0.001], [0.001, 0]],
        synapse=bs.Synapse(plasticity="additive", teeth=teeth),
    )  # fmt: skip
    for teeth in (0, 2.5, True):
        with pytest.raises(ValidationError, match=r"Synapse.teeth: must be None, or an integer of at least 1"):
            bs.Synapse(plasticity="additive", teeth=teeth)
    with pytest.raises(ValidationError, match=r"Synapse.plasticity: .*no tail to cut, got 'renewing'"):
        bs.Synapse(teeth=1)
    unequal = dataclasses.replace(S1.neuron, tau_syn_inh=5.0)
    with pytest.raises(
        ValidationError, match=r"Synapse.teeth: must be None where tau_syn_exc = 10 and tau_syn_inh"
    ):
        compile_program(coupled(unequal, 1))
    with pytest.raises(ValidationError, match=r"Synapse.teeth: .*kernel is no exponential"):
        compile_program(coupled(dataclasses.replace(S1.neuron, kernel="alpha"), 1))
    with pytest.raises(ValidationError, match=r"tau_refrac/teeth = 10/3 ms is a multiple of dt = 0.1 ms, got 3"):
        compile_program(coupled(S1.neuron, 3))
    drawn = dataclasses.replace(S1.neuron, refractory=bs.RandomRefractory(sd=3.0))
    with pytest.raises(ValidationError, match=r"Synapse.teeth: .*drawn after each spike"):
        compile_program(coupled(drawn, 1))


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
