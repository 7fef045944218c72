import numpy as np
import pytest

import boltzspike as bs
from boltzspike.diagnostics import joint
from boltzspike.errors import ValidationError
from boltzspike.model.synapse import Synapse
from boltzspike.pipeline.inference import infer
from boltzspike.pipeline.training import SpikingChains
from boltzspike.samples import Record
from boltzspike.theory.exact import exact_joint, exact_marginals_given
from boltzspike.training.hardware import Hardware, quantised, with_relays
from boltzspike.training.models import class_rbm, model_of


@pytest.fixture
def parameters(rng):
    weights = np.triu(rng.normal(0, 1, (12, 12)), 1)
    return weights + weights.T, rng.normal(0, 1, 12)


def test_perfect_hardware_changes_nothing(parameters):
    for given, kept in zip(parameters, Hardware().written(*parameters)):
        np.testing.assert_array_equal(given, kept)


def test_quantised_weights_take_two_to_the_bits_less_one_magnitudes(parameters):
    for bits in (1, 3, 6):
        kept, _ = Hardware(weight_bits=bits, weight_range=1.4).written(*parameters)
        steps = kept / (1.4 / (2**bits - 1))
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
        assert np.abs(steps).max() <= 2**bits - 1 + 1e-9
        inside = np.abs(parameters[0]) <= 1.4
        error = np.abs(kept - parameters[0])[inside].max()
        assert error <= 1.4 / (2**bits - 1) / 2 + 1e-12
    np.testing.assert_array_equal(quantised(np.zeros(3), 4, np.inf), 0)


def test_a_row_of_synapses_keeps_one_sign(parameters):
    kept, _ = Hardware(signs="row").written(*parameters)
    for source in range(12):
        column, before = kept[:, source], parameters[0][:, source]
        assert len(set(np.sign(column[column != 0]))) <= 1
        np.testing.assert_array_equal(column[column != 0], before[column != 0])
        assert np.sign(column.sum()) == np.sign(before.sum())


def test_relays_fire_once_for_each_spike_of_their_units_and_keep_the_law(s1_calibration, rng):
    """With neurons of one sign each the law is the target's; leaving out what disagrees breaks it."""
    weights = np.triu(rng.normal(0, 1, (5, 5)), 1)
    target = bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.normal(0, 1, 5))
    p, divergence = exact_joint(target), {}
    for signs in ("row", "relay"):
        chains = SpikingChains(calibration=s1_calibration, hardware=Hardware(signs=signs), threads=1)
        model = model_of(target, 5)
        state = chains.start(model, chains=64, seed=3)
        translation = chains.translation(model, state["recent"])
        z, _ = chains.draws(translation, state, 1000, (3, 0, 1))
        assert z.shape == (64, 1000, 5)
        q = joint(z)
        divergence[signs] = float(np.sum(q[q > 0] * np.log(q[q > 0] / p[q > 0])))
    # the floor of 64 chains of 1000 draws, each worth about a fifth: 31 / (2 * 12800) = .0012
    assert divergence["relay"] < 0.005
    assert divergence["row"] > 0.05
    runner = chains.runner(translation)
    spikes = runner.run(runner.init(seed=4, chains=2), 100_000, Record(spikes=True))[0].spikes
    counts = np.bincount(spikes.unit, minlength=10)
    # each of two chains may end between a spike and its relay's
    assert np.all(np.abs(counts[5:] - counts[:5]) <= 0.002 * counts[:5] + 2)


def test_every_neuron_of_a_network_with_relays_has_one_sign(parameters):
    kept, biases = with_relays(*parameters)
    assert kept.shape == (24, 24)
    assert biases.shape == (24,)
    for source in range(24):
        assert len(set(np.sign(kept[:, source][kept[:, source] != 0]))) == 1
    np.testing.assert_array_equal(kept[:12, :12] + kept[:12, 12:], parameters[0])


def test_inference_through_relays_is_that_of_the_machine():
    machine = class_rbm(5, 3, 4, scale=0.8, seed=1).machine()
    pixels = np.array([[1, 0, 0, 1, 1]])
    by_lif = infer(machine, pixels, range(5), duration=2e4, hardware=Hardware(signs="relay"))
    exact = exact_marginals_given(machine, [dict(enumerate(pixels[0].tolist()))])
    np.testing.assert_allclose(by_lif, exact, atol=0.03)


def test_the_fixed_pattern_is_that_of_the_chip_and_of_the_stated_size():
    weights, biases = np.ones((200, 200)), np.zeros(40000)
    chip = Hardware(weight_noise=0.2, bias_noise=0.3, seed=7)
    kept, again = chip.written(weights, biases), chip.written(weights, biases)
    np.testing.assert_array_equal(kept[0], again[0])
    # standard error of a standard deviation from 40000 numbers: sd/sqrt(80000)
    assert abs(kept[0].std() - 0.2) < 4 * 0.2 / np.sqrt(80000)
    assert abs(kept[1].std() - 0.3) < 4 * 0.3 / np.sqrt(80000)
    other = Hardware(weight_noise=0.2, bias_noise=0.3, seed=8).written(weights, biases)
    assert abs(np.corrcoef(kept[1], other[1])[0, 1]) < 4 / np.sqrt(40000)


def test_delays_lie_on_the_time_grid_with_the_stated_mean():
    assert Hardware().delays(5, 0.1) is None
    delays = Hardware(delay_spread=2.0).delays(100, 0.1)
    np.testing.assert_allclose(delays / 0.1, np.round(delays / 0.1), atol=1e-9)
    assert delays.min() == pytest.approx(0.1)
    assert delays.mean() == pytest.approx(2.1, abs=4 * 2.0 / 100)


@pytest.mark.parametrize(("values", "message"), [
    ({"weight_bits": 0}, "Hardware.weight_bits"), ({"weight_range": 0.0}, "Hardware.weight_range"),
    ({"spike_loss": 1.0}, "Hardware.spike_loss"), ({"signs": "column"}, "Hardware.signs"),
    ({"bias_noise": -0.1}, "Hardware.bias_noise"), ({"bias_range": np.nan}, "Hardware.bias_range"),
])  # fmt: skip
def test_hardware_names_what_is_wrong(values, message):
    with pytest.raises(ValidationError, match=message):
        Hardware(**values)


def test_spikes_are_not_lost_on_their_way_through_parallel_synapses(s1_calibration):
    synapse = Synapse(plasticity="additive", teeth=2)
    SpikingChains(calibration=s1_calibration, synapse=synapse)
    with pytest.raises(ValidationError, match=r"Synapse.teeth: must be None with Hardware.spike_loss"):
        SpikingChains(calibration=s1_calibration, synapse=synapse, hardware=Hardware(spike_loss=0.1))
