import dataclasses
import json

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import UnsupportedFeature, ValidationError
from boltzspike.export.hardware import BRAINSCALES_2, Chip, map_network, n_bit

S1, S5A = bs.presets.S1, bs.presets.S5a


def decoded(netlist):
    """Return recurrent weights, background weights and potentials from the netlist alone."""
    units, n = netlist["units"], len(netlist["neurons"])
    recurrent = np.zeros((n, n))
    background = [dict() for _ in range(n)]
    for row in netlist["rows"]:
        for neuron, level, source in row["synapses"]:
            value = level * (row["sign"] or 1) * units["weight_step"]
            if row["kind"] == "recurrent":
                recurrent[neuron, source] += value
            else:
                background[neuron][source] = background[neuron].get(source, 0.0) + value
    return recurrent, background, units


@pytest.fixture
def network(s1_calibration, machine):
    return bs.translate(machine(5), s1_calibration, rule="psp").network


@pytest.mark.parametrize("hardware", [BRAINSCALES_2, n_bit(3)], ids=["brainscales", "n-bit"])
def test_the_netlist_alone_is_the_network_that_is_held(network, hardware):
    mapped = map_network(network, hardware)
    recurrent, background, units = decoded(json.loads(json.dumps(mapped.netlist)))
    np.testing.assert_allclose(recurrent, mapped.network.weights, atol=1e-15)
    for k, (neuron, entry) in enumerate(zip(mapped.network.neurons, mapped.netlist["neurons"])):
        np.testing.assert_allclose(list(background[k].values()), mapped.network.backgrounds[k].weights, atol=1e-15)
        for name in ("v_rest", "v_reset", "v_thresh", "e_rev_exc", "e_rev_inh"):
            value = entry[name]
            if "mv_per_step" in units:
                assert 0 <= value < 2**10
                value = units["mv_at_0"] + value * units["mv_per_step"]
            assert value == pytest.approx(getattr(neuron, name), abs=1e-9)
        scale = 1e3 / hardware.acceleration
        assert entry["tau_syn_exc"] == pytest.approx(neuron.tau_syn_exc * scale)
        assert entry["background_rates"][0] == pytest.approx(3000.0 * hardware.acceleration)


def test_on_a_chip_whose_rows_have_a_sign_a_row_does_and_no_weight_has_more_than_its_bits(network):
    mapped = map_network(network, BRAINSCALES_2)
    levels = [synapse[1] for row in mapped.netlist["rows"] for synapse in row["synapses"]]
    assert min(levels) >= 1
    assert max(levels) <= 63
    assert {row["sign"] for row in mapped.netlist["rows"]} == {1, -1}
    signs = np.sign(network.weights)
    both = sum(1 for source in range(5) if {1, -1} <= set(signs[:, source]))
    assert len(mapped.netlist["rows"]) == 5 + both + 2  # and one for each of the two sources


def test_rounding_is_within_half_a_step_and_the_step_is_the_best(network):
    for bits in (2, 4, 8):
        mapped = map_network(network, n_bit(bits))
        error = np.abs(mapped.network.weights - network.weights)
        inside = np.abs(network.weights) <= (2**bits - 1) * mapped.weight_unit
        assert np.all(error[inside] <= mapped.weight_unit / 2 * (1 + 1e-9))
        given = [np.asarray(network.weights), np.array([0.001, -0.001])]

        def loss(unit, bits=bits, given=given):
            held = [np.clip(np.rint(w / unit), -(2**bits - 1), 2**bits - 1) * unit for w in given]
            return sum(
                np.mean((h - w)[w != 0] ** 2) / np.mean(w[w != 0] ** 2) for h, w in zip(held, given)
            )  # fmt: skip

        best = min(loss(unit) for unit in mapped.weight_unit * np.linspace(0.9, 1.1, 41))
        assert loss(mapped.weight_unit) <= best * 1.05 + 1e-9


def test_more_bits_lose_less(network):
    errors = [
        np.sqrt(np.mean((map_network(network, n_bit(bits)).network.weights - network.weights) ** 2))
        for bits in (2, 4, 6, 8)
    ]  # fmt: skip
    assert errors[0] > 2 * errors[1] > 4 * errors[2] > 8 * errors[3]


def test_weights_that_fit_are_kept_and_nothing_is_lost():
    weights = 0.001 * np.array([[0, 3, -7], [1, 0, 2], [5, -4, 0]])
    network = bs.SpikingNetwork(neurons=S1.neuron, backgrounds=S1.background, weights=weights)
    mapped = map_network(network, n_bit(3))
    assert mapped.losses == ()
    np.testing.assert_allclose(mapped.network.weights, weights, rtol=1e-12)
    assert mapped.network.neurons == network.neurons


