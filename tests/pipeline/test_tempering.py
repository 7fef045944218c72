import dataclasses

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import UnsupportedFeature, ValidationError
from boltzspike.pipeline.running_networks import run_network
from boltzspike.pipeline.tempering import run_tempered, temperature_map, tempered
from boltzspike.pipeline.translations import with_network
from boltzspike.samples import Record
from boltzspike.theory.exact import exact_joint


@pytest.fixture(scope="module")
def calibration():
    return with_network(bs.calibrate(bs.presets.S1.neuron, bs.presets.S1.background))


@pytest.fixture(scope="module")
def temperatures(calibration):
    return temperature_map(calibration, (1.0, 2.0, 4.0))


def divergence(p, machine):
    q = exact_joint(machine)
    return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())


@pytest.mark.parametrize("number", [1, 2])
def test_the_map_predicts_the_law_under_a_raised_rate(number, calibration, temperatures):
    rng = np.random.default_rng(0)
    weights = np.triu(rng.normal(0, 1, (4, 4)), 1)
    target = bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.normal(0, 0.5, 4))
    network = bs.translate(target, calibration).network
    raised = np.asarray(calibration.background.rates) * temperatures.factors[number]
    background = bs.PoissonBackground(rates=raised, weights=calibration.background.weights)
    hot = dataclasses.replace(network, backgrounds=background)
    samples, _ = run_network(hot, 2e4, 32, 0.1, 1, "numba", None, Record(states_every=100), burn_in=500.0)
    p = np.bincount(samples.states.reshape(-1, 4) @ (8, 4, 2, 1), minlength=16) / (32 * 2000)
    predicted = bs.BoltzmannMachine(
        weights=np.asarray(target.weights) / temperatures.weight_temperature[number],
        biases=np.asarray(target.biases) / temperatures.bias_temperature[number] + temperatures.shift[number],
    )
    # the floor of 64,000 draws is 15/128,000 = .0001 (a few times it by autocorrelation); the rule leaves .0005
    assert divergence(p, predicted) < 0.002
    assert divergence(p, target) > 0.01


def test_factors_and_temperatures_invert_each_other(temperatures):
    assert temperatures.factor(1.0) == 1
    assert temperatures.factor(float(temperatures.weight_temperature[1])) == pytest.approx(2.0)
    with pytest.raises(ValidationError, match="temperature: must be in 1 .. 1.99"):
        temperatures.factor(9.0)


@pytest.fixture(scope="module")
def pair(calibration):
    target = bs.BoltzmannMachine(weights=[[0, 1.5], [1.5, 0]], biases=[-1.0, -0.5])
    return target, bs.translate(target, calibration).network


def law(states):
    return np.bincount(states.reshape(-1, 2) @ (2, 1), minlength=4) / states[..., 0].size


def test_a_network_is_cold_again_at_the_end_of_each_period(pair, temperatures):
    target, network = pair
    options = {"hottest": 1.8, "period": 200.0, "periods": 100, "chains": 128, "seed": 3}
    cold = run_tempered(network, temperatures, **options)
    # 12,800 draws: the floor is 3/25600 = .0001
    assert divergence(law(cold[:, 1:]), target) < 0.002


def test_the_schedule_and_the_exchange_of_networks_swell_alike(pair, temperatures):
    target, network = pair
    swelling, ends = tempered(network, temperatures, hottest=1.8, period=200.0, duration=2000.0)
    np.testing.assert_allclose(ends, 200.0 * np.arange(1, 11))
    assert {course.quantity for course in swelling.schedule} == {"rate", "v_rest"}
    every = Record(states_every=100)
    samples, _ = run_network(swelling, 2000.0, 32, 0.1, 3, "numba", None, every, burn_in=0.0)
    options = {"hottest": 1.8, "period": 200.0, "periods": 10, "chains": 512, "seed": 3}
    exchanged = run_tempered(network, temperatures, **options)
    # 5 standard errors of a share of 288 draws
    assert np.abs(law(samples.states[:, 39::20]) - law(exchanged[:, 1:])).max() < 5 * 0.5 / np.sqrt(288)
    # 60 to 80 ms into each period it is hot; the floor of 960 draws is .002
    hot = np.concatenate([samples.states[:, k::20] for k in (5, 6, 7)], axis=1)
    assert divergence(law(hot), target) > 0.008


def test_tempering_says_what_it_can_not_do(pair, temperatures):
    _, network = pair
    with pytest.raises(ValidationError, match="whole periods"):
        tempered(network, temperatures, hottest=1.5, period=300.0, duration=1000.0)
    with pytest.raises(ValidationError, match="hottest"):
        run_tempered(network, temperatures, hottest=0.5, period=200.0, periods=2, chains=2)
    with pytest.raises(ValidationError, match="draws"):
        run_tempered(network, temperatures, hottest=1.5, period=200.0, periods=2, chains=2, draws=20)
    balance = bs.calibrate(bs.presets.S1.neuron, bs.presets.S1.background, control="balance")
    with pytest.raises(UnsupportedFeature, match="balance"):
        temperature_map(balance)
    uneven = bs.PoissonBackground(rates=[3000.0, 2000.0], weights=[0.001, -0.001])
    with pytest.raises(UnsupportedFeature, match="one rate"):
        tempered(
            dataclasses.replace(network, backgrounds=uneven), temperatures, hottest=1.5, period=500.0,
            duration=1000.0,
        )  # fmt: skip
