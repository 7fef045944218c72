"""Relaxation times against the spectrum of the full transition matrix, and against chains."""

import numpy as np
import pytest

import boltzspike as bs
from boltzspike import abstract
from boltzspike.samples import Record
from boltzspike.theory.exact import all_states
from boltzspike.theory.mixing import MAX_UNITS, relaxation_of_chains, relaxation_time


def clique(n, weight):
    weights = weight * (1 - np.eye(n))
    return bs.BoltzmannMachine(weights=weights, biases=-weights.sum(axis=1) / 2)


def dense_relaxation(machine):
    """Return 1/gap of the generator written out state by state."""
    n = machine.n_units
    states = all_states(n)
    generator = np.zeros((2**n, 2**n))
    for i, z in enumerate(states):
        for k in range(n):
            flipped = z.copy()
            flipped[k] = 1 - z[k]
            j = int(flipped @ (1 << np.arange(n - 1, -1, -1)))
            drive = machine.biases[k] + machine.weights[k] @ z
            generator[i, j] += 1.0 if z[k] else np.exp(drive)
        generator[i, i] = -generator[i].sum()
    return -1 / np.sort(np.linalg.eigvals(generator).real)[-2]


@pytest.mark.parametrize(("n", "weight"), [(2, 1.0), (4, 1.5), (5, -2.0), (5, 3.0)])
def test_the_gap_is_that_of_the_full_generator(n, weight):
    machine = clique(n, weight)
    assert relaxation_time(machine) == pytest.approx(dense_relaxation(machine), rel=1e-4)


def test_independent_units_forget_at_the_sum_of_their_rates():
    machine = bs.BoltzmannMachine(weights=np.zeros((3, 3)), biases=[0.5, -1.0, 2.0])
    assert relaxation_time(machine) == pytest.approx(1 / (1 + np.exp(-1.0)), rel=1e-5)


@pytest.mark.parametrize("bias", [40.0, 800.0])
def test_units_that_are_always_on_or_off_slow_nothing_down(bias):
    machine = bs.BoltzmannMachine(weights=[[0, 0.5], [0.5, 0]], biases=[bias, -bias])
    # the second unit by itself: off at rate 1, hardly ever on
    assert relaxation_time(machine) == pytest.approx(1.0, rel=1e-6)


def test_rates_that_the_limit_cuts_keep_the_gap():
    # the way between the modes leads through a unit that is off for e^-12 only
    weights = 12.0 * (1 - np.eye(2))
    machine = bs.BoltzmannMachine(weights=weights, biases=[-6.0, -1.0])
    assert relaxation_time(machine) == pytest.approx(dense_relaxation(machine), rel=1e-3)


def test_targets_that_never_relax_are_warned_of_without_a_number():
    machine = bs.BoltzmannMachine(weights=100.0 * (1 - np.eye(2)), biases=[-50.0, -50.0])
    assert relaxation_time(machine) == np.inf
    with pytest.warns(bs.BoltzspikeWarning, match="mode of the target takes longer than can be computed to relax"):
        bs.sample(machine, engine="gibbs", duration=200.0, chains=4)


def test_buesings_neurons_relax_as_the_spectrum_says():
    # fixed refractory periods in place of exponential ones: of that order, not that number
    machine = clique(5, 2.0)
    result = bs.sample(machine, engine="buesing", duration=3e4, chains=64, burn_in=3e3)
    assert 0.5 < relaxation_of_chains(result.z) / relaxation_time(machine) < 1.2


def test_runs_too_short_for_their_target_are_warned_of_before():
    with pytest.warns(bs.BoltzspikeWarning, match=r"mixing: the slowest mode of the target takes 254 ms"):
        result = bs.sample(clique(5, 2.0), engine="gibbs", duration=200.0, burn_in=1e3, chains=16)
    assert result.configuration["relaxation_ms"] == pytest.approx(253.58, abs=0.01)


def test_chains_tell_the_relaxation_time_while_it_is_short():
    machine = clique(5, 1.5)
    runner = abstract.Gibbs(np.asarray(machine.weights), np.asarray(machine.biases), scan="random", threads=1)
    _, state = runner.run(runner.init(seed=1, chains=512), 200, Record())
    states = runner.run(state, 200, Record(states_every=1))[0].states
    exact = relaxation_time(machine)
    # the unit's own correlation is mostly, not wholly, of the slowest mode
    # random scan updates a unit at rate 1, where neurons are twice as fast with weak drive
    assert 0.75 < relaxation_of_chains(states) / exact < 2.2


def test_chains_that_never_move_say_half_their_length():
    frozen = np.repeat(np.arange(8)[:, None, None] % 2, 50, axis=1)
    assert relaxation_of_chains(frozen) == 25.0


def test_too_many_units_are_refused():
    with pytest.raises(bs.ValidationError, match=f"at most {MAX_UNITS} units"):
        relaxation_time(clique(MAX_UNITS + 1, 0.1))
