import numpy as np
import pytest

import boltzspike as bs
from boltzspike import diagnostics
from boltzspike.diagnostics.temperature import mean_energy
from boltzspike.errors import ValidationError
from boltzspike.theory.exact import all_states, exact_joint


def block_energies(states, machine):
    return diagnostics.blocks(machine.to_boltzmann().energy(states)).mean(axis=1)


def test_the_mean_energy_is_that_of_an_enumeration(target):
    states = all_states(5)
    for beta in (0.0, 0.7, 2.0):
        weight = np.exp(-beta * target.energy(states))
        assert mean_energy(target, beta) == pytest.approx(np.sum(weight * target.energy(states)) / weight.sum())


def test_an_rbm_has_the_energy_of_its_general_machine(rng):
    rbm = bs.RestrictedBoltzmannMachine(
        weights=rng.normal(size=(3, 2)), visible_biases=rng.normal(size=3), hidden_biases=rng.normal(size=2)
    )
    assert mean_energy(rbm, 0.8) == pytest.approx(mean_energy(rbm.to_boltzmann(), 0.8))


@pytest.mark.parametrize("beta", [0.5, 1.0, 1.6])
def test_both_estimates_find_the_temperature_within_their_errors(neural, target, beta):
    found = []
    for seed in range(12):
        states = neural(beta * target.weights, beta * target.biases, draws=200, seed=40 + seed)
        likely = diagnostics.likely_temperature(block_energies(states, target), target)
        found.append((likely, diagnostics.pseudo_temperature(states, target)))
    for kind in zip(*found):
        off = np.array([(one.beta - beta) / one.error for one in kind])
        # mean and spread of 12 standard normal (Student, 31) deviations
        assert abs(off.mean()) < 4 / np.sqrt(12)
        assert 0.4 < off.std(ddof=1) < 1.8


def test_the_last_step_of_a_long_run_takes_all_of_its_draws(rng, target):
    """The same states as more and shorter chains are gone through whole from the first step on."""
    p = exact_joint(bs.BoltzmannMachine(weights=1.6 * target.weights, biases=1.6 * target.biases))
    states = all_states(5)[rng.choice(32, size=(4, 20_000), p=p)].astype(np.int8)
    long, short = (diagnostics.pseudo_temperature(z, target) for z in (states, states.reshape(80, 1000, 5)))
    assert abs(long.beta - 1.6) < 4 * long.error
    assert abs(long.beta - short.beta) < 0.1 * short.error


def test_samples_that_no_temperature_fits_are_refused(target):
    # no law of this energy has the lowest one with certainty
    lowest = float(target.energy(all_states(5)).min())
    with pytest.raises(ValidationError, match=r"temperature: no beta in -8 .. 32 has the mean energy"):
        diagnostics.likely_temperature(np.full(16, lowest - 1), target)


def test_a_machine_without_energy_has_no_temperature():
    machine = bs.BoltzmannMachine(weights=np.zeros((2, 2)), biases=np.zeros(2))
    states = np.zeros((16, 10, 2), dtype=np.int8)
    with pytest.raises(ValidationError, match="temperature: the machine has neither weights nor biases"):
        diagnostics.pseudo_temperature(states, machine)


def test_a_run_of_a_machine_without_energy_has_a_verdict_all_the_same(tmp_path):
    machine = bs.BoltzmannMachine(weights=np.zeros((2, 2)), biases=np.zeros(2))
    result = bs.sample(machine, duration=2000.0, chains=16, engine="gibbs")
    with pytest.raises(ValidationError, match="neither weights nor biases"):
        result.temperature()
    assert result.verdict().level == "good"
    result.report(tmp_path / "page.html")
    assert "neither weights nor biases" in (tmp_path / "page.html").read_text()


def test_negative_temperatures_are_temperatures(rng, target):
    p = exact_joint(bs.BoltzmannMachine(weights=-target.weights, biases=-target.biases))
    states = all_states(5)[rng.choice(32, size=(32, 400), p=p)].astype(np.int8)
    found = diagnostics.likely_temperature(block_energies(states, target), target)
    assert abs(found.beta + 1) < 4 * found.error
