"""What is NEST's own: traces against the reference engine, states by simulating anew, and every way to fail."""

import dataclasses
import importlib.util
import os
import signal

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.engines import get_engine
from boltzspike.engines.nest import engine as nest_engine
from boltzspike.engines.nest import process
from boltzspike.engines.start import Initial
from boltzspike.errors import MissingDependency, SimulatorError, UnsupportedFeature
from boltzspike.program import compile_program
from boltzspike.samples import Record

S1, S5A = bs.presets.S1, bs.presets.S5a
SILENT = bs.PoissonBackground(rates=[], weights=[])
SYNAPSES = {
    "renewing": bs.Synapse(delay=0.3),
    "additive": bs.Synapse(plasticity="additive", delay=1.2),
    "tsodyks-markram": bs.Synapse(plasticity="tsodyks-markram", U=0.4, tau_rec=60.0, tau_fac=30.0),
    "additive, teeth": bs.Synapse(plasticity="additive", teeth=5, delay=0.3),
}


def prepared(network, *, engine="nest", threads=1, **options):
    return get_engine(engine, threads=threads).prepare(compile_program(network, dt=0.1, **options))


def sampling(n=3, preset=S1, weight=0.001):
    weights = np.full((n, n), weight)
    np.fill_diagonal(weights, 0)
    return bs.SpikingNetwork(neurons=preset.neuron, backgrounds=preset.background, weights=weights)


@pytest.mark.parametrize("plasticity", SYNAPSES)
@pytest.mark.parametrize("preset", [S1, S5A], ids=["conductance", "current"])
def test_a_trace_of_short_term_plasticity_is_that_of_the_reference_engine(preset, plasticity):
    """A regular neuron and one that it disturbs drive a third, which is out of reach of its threshold."""
    regular = dataclasses.replace(preset.neuron, v_rest=-49.9, v_reset=-53.0)
    disturbed = dataclasses.replace(preset.neuron, v_rest=-48.0, v_reset=-53.0, tau_refrac=17.0)
    target = dataclasses.replace(preset.neuron, v_rest=-55.0, v_thresh=-20.0)
    unit = 0.01 if preset is S1 else 0.5
    weights = unit * np.array([[0, 0, 0], [-0.3, 0, 0], [1.0, -0.7, 0]])
    network = bs.SpikingNetwork(
        neurons=[regular, disturbed, target], backgrounds=SILENT, weights=weights, synapse=SYNAPSES[plasticity]
    )
    found = {}
    for engine in ("reference", "nest"):
        runner = prepared(network, engine=engine)
        record = Record(voltages=(2,), spikes=True)
        found[engine] = runner.run(runner.init(seed=1, chains=1), 3000, record)[0]
    ours, theirs = found["reference"], found["nest"]
    assert len(np.unique(np.diff(ours.spikes.step[ours.spikes.unit == 1]))) > 1
    np.testing.assert_array_equal(theirs.spikes.step, ours.spikes.step)
    np.testing.assert_array_equal(theirs.spikes.unit, ours.spikes.unit)
    size = np.ptp(ours.voltages)
    assert size > 0.3
    # ours holds the synaptic variable at its mean over a step: (dt/tau)^2 / 12 of the change in it
    np.testing.assert_allclose(theirs.voltages, ours.voltages, atol=2e-3 * size)


def test_an_earlier_state_is_reached_by_simulating_anew():
    runner, record = prepared(sampling()), Record(spikes=True)
    start = runner.init(seed=3, chains=2)
    _, middle = runner.run(start, 700, record)
    first, _ = runner.run(middle, 500, record)
    again, _ = runner.run(middle, 500, record)
    other = prepared(sampling(), threads=2)
    elsewhere, _ = other.run(middle, 500, record)
    for rest in (again, elsewhere):
        assert np.array_equal(rest.spikes.step, first.spikes.step)
        assert np.array_equal(rest.spikes.before, first.spikes.before)
    assert len(first.spikes.step) > 5


