import dataclasses

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError

S1 = bs.presets.S1


def network(**changes):
    values = {"neurons": S1.neuron, "backgrounds": S1.background, "weights": np.zeros((3, 3))} | changes
    return bs.SpikingNetwork(**values)


def test_one_neuron_stands_for_all():
    assert network().neurons == (S1.neuron,) * 3
    assert network().names == ("z0", "z1", "z2")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": np.zeros((2, 3))}, "weights: must be square"),
        ({"weights": np.eye(3)}, r"weights\[0, 0\]: must be 0 \(no autapse\)"),
        ({"weights": np.full((3, 3), np.nan)}, r"weights\[0, 0\]: must be finite"),
        ({"neurons": [S1.neuron] * 2}, r"neurons: must be one a unit \(3\)"),
        ({"backgrounds": [S1.background]}, r"backgrounds: must be one a unit \(3\)"),
        (
            {"neurons": [S1.neuron, S1.neuron, bs.presets.S5a.neuron]},
            "neurons: must be of one type and one kernel",
        ),
    ],
)
def test_a_bad_network_is_named(changes, message):
    with pytest.raises(ValidationError, match="SpikingNetwork." + message):
        network(**changes)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"plasticity": "static"},
            "Synapse.plasticity: must be 'renewing', 'additive' or 'tsodyks-markram', got 'static'",
        ),
        ({"delay": 0.0}, "Synapse.delay: must be > 0 ms, got 0.0"),
    ],
)
def test_a_bad_synapse_is_named(values, message):
    with pytest.raises(ValidationError, match=message):
        bs.Synapse(**values)


def test_weights_may_be_asymmetric():
    weights = np.zeros((3, 3))
    weights[0, 1] = 0.001
    assert network(weights=weights).weights[1, 0] == 0
    assert dataclasses.replace(network(weights=weights)) == network(weights=weights)
