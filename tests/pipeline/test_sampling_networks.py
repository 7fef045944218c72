import dataclasses
import json

import numpy as np
import pytest
import scipy.sparse

import boltzspike as bs
from boltzspike.engines import get_engine
from boltzspike.errors import ValidationError
from boltzspike.program import compile_program
from boltzspike.samples import Record

S1 = bs.presets.S1
RECOVERY = (10.0, 8.0, 12.0, 9.0)


def neurons(shifts):
    return [
        dataclasses.replace(S1.neuron, v_rest=S1.neuron.v_rest + shift, tau_refrac=tau)
        for shift, tau in zip(shifts, RECOVERY)
    ]


@pytest.fixture
def network():
    """Return neurons of four kinds with sparse weights that are not symmetric."""
    weights = np.zeros((4, 4))
    weights[0, 1], weights[1, 0], weights[2, 0], weights[3, 2] = 0.001, -0.0015, 0.002, -0.001
    return bs.SpikingNetwork(
        neurons=neurons((-0.5, 0.5, 0.0, 1.0)), backgrounds=S1.background, weights=scipy.sparse.csr_array(weights)
    )


@pytest.mark.parametrize(("engine", "duration"), [("numba", 6000.0), ("reference", 240.0)])
def test_samples_of_a_network_are_those_of_the_engine(network, engine, duration):
    result = bs.sample(network, duration=duration, burn_in=120.0, chains=8, seed=3, engine=engine)
    runner = get_engine(engine).prepare(compile_program(network))
    _, state = runner.run(runner.init(seed=3, chains=8), 1200, Record())
    samples, _ = runner.run(state, round(duration / 0.1), Record(states_every=120))
    np.testing.assert_array_equal(result.z, samples.states)
    np.testing.assert_allclose(result.marginals(), samples.states.mean(axis=(0, 1)), rtol=1e-12)
    assert result.configuration["draw_every_ms"] == max(RECOVERY)


def test_neurons_without_synapses_fire_as_the_density_says():
    shifts = (-1.0, 0.0, 0.5, 1.0)
    free = bs.SpikingNetwork(neurons=neurons(shifts), backgrounds=S1.background, weights=np.zeros((4, 4)))
    result = bs.sample(free, duration=2e4, chains=32, seed=1, record="moments")
    exact = [
        bs.response(neuron, S1.background, v_rest=[neuron.v_rest], method="density", dt=0.1).p[0]
        for neuron in free.neurons
    ]
    assert np.ptp(exact) > 0.4
    np.testing.assert_array_less(np.abs(result.marginals() - exact), 4 * result.marginals_error() + 5e-4)


def test_a_network_goes_on_where_it_ended(network, tmp_path):
    common = {"chains": 4, "seed": 5, "burn_in": 120.0}
    whole = bs.sample(network, duration=2400.0, **common)
    first = bs.sample(network, duration=1200.0, checkpoint=tmp_path / "state.npz", **common)
    second = bs.sample(network, duration=1200.0, resume=tmp_path / "state.npz", **common)
    np.testing.assert_array_equal(np.concatenate([first.z, second.z], axis=1), whole.z)
    until = bs.sample_until(network, "ess>1e9", duration=2400.0, **common)
    np.testing.assert_array_equal(until.z, whole.z)
    assert not until.configuration["reached"]


def test_what_its_schedule_holds_is_held_and_then_free(network):
    course = bs.Piecewise(quantity="clamp", times=[0.0, 1200.0], values=[1, -1], units=[1])
    result = bs.sample(
        dataclasses.replace(network, schedule=course), duration=2400.0, burn_in=0.0, chains=16, draw_every=10.0
    )
    assert result.during(100.0, 1200.0).marginals()[1] == 1.0
    assert 0.05 < result.during(1300.0, 2400.0).marginals()[1] < 0.95


def test_a_translated_network_is_compared_with_its_target(random_machine, s1_calibration, tmp_path):
    machine = random_machine(3)
    of_machine = bs.sample(machine, calibration=s1_calibration, duration=2000.0, chains=16, record="joint")
    given = bs.sample(of_machine.network, target=machine, duration=2000.0, chains=16, record="joint")
    assert given.kl_divergence() == of_machine.kl_divergence()
    held = bs.sample(of_machine.network, target=machine, duration=2000.0, chains=16, clamp={"z1": 1})
    assert held.z[..., 1].min() == 1
    exact = machine.given({1: 1})[0]
    weights = np.exp([exact.to_boltzmann().energy(np.array(z)) * -1 for z in ((0, 0), (0, 1), (1, 0), (1, 1))])
    p = weights / weights.sum()
    np.testing.assert_allclose(held.reference().marginals[[0, 2]], [p[2] + p[3], p[1] + p[3]])
    held.save(tmp_path / "held.nc")
    assert bs.read(tmp_path / "held.nc").machine == machine
    other = dataclasses.replace(machine, names=["a", "b", "c"])
    with pytest.raises(ValidationError, match="target: must be of the network's 3 units in their order, z0, z1"):
        bs.sample(of_machine.network, target=other)


@pytest.fixture
def alone(network):
    record = Record(states_every=120, spikes=True, voltages=(0,))
    return bs.sample(network, duration=2400.0, chains=8, seed=2, record=record)