def test_sample_runs_in_nest_and_goes_on_from_a_checkpoint(tmp_path, random_machine):
    machine, options = random_machine(3), {"rule": "psp", "engine": "nest", "threads": 1, "chains": 4, "seed": 2}
    whole = bs.sample(machine, duration=600.0, burn_in=200.0, **options)
    bs.sample(machine, duration=300.0, burn_in=200.0, checkpoint=tmp_path / "state.npz", **options)
    rest = bs.sample(machine, duration=300.0, resume=tmp_path / "state.npz", **options)
    assert np.array_equal(rest.z, whole.z[:, 30:])
    assert whole.configuration["approximation"].startswith("NEST 3")


def test_potentials_may_be_given_and_last_spikes_not():
    network = bs.SpikingNetwork(neurons=S5A.neuron, backgrounds=SILENT, weights=np.zeros((2, 2)))
    runner = prepared(dataclasses.replace(network, neurons=dataclasses.replace(S5A.neuron, v_rest=-55.0)))
    state = runner.init(seed=1, chains=1, initial=Initial(v=np.array([-60.0, -51.0])))
    v = runner.run(state, 3, Record(voltages=True))[0].voltages[0]
    assert v[0] == pytest.approx(-55 + np.array([-5, 4]) * np.exp(-0.1 / S5A.neuron.tau_m))
    with pytest.raises(UnsupportedFeature, match=r"Initial.last_spike"):
        runner.init(seed=1, chains=1, initial=Initial(last_spike=np.array([-1, -5])))


def test_a_process_that_dies_is_an_error_and_the_run_can_be_taken_up_again():
    runner, record = prepared(sampling()), Record(spikes=True)
    _, state = runner.run(runner.init(seed=1, chains=2), 300, record)
    expected, _ = runner.run(state, 300, record)
    os.kill(runner._process._process.pid, signal.SIGKILL)
    with pytest.raises(SimulatorError, match=r"NEST: it ended with signal 9; its output:\n"):
        runner.run(runner.init(seed=2, chains=2), 300, record)
    after, _ = runner.run(state, 300, record)
    assert np.array_equal(after.spikes.step, expected.spikes.step)


def test_a_process_that_hangs_is_stopped_and_its_output_shown(tmp_path, monkeypatch):
    script = tmp_path / "hangs.py"
    script.write_text("import sys, time\nprint('stuck here', file=sys.stderr, flush=True)\ntime.sleep(60)")
    monkeypatch.setattr(process, "SILENCE", 0.5)
    hung = process.Process("NEST", script)
    folder = hung.folder
    with pytest.raises(SimulatorError, match=r"said nothing for 0.5 s and was stopped; its output:\nstuck here"):
        hung.ask({})
    assert hung._process.poll() is not None
    assert not folder.exists()


def test_potentials_that_are_not_finite_are_an_error():
    """Excitation and inhibition beyond all numbers: infinity less infinity."""
    weights = np.array([[0, 0, 0], [0, 0, 0], [1e306, -1e306, 0]])
    always = dataclasses.replace(S5A.neuron, v_rest=0.0)
    synapse = bs.Synapse(plasticity="additive")
    runner = prepared(bs.SpikingNetwork(neurons=always, backgrounds=SILENT, weights=weights, synapse=synapse))
    with pytest.raises(SimulatorError, match="potentials or synapses in NEST are not finite"):
        runner.run(runner.init(seed=1, chains=1), 3000, Record())


def test_without_nest_or_with_an_old_or_broken_one_the_pip_command_is_given(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(nest_engine, "OLDEST", (99, 0))
        with pytest.raises(MissingDependency, match=r'needs NEST >= 3.8, got 3.*pip install "boltzspike\[nest\]"'):
            prepared(sampling())
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingDependency, match=r'needs NEST: pip install "boltzspike\[nest\]"'):
            prepared(sampling())
    (tmp_path / "nest.py").write_text("raise ImportError('numpy.core.multiarray failed to import')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MissingDependency, match=r"can't be imported \(numpy.core.*pip install.*fits it to NumPy"):
        prepared(sampling())
