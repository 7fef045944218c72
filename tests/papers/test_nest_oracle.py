"""NEST as an independent oracle: benchmarks/nest_oracle.py, in a process of its own, against theory and engine."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.engines import get_engine
from boltzspike.program import compile_program
from boltzspike.samples import Record, Spikes, joint_counts
from boltzspike.theory.membrane import leverage, membrane_statistics
from boltzspike.theory.predict import predict

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "nest_oracle.py"
BURN_IN = 500.0
S1, S5A = bs.presets.S1, bs.presets.S5a
UNEQUAL = dataclasses.replace(S1.neuron, tau_syn_exc=5.0)

pytestmark = pytest.mark.slow


@pytest.fixture
def oracle(tmp_path):
    """Return a runner of NEST: one copy of ``neurons`` a chain, and the spikes after the burn-in."""

    def run(neurons, background, *, duration, copies, dt, seed=1, **coupling):
        specification = {
            "dt": dt, "duration": duration, "burn_in": BURN_IN, "seed": seed, "copies": copies,
            "units": [dataclasses.asdict(neuron) for neuron in neurons],
            "rates": background.rates.tolist(), "background_weights": background.weights.tolist(), **coupling,
        }  # fmt: skip
        (tmp_path / "specification.json").write_text(json.dumps(specification))
        command = [sys.executable, SCRIPT, tmp_path / "specification.json", tmp_path / "spikes.npz"]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
        assert done.returncode == 0, done.stderr[-2000:]
        with np.load(tmp_path / "spikes.npz") as found:
            assert found["finite"], "NaN in NEST"
            chain, unit, step = found["chain"], found["unit"], found["step"]
        refractory = np.array([round(neuron.tau_refrac / dt) for neuron in neurons])
        before = np.full((copies, len(neurons)), -refractory.max() - 1)
        early = step < 0
        np.maximum.at(before, (chain[early], unit[early]), step[early])
        return Spikes(
            chain=chain[~early], unit=unit[~early], step=step[~early], before=before,
            refractory_steps=refractory, start=0, stop=round(duration / dt),
        )  # fmt: skip

    return run


def at_potentials(neuron, background, deviations):
    """Return v_rest and mu at so many sigma from threshold."""
    s = membrane_statistics(neuron, background)
    mu = neuron.v_thresh + np.asarray(deviations) * s.sigma
    return neuron.v_rest + (mu - s.mu) / leverage(neuron, background, "v_rest"), mu


def with_error(chains):
    """Return mean and standard error over chains (axis 0)."""
    return chains.mean(axis=0), chains.std(axis=0, ddof=1) / np.sqrt(len(chains))


def on_time(spikes):
    """Return the share of time that z = 1, shape (chains, units).

    Not rate * tau_refrac: neurons near saturation keep the phase they started with, and counting spikes then errs
    by up to one spike a chain, which is more than the standard error.
    """
    shape = spikes.before.shape
    count = np.zeros(shape, dtype=int)
    last = spikes.before.copy()
    np.add.at(count, (spikes.chain, spikes.unit), 1)
    np.maximum.at(last, (spikes.chain, spikes.unit), spikes.step)
    carried = np.maximum(spikes.before + spikes.refractory_steps - spikes.start, 0)
    beyond = np.maximum(last + spikes.refractory_steps - spikes.stop, 0)
    return (count * spikes.refractory_steps + carried - beyond) / (spikes.stop - spikes.start)


@pytest.mark.parametrize(
    ("neuron", "background", "dt", "duration"),
    [
        pytest.param(S1.neuron, S1.background, 0.1, 3e4, id="S1"),
        pytest.param(UNEQUAL, S1.background, 0.1, 3e4, id="S1-tau_syn-5-10"),
        pytest.param(S5A.neuron, S5A.background, 0.05, 5e4, id="S5a"),
    ],
)
def test_nest_finds_the_response_of_theory_and_engine(oracle, neuron, background, dt, duration):
    v_rest, mu = at_potentials(neuron, background, np.linspace(-2.5, 2.5, 7))
    neurons = [dataclasses.replace(neuron, v_rest=float(value)) for value in v_rest]
    spikes = oracle(neurons, background, duration=duration, copies=50, dt=dt)
    p, error = with_error(on_time(spikes))
    density, _ = predict(neuron, background, mu, method="density")
    curve = bs.response(
        neuron, background, v_rest=v_rest, method="simulation", duration=1e5, chains=64, dt=dt, threads=1
    )
    print(f"NEST {p}\n  SE {error}\n  - density {p - density}\n  - engine {p - curve.p} SE {curve.error}")
    assert 0.01 < p.min() < 0.05
    assert p.max() > 0.99
    np.testing.assert_array_less(error, 0.003)
    np.testing.assert_array_less(np.abs(p - density), 4 * error + 0.003)
    np.testing.assert_array_less(np.abs(p - curve.p), 4 * np.hypot(error, curve.error) + 0.003)


@pytest.mark.parametrize("preset", [S1, S5A], ids=["conductance", "current"])
def test_the_oracle_sees_one_step_of_the_refractory_period(oracle, preset):
    """Near saturation a period longer by dt = 0.1 ms costs 1 % of p: without compensation NEST must miss it."""
    v_rest, mu = at_potentials(preset.neuron, preset.background, [3.0])
    neuron = dataclasses.replace(preset.neuron, v_rest=float(v_rest[0]))
    density, _ = predict(neuron, preset.background, mu, method="density")
    dt, misses = 0.1, {}
    for compensated in (True, False):
        spikes = oracle(
            [neuron], preset.background, duration=2e4, copies=50, dt=dt, refractory_compensation=compensated
        )
        p, error = with_error(on_time(spikes))
        misses[compensated] = float((p - density)[0])
        np.testing.assert_array_less(error, 2e-4)
        assert np.diff(spikes.step[spikes.chain == 0]).min() == (100 if compensated else 101)
    print(misses)
    assert abs(misses[True]) < 2e-4
    assert misses[False] == pytest.approx(-density[0] * dt / (neuron.tau_refrac + dt), abs=3e-4)


@pytest.mark.parametrize("delay", [0.1, 1.5])
@pytest.mark.parametrize("preset", [S1, S5A], ids=["conductance", "current"])
def test_without_noise_nest_and_the_engine_spike_in_the_same_steps(oracle, preset, delay):
    """A neuron drives another across threshold: interval and latency pin the delay, the synapse and the reset."""
    dt, silent = 0.1, bs.PoissonBackground(rates=[], weights=[])
    drive = dataclasses.replace(preset.neuron, v_rest=-49.9, v_reset=-53.0)  # every tau_refrac + tau_m ln(31)
    driven = dataclasses.replace(preset.neuron, v_rest=-52.0, v_reset=-53.0)
    weights = np.array([[0.0, 0.0], [0.02 if preset is S1 else 1.0, 0.0]])
    synapse = bs.Synapse(delay=delay)
    network = bs.SpikingNetwork(neurons=[drive, driven], backgrounds=silent, weights=weights, synapse=synapse)
    runner = get_engine("reference").prepare(compile_program(network, dt=dt))
    state = runner.init(seed=1, chains=1)
    _, state = runner.run(state, round(BURN_IN / dt), Record())
    ours = runner.run(state, 10_000, Record(spikes=True))[0].spikes
    theirs = oracle(
        [drive, driven], silent, duration=1000.0, copies=1, dt=dt, weights=weights.tolist(), delay=delay
    )

    def interval_and_latencies(spikes):
        first, second = (spikes.step[spikes.unit == k] for k in (0, 1))
        second = second[second > first[0]]
        return np.diff(np.sort(first)), second - first[np.searchsorted(first, second) - 1]

    (interval, latency), (nest_interval, nest_latency) = map(interval_and_latencies, (ours, theirs))
    print(interval[:4], latency[:4], nest_interval[:4], nest_latency[:4])
    assert len(latency) > 50
    np.testing.assert_array_equal(interval, interval[0])
    np.testing.assert_array_equal(nest_interval, interval[0])
    np.testing.assert_array_equal(latency, latency[0])
    np.testing.assert_array_equal(nest_latency, latency[0])


def test_nest_finds_the_samples_of_a_machine(oracle, s1_calibration):
    weights = np.array([[0.0, 1.2, -0.8], [1.2, 0.0, 0.6], [-0.8, 0.6, 0.0]])
    machine = bs.BoltzmannMachine(weights=weights, biases=[-0.4, -0.9, 0.5])
    dt = 0.1
    network = bs.translate(machine, s1_calibration, rule="psp").network
    spikes = oracle(
        network.neurons, s1_calibration.background, duration=4e4, copies=60, dt=dt,
        weights=network.weights.tolist(), delay=dt,
    )  # fmt: skip
    result = bs.sample(machine, calibration=s1_calibration, rule="psp", duration=1e5, chains=64, dt=dt, threads=1)
    counts = joint_counts(result.z)
    for name, theirs, ours in (
        ("marginals", on_time(spikes), result.z.mean(axis=1)),
        ("joint", spikes.joint(), counts / counts.sum(axis=1, keepdims=True)),
    ):
        p, error = with_error(theirs)
        q, our_error = with_error(ours)
        print(f"{name}: NEST {p}\n  SE {error}\n  - engine {p - q}\n  SE {our_error}")
        np.testing.assert_array_less(error, 0.003)
        np.testing.assert_array_less(np.abs(p - q), 4 * np.hypot(error, our_error) + 0.004)
