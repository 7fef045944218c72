import dimod
import networkx
import numpy as np
import pytest
from dimod.serialization import coo

import boltzspike as bs
from boltzspike.errors import ValidationError
from boltzspike.formats import ising
from boltzspike.theory.exact import all_states


@pytest.fixture
def model(rng):
    h = {k: float(rng.normal()) for k in range(4)}
    couplings = {(0, 1): 0.7, (1, 3): -1.2, (0, 3): 0.4, (2, 3): 0.9}
    return dimod.BinaryQuadraticModel.from_ising(h, couplings, 2.5)


def energies(bqm, labels):
    z = all_states(len(labels))
    states = 2 * z - 1 if bqm.vartype is dimod.SPIN else z
    return bqm.energies((states, labels))


@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_a_machine_has_betas_times_the_energy_of_its_bqm_up_to_a_constant(model, vartype):
    bqm = model.change_vartype(dimod.as_vartype(vartype), inplace=False)
    machine = ising.from_bqm(bqm, beta=0.3)
    difference = machine.energy(all_states(4)) - 0.3 * energies(bqm, list(bqm.variables))
    np.testing.assert_allclose(difference, difference[0], atol=1e-12)


@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_a_bqm_of_a_machine_has_its_energy_and_comes_back(random_machine, vartype):
    machine = random_machine(4)
    bqm = ising.to_bqm(machine, beta=2.0, vartype=vartype)
    np.testing.assert_allclose(2.0 * energies(bqm, list(machine.names)), machine.energy(all_states(4)), atol=1e-12)
    again = ising.from_bqm(bqm, beta=2.0)
    order = [again.names.index(name) for name in machine.names]
    np.testing.assert_allclose(np.asarray(again.weights)[np.ix_(order, order)], machine.weights, atol=1e-12)
    np.testing.assert_allclose(np.asarray(again.biases)[order], machine.biases, atol=1e-12)


def test_arrays_of_spins_and_bits_go_both_ways_with_beta(random_machine):
    machine = random_machine(5)
    h, couplings, offset = ising.to_ising(machine, beta=0.7)
    s = 2.0 * all_states(5) - 1
    energy = s @ h + np.einsum("ki,ij,kj->k", s, couplings, s) / 2 + offset
    np.testing.assert_allclose(0.7 * energy, machine.energy(all_states(5)), atol=1e-12)
    again = ising.from_ising(h, couplings, beta=0.7)
    np.testing.assert_allclose(again.weights, machine.weights, atol=1e-12)
    np.testing.assert_allclose(again.biases, machine.biases, atol=1e-12)
    same = ising.from_qubo(ising.to_qubo(machine, beta=3.0), beta=3.0)
    np.testing.assert_allclose(same.weights, machine.weights, atol=1e-12)


def test_a_graph_goes_both_ways(random_machine):
    machine = random_machine(4)
    again = ising.from_networkx(ising.to_networkx(machine, beta=2.0), beta=2.0)
    assert again.names == machine.names
    np.testing.assert_allclose(again.weights, machine.weights, atol=1e-12)
    np.testing.assert_allclose(again.biases, machine.biases, atol=1e-12)


def test_edges_without_attribute_couple_antiferromagnetically():
    machine = ising.from_networkx(networkx.cycle_graph(4))
    assert machine.weights[0, 1] == -4.0
    assert machine.weights[0, 2] == 0.0


def test_weights_of_a_graph_are_not_passed_over():
    graph = networkx.Graph()
    graph.add_edge("a", "b", weight=3.0)
    with pytest.raises(ValidationError, match=r"\('a', 'b'\): must have 'J', got 'weight': coupling='weight'"):
        ising.from_networkx(graph)
    assert ising.from_networkx(graph, coupling="weight").weights[0, 1] == -12.0
    graph.add_edge("a", "b", J="strong")
    with pytest.raises(ValidationError, match=r"\('a', 'b'\): must be a finite number, got 'strong'"):
        ising.from_networkx(graph)


@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_dimods_coo_is_read(model, tmp_path, vartype):
    bqm = model.change_vartype(dimod.as_vartype(vartype), inplace=False)
    (tmp_path / "m.coo").write_text(coo.dumps(bqm, vartype_header=True))
    machine = bs.read(tmp_path / "m.coo")
    expected = ising.from_bqm(bqm)
    order = [expected.names.index(name) for name in machine.names]
    np.testing.assert_allclose(machine.weights, np.asarray(expected.weights)[np.ix_(order, order)], atol=1e-5)
    np.testing.assert_allclose(machine.biases, np.asarray(expected.biases)[order], atol=1e-5)