@pytest.mark.parametrize(
    "method",
    [
        "target", "reference", "energies", "kl_divergence", "distances", "extrapolation", "temperature", "modes",
        "bias_bound", "marginals_bias", "test_marginals", "test_pairs", "test_joint",
    ],
)  # fmt: skip
def test_what_compares_says_that_there_is_no_target(alone, method):
    with pytest.raises(ValidationError, match="^no target: "):
        getattr(alone, method)()


def test_all_else_is_had_without_a_target(alone):
    assert alone.exact() is None
    assert alone.names == ("z0", "z1", "z2", "z3")
    assert alone.convergence().names == alone.names
    assert alone.verdict().biased is None
    assert alone.joint().sum() == pytest.approx(1)
    joint = alone.joint().reshape(2, 2, 2, 2)
    np.testing.assert_allclose(joint[:, 1].sum(), alone.marginals()[1])
    assert np.isfinite(alone.efficiency().per_spike)
    assert alone.samples.spikes is not None
    assert alone.samples.voltages.shape == (8, 24_000, 1)
    found = alone.summary()
    assert found["d_kl"] is None
    assert found["exact_marginals"] is None
    assert found["missing"]["d_kl"].startswith("no target")
    np.testing.assert_array_equal(found["marginals"], alone.marginals())


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_a_result_without_a_target_is_read_as_it_was_saved(alone, tmp_path, suffix):
    alone.save(tmp_path / f"run.{suffix}")
    back = bs.read(tmp_path / f"run.{suffix}")
    assert back.machine is None
    assert back.network == alone.network
    assert "target" not in back.to_datatree().children
    np.testing.assert_array_equal(back.z, alone.z)
    np.testing.assert_array_equal(back.samples.voltages, alone.samples.voltages)


def test_a_page_about_a_network_compares_with_nothing(alone, tmp_path):
    pytest.importorskip("jinja2")
    alone.report(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "Samples of a network of 4 neurons" in text
    assert "boltzspike.sample(network, duration=2400.0" in text
    for word in ("exact probabilities", "D_KL", "difference", "Tests against"):
        assert word not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "psp"}, "rule: must be left out: a SpikingNetwork runs as it is"),
        ({"synapse": bs.Synapse()}, "synapse: must be left out"),
        ({"evidence": {"a": "b"}}, "evidence: must be left out"),
        ({"schedule": bs.Wave(quantity="v_rest", amplitude=1.0, frequency=1.0)}, "schedule: must be left out"),
        ({"clamping": "bias"}, "clamping: must be 'spikes', or left out"),
        ({"engine": "gibbs"}, "engine: must be one with neurons"),
        ({"target": "m.json"}, "target: must be a Boltzmann machine or RBM, got 'str'"),
        ({"clamp": {"lung": 1}}, "clamp: no unit named 'lung'"),
        ({"clamp": dict.fromkeys(range(4), 1)}, "clamp: must be of fewer than all 4 units, got 4"),
        ({"dt": 0.3}, "tau_refrac"),
        ({"dt": "a"}, "dt: must be > 0 ms, got 'a'"),
        ({"duration": "5"}, "duration: must be > 0 ms, got '5'"),
        ({"engine": 3}, "engine: must be the name of an engine, or an Engine, got 3"),
        ({"draw_every": "x"}, "draw_every: must be > 0 ms, got 'x'"),
        ({"initial": 5}, "initial: must be an Initial, got 5"),
        ({"duration": 1e12}, "of memory, got one that takes"),
    ],
)
def test_what_a_network_can_not_take_is_refused_by_name(network, options, message):
    with pytest.raises(ValidationError, match=message):
        bs.sample(network, **options)


def test_a_machine_takes_no_target(random_machine):
    with pytest.raises(ValidationError, match="target: must be left out: it is for a SpikingNetwork"):
        bs.sample(random_machine(2), target=random_machine(2))
    network = bs.SpikingNetwork(neurons=S1.neuron, backgrounds=S1.background, weights=np.zeros((2, 2)))
    with pytest.raises(ValidationError, match="target: must be given with until='dkl<X'"):
        bs.sample_until(network, "dkl<0.1")


def test_the_command_line_samples_a_network_file(network, tmp_path, boltzspike):
    network.save(tmp_path / "net.json")
    common = (tmp_path / "net.json", "--duration", "2400ms", "--chains", 8, "--seed", 2)
    done = boltzspike("sample", *common, "-o", tmp_path / "run.nc")
    assert done.returncode == 0, done.stderr
    assert "no target to compare with" in done.stdout
    assert "difference" not in done.stdout
    expected = bs.sample(network, duration=2400.0, chains=8, seed=2)
    np.testing.assert_array_equal(bs.read(tmp_path / "run.nc").z, expected.z)
    shown = boltzspike("show", tmp_path / "run.nc", "--json")
    found = json.loads(shown.stdout)
    np.testing.assert_array_equal(found["marginals"], expected.marginals())
    assert found["d_kl"] is None
    refused = boltzspike("sample", *common, "--neuron", "S1")
    assert refused.stderr == "error: neuron: left out for a spiking network, which runs as it is\n"
    target = bs.BoltzmannMachine(weights=np.zeros((4, 4)), biases=np.ones(4))
    target.save(tmp_path / "m.json")
    compared = boltzspike("sample", *common, "--target", tmp_path / "m.json")
    assert "marginals: RMS difference from exact" in compared.stdout
