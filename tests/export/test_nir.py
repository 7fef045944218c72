import dataclasses

import nir
import numpy as np
import pytest

import boltzspike as bs
from boltzspike.engines import get_engine
from boltzspike.errors import MissingDependency, UnsupportedFeature, ValidationError
from boltzspike.export.nir import from_nir, losses_of, to_nir
from boltzspike.program import compile_program
from boltzspike.samples import Record

S1, S5A = bs.presets.S1, bs.presets.S5a


@pytest.fixture
def network(s1_calibration, random_machine):
    return bs.translate(random_machine(5), s1_calibration, rule="psp").network


def occupancy(network, seed=1):
    """Return p(z=1) and its standard error."""
    runner = get_engine("numba", threads=1).prepare(compile_program(network))
    _, state = runner.run(runner.init(seed=seed, chains=64), 5000, Record())
    on = runner.run(state, 200_000, Record(occupancy=True))[0].gathered.occupancy.shares(64).reshape(64, -1)
    return on.mean(axis=0), on.std(axis=0, ddof=1) / 8


def test_a_network_is_read_back_from_the_file_as_it_was_written(network, tmp_path):
    nir.write(tmp_path / "network.nir", to_nir(network))
    assert from_nir(tmp_path / "network.nir") == network
    alone = nir.read(tmp_path / "network.nir")
    assert alone.metadata["tau_refrac"] == pytest.approx(0.01)


def test_the_graph_alone_is_the_current_based_network_it_stands_for(tmp_path):
    """Current-based, static synapses, a delay: nothing but the refractory period is in the metadata."""
    weights = np.array([[0, 0.1, -0.2], [0.3, 0, 0.05], [-0.1, 0.2, 0]])
    neurons = [dataclasses.replace(S5A.neuron, v_rest=v, i_offset=0.0) for v in (-50.0, -51.0, -49.5)]
    synapse = bs.Synapse(plasticity="additive", delay=0.5)
    unbalanced = bs.PoissonBackground(rates=[1000.0, 700.0], weights=[0.2, -0.15])
    network = bs.SpikingNetwork(neurons=neurons, backgrounds=unbalanced, weights=weights, synapse=synapse)
    nir.write(tmp_path / "network.nir", to_nir(network))
    found = from_nir(tmp_path / "network.nir", metadata=False)
    np.testing.assert_allclose(found.weights, weights, rtol=1e-12)
    assert found.synapse.delay == pytest.approx(0.5)
    for ours, theirs in zip(network.neurons, found.neurons):
        for field in ("c_m", "tau_m", "v_rest", "v_reset", "v_thresh", "tau_refrac", "tau_syn_exc", "tau_syn_inh"):
            assert getattr(theirs, field) == pytest.approx(getattr(ours, field), rel=1e-12)
    np.testing.assert_allclose(found.backgrounds[0].weights, unbalanced.weights, rtol=1e-12)
    np.testing.assert_allclose(found.backgrounds[0].rates, unbalanced.rates)


def test_the_linearised_graph_samples_as_the_conductances_do_to_within_their_fluctuation(network):
    """With static synapses in both; what is left is the total conductance, held at its mean."""
    additive = dataclasses.replace(network, synapse=bs.Synapse(plasticity="additive"))
    (p, error), (q, other) = occupancy(additive), occupancy(from_nir(to_nir(additive), metadata=False))
    silent = dataclasses.replace(additive, weights=np.zeros((5, 5)))
    r, _ = occupancy(silent)
    assert np.abs(p - r).max() > 0.1
    assert np.all(np.abs(p - q) < 0.003 + 4 * np.hypot(error, other))


def test_losses_are_named_with_numbers(network):
    losses = {loss.feature: loss.text for loss in losses_of(network)}
    assert list(losses) == ["refractory", "background", "renewing", "conductance"]
    assert "1.58 times" in losses["renewing"]  # 1 / (1 - 1/e)
    # sqrt(6 / ms x (1 nS)^2 x 10 ms / 2) = 5.5 nS of 260 nS
    assert "fluctuates by 2.1 %" in losses["conductance"]
    current = bs.SpikingNetwork(
        neurons=S5A.neuron, backgrounds=S5A.background, weights=np.zeros((2, 2)),
        synapse=bs.Synapse(plasticity="additive"),
    )  # fmt: skip
    assert [loss.feature for loss in losses_of(current)] == ["refractory", "background"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"neurons": dataclasses.replace(S1.neuron, kernel="alpha")}, "nir can't hold: alpha"),
        (
            {"neurons": dataclasses.replace(S1.neuron, tau_syn_inh=5.0)},
            r"unequal tau_syn \(a CubaLIF neuron has one",
        ),
        ({"delays": np.full((2, 2), 0.5)}, "delays"),
        ({"shared": bs.SharedBackground(rates=[10.0], weights=np.ones((2, 1)))}, "shared-background"),
        ({"schedule": bs.Wave(quantity="i_offset", amplitude=0.1, frequency=8.0)}, "schedule"),
    ],
)
def test_what_makes_another_network_of_it_is_refused(values, message):
    base = {"neurons": S1.neuron, "backgrounds": S1.background, "weights": np.array([[0, 0.001], [0.001, 0]])}
    with pytest.raises(UnsupportedFeature, match=message):
        to_nir(bs.SpikingNetwork(**(base | values)))


def test_a_graph_of_another_kind_is_refused_by_its_node(network, tmp_path):
    graph = to_nir(network)
    with pytest.raises(ValidationError, match="tau_refrac: must be given"):
        from_nir(nir.NIRGraph(nodes=graph.nodes, edges=graph.edges))
    assert (
        from_nir(nir.NIRGraph(nodes=graph.nodes, edges=graph.edges), tau_refrac=10.0).neurons[0].tau_refrac == 10
    )
    lone = nir.NIRGraph.from_list(nir.Input(np.array([2])), nir.Linear(np.eye(2)), nir.Output(np.array([2])))
    with pytest.raises(ValidationError, match="exactly one CubaLIF"):
        from_nir(lone)
    (tmp_path / "bad.nir").write_bytes(b"no HDF5")
    with pytest.raises(ValidationError, match=r"bad.nir: can't be read as NIR"):
        from_nir(tmp_path / "bad.nir")


def test_export_writes_the_graph_only_where_loss_is_allowed(random_machine, s1_calibration, tmp_path):
    options = {"to": "nir", "calibration": s1_calibration, "rule": "psp"}
    with pytest.raises(UnsupportedFeature, match=r"--allow-loss .* writes it without:\n  refractory: "):
        bs.export(random_machine(3), tmp_path / "n", **options)
    assert not list(tmp_path.iterdir())
    done = bs.export(random_machine(3), tmp_path / "n", allow_loss=True, **options)
    assert done.files == ("export.json", "losses.txt", "machine.json", "network.nir", "translation.json")
    assert len(done.losses) == 4
    assert (tmp_path / "n" / "losses.txt").read_text().count("\n") == 4
    assert from_nir(tmp_path / "n" / "network.nir") == bs.read(tmp_path / "n" / "translation.json").network


def test_without_nir_the_pip_command_is_given(network, monkeypatch):
    import builtins

    plain = builtins.__import__

    def without(name, *rest, **more):
        if name == "nir":
            raise ImportError("No module named 'nir'")
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependency, match=r'pip install "boltzspike\[nir\]"'):
        to_nir(network)