QUBO = "c a comment\np qubo 0 3 2 1\n0 0 1.5\n2 2 -1\nc couplers\n0 2 2.0\n"
RUD = "4 3\n1 2 1\n2 3 -1\n3 4 2\n"


def test_qubo_and_rud_are_read(tmp_path):
    (tmp_path / "m.qubo").write_text(QUBO)
    machine = bs.read(tmp_path / "m.qubo")
    np.testing.assert_array_equal(machine.biases, [-1.5, 0, 1])
    assert machine.weights[0, 2] == -2.0
    (tmp_path / "g.rud").write_text(RUD)
    graph = bs.read(tmp_path / "g.rud")
    assert graph.names == ("1", "2", "3", "4")
    z = all_states(4)
    cut = sum(w * (z[:, i] != z[:, j]) for i, j, w in ((0, 1, 1), (1, 2, -1), (2, 3, 2)))
    energy = graph.energy(z)
    np.testing.assert_allclose(energy + 2 * cut, (energy + 2 * cut)[0], atol=1e-12)


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (QUBO, "0 2 2.0", "0 3 2.0", "line 6: must name nodes below 3, got 3"),
        (QUBO, "0 2 2.0", "0 2 x", "line 6: must be 'i j value', got '0 2 x'"),
        (QUBO, "3 2 1", "3 2 2", "must have 2 diagonals and 2 couplers, got 2 and 1"),
        (QUBO, "p qubo 0 3 2 1", "p qubo 0 3", "must have a line 'p qubo 0 nodes diagonals couplers'"),
        (QUBO, "2 2 -1", "0 0 -1", "line 4: the pair 0 0 is given twice, first in line 3"),
        (RUD, "3 4 2", "3 5 2", "line 4: must join two nodes of 1 .. 4, got 3 5"),
        (RUD, "3 4 2\n", "", "must have 3 edges, got 2"),
        (RUD, "2 3 -1", "2 1 -1", "line 3: the pair 2 1 is given twice, first in line 2"),
        (RUD, "3 4 2", "3 99999 2", "line 4: must name at most 16384 units, got 99999"),
        ("# vartype=SPIN\n0 1 1\n", "SPIN", "SPUN", "line 1: must be '# vartype=SPIN' or"),
        ("# vartype=SPIN\n0 1 nan\n", "0 1 nan", "0 1 nan", "line 2: must be 'i j value'"),
        (
            "# vartype=SPIN\n0 1 1\n",
            "0 1 1",
            "0 1 1e308",
            r"bad: BoltzmannMachine.weights\[0, 1\]: must be finite",
        ),
    ],
)
def test_a_fault_names_the_line(tmp_path, text, old, new, message):
    assert old in text
    (tmp_path / "bad").write_text(text.replace(old, new))
    with pytest.raises(ValidationError, match=message):
        bs.read(tmp_path / "bad")


def test_labels_that_print_alike_stay_apart():
    machine = ising.from_bqm(dimod.BinaryQuadraticModel({1: 1.0, "1": 2.0}, {}, 0.0, "BINARY"))
    assert machine.names == ("1", "'1'")


@pytest.mark.parametrize("text", [QUBO, RUD, "# vartype=SPIN\n0 0 0.5\n0 1 -1\n"])
def test_a_file_is_read_at_the_beta_that_is_asked_for(tmp_path, text):
    (tmp_path / "m").write_text(text)
    one, two = bs.read(tmp_path / "m"), bs.read(tmp_path / "m", beta=2.0)
    np.testing.assert_allclose(two.weights, 2 * one.weights)
    np.testing.assert_allclose(two.biases, 2 * one.biases)
    assert np.abs(one.weights).max() > 0
    with pytest.raises(ValidationError, match="beta: must be > 0, got 0"):
        bs.read(tmp_path / "m", beta=0.0)


def test_a_file_that_holds_its_own_temperature_takes_no_beta(tmp_path, random_machine):
    random_machine(2).save(tmp_path / "m.json")
    (tmp_path / "m.bif").write_text("network x {}\n")
    for name in ("m.json", "m.bif"):
        with pytest.raises(ValidationError, match=f"{name}: beta: must be left out"):
            bs.read(tmp_path / name, beta=1.0)