def test_a_reset_just_below_threshold_goes_a_step_below(network):
    mapped = map_network(network, BRAINSCALES_2)
    step = mapped.netlist["units"]["mv_per_step"]
    assert step == pytest.approx(100 / 1022, rel=1e-3)
    for neuron in mapped.network.neurons:
        assert neuron.v_thresh - neuron.v_reset == pytest.approx(step)
    assert any(loss.feature == "potentials" and "v_reset by" in loss.text for loss in mapped.losses)


def test_time_constants_out_of_range_are_clipped_and_said_so(network):
    slow = dataclasses.replace(S1.neuron, tau_refrac=50.0, tau_syn_exc=40.0, tau_syn_inh=40.0)
    mapped = map_network(dataclasses.replace(network, neurons=slow), BRAINSCALES_2)
    assert mapped.network.neurons[0].tau_refrac == 32.0
    texts = {loss.feature: loss.text for loss in mapped.losses}
    assert texts["tau_refrac"] == "clipped from 50 to 32 us, the range is 0.1 .. 32 us"
    assert texts["tau_syn_exc"] == "clipped from 40 to 30 us, the range is 0.3 .. 30 us"


def test_what_does_not_fit_is_refused_with_the_count():
    def dense(n, rate=100.0):
        rng = np.random.default_rng(1)
        weights = rng.normal(size=(n, n)) * 0.001
        np.fill_diagonal(weights, 0)
        background = bs.PoissonBackground(rates=[rate, rate], weights=[0.001, -0.001])
        return bs.SpikingNetwork(neurons=S1.neuron, backgrounds=background, weights=weights)

    map_network(dense(100), BRAINSCALES_2)
    with pytest.raises(
        UnsupportedFeature, match="has 256 rows of synapses, the network needs 266: 260 for its 130"
    ):
        map_network(dense(130), BRAINSCALES_2)
    with pytest.raises(UnsupportedFeature, match="has 512 neurons, the network 513"):
        map_network(dense(513), BRAINSCALES_2)
    with pytest.raises(UnsupportedFeature, match=r"routes 2.5e\+08 events/s, the network may have 6.1e\+08"):
        map_network(dense(100, rate=3000.0), BRAINSCALES_2)
    alpha = dataclasses.replace(dense(3), neurons=dataclasses.replace(S1.neuron, kernel="alpha"))
    with pytest.raises(UnsupportedFeature, match="BrainScaleS-2 can't hold: alpha"):
        map_network(alpha, BRAINSCALES_2)


def test_hardware_that_can_not_be_is_refused():
    with pytest.raises(ValidationError, match=r"Chip.weight_bits: must be an integer in 1 .. 24, got 0"):
        n_bit(0)
    with pytest.raises(ValidationError, match="Chip.ranges: must be of tau_m"):
        Chip(name="x", weight_bits=4, ranges={"c_m": (1.0, 2.0)})


def predicted(losses):
    """Return D_KL within and without the limits from the report."""
    text = next(loss.text for loss in losses if loss.feature == "predicted")
    words = text.split()
    return float(words[4]), float(words[10])


def test_export_predicts_what_the_limits_cost(machine, s1_calibration, tmp_path):
    costs = {}
    for bits in (1, 2, 8):
        done = bs.export(
            machine(4), tmp_path / f"{bits}", to="n-bit", bits=bits, calibration=s1_calibration, rule="psp",
            allow_loss=True,
        )  # fmt: skip
        costs[bits] = predicted(done.losses)
    assert costs[1][0] > 3 * costs[8][0]
    assert costs[8][0] == pytest.approx(costs[8][1], abs=0.002)
    held = bs.read(tmp_path / "1" / "network.json")
    assert len(np.unique(np.abs(held.weights))) <= 2
    with pytest.raises(UnsupportedFeature, match=r"BrainScaleS-2 can't hold all of this network; --allow-loss"):
        bs.export(machine(4), tmp_path / "b", to="brainscales", calibration=s1_calibration, rule="psp")
    done = bs.export(
        machine(4), tmp_path / "b", to="brainscales", calibration=s1_calibration, rule="psp", allow_loss=True
    )
    assert {"netlist.json", "losses.txt", "network.json"} <= set(done.files)
    print(*done.losses, sep="\n")
