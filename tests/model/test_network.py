import dataclasses

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array

import boltzspike as bs
from boltzspike.errors import ValidationError

S1 = bs.presets.S1


ONE = np.array([[0, 0.001, 0], [0, 0, 0], [0, 0, 0]])


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
        ({"weights": csr_array(np.eye(3))}, r"weights\[0, 0\]: must be 0 \(no autapse\)"),
        ({"weights": csr_array((3, 2))}, "weights: must be square"),
        ({"delays": np.ones((2, 2))}, r"delays: must be of shape \(3, 3\)"),
        ({"delays": csr_array((3, 3))}, "delays: must be dense as weights are, got 'csr_array'"),
        ({"weights": ONE, "delays": np.zeros((3, 3))}, r"delays\[0, 1\]: must be > 0 ms, got 0.0"),
        ({"weights": csr_array(ONE), "delays": np.ones((3, 3))}, "delays: must be sparse as weights are"),
        ({"weights": csr_array(ONE), "delays": csr_array(ONE.T)}, "delays: must be stored at the same entries"),
        ({"weights": csr_array(ONE), "delays": csr_array(-ONE)}, r"delays: must be > 0 ms, got \[-0.001\]"),
        ({"shared": S1.background}, r"shared: must be each a SharedBackground or ReplayedBackground"),
        ({"shared": bs.SharedBackground(rates=[1.0], weights=[[1.0]])}, r"shared\[0\].weights: must be of 3 rows"),
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
    ("units", "values", "message"),
    [
        (["z7"], [1.0], "Piecewise.units: must be names of units or in 0 .. 2, got 'z7'"),
        ([3], [1.0], "Piecewise.units: must be names of units or in 0 .. 2, got 3"),
        (None, [[1.0, 2.0]], r"Piecewise: must be one value a unit \(3\)"),
    ],
)
def test_a_course_that_does_not_fit_the_network_is_named(units, values, message):
    course = bs.Piecewise(quantity="v_rest", times=[1.0], values=values, units=units)
    with pytest.raises(ValidationError, match=message):
        network(schedule=course)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bs.SharedBackground(rates=[-1.0], weights=[[1.0]]), r"SharedBackground.rates\[0\]: must be >= 0"),
        (
            lambda: bs.SharedBackground(rates=[1.0], weights=[[1.0, 2.0]]),
            r"SharedBackground.weights: must be of shape \(units, 1\)",
        ),
        (lambda: replay(times=[10.0]), r"ReplayedBackground.times\[0\]: must be in \[0, duration = 10 ms\)"),
        (lambda: replay(sources=[1]), r"ReplayedBackground.sources\[0\]: must be an integer in 0 .. 0"),
        (lambda: replay(sources=[0, 0]), r"ReplayedBackground.sources: must be one a time \(1\)"),
        (lambda: replay(chain_shift=-1.0), "ReplayedBackground.chain_shift: must be >= 0 ms"),
        (lambda: bs.RandomRefractory(sd=0.0), "RandomRefractory.sd: must be > 0 ms"),
        (lambda: bs.RandomRefractory(sd=1.0, law="gamma"), "RandomRefractory.law: must be 'uniform' or 'normal'"),
        (
            lambda: dataclasses.replace(S1.neuron, refractory=bs.RandomRefractory(sd=6.0, law="uniform")),
            "LIF.refractory.sd: must be at most 5.7735 ms for law 'uniform', got 6.0",
        ),
        (
            lambda: dataclasses.replace(S1.neuron, refractory=3.0),
            "LIF.refractory: must be None or a RandomRefractory, got 3.0",
        ),
    ],
)
def test_bad_backgrounds_and_refractory_laws_are_named(make, message):
    with pytest.raises(ValidationError, match=message):
        make()


def replay(**changes):
    return bs.ReplayedBackground(
        **({"times": [1.0], "sources": [0], "duration": 10.0, "weights": [[1.0]]} | changes)
    )


def test_sparse_weights_are_kept_as_read_only_csr():
    given = coo_array(ONE)
    weights = network(weights=given).weights
    assert weights.format == "csr"
    assert weights.nnz == 1
    with pytest.raises(ValueError, match="read-only"):
        weights.data[0] = 1.0
    assert network(weights=given) == network(weights=csr_array(ONE))
    assert network(weights=given) != network(weights=csr_array(2 * ONE))
    assert network(weights=given) != network(weights=ONE)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"plasticity": "static"},
            "Synapse.plasticity: must be 'renewing', 'additive' or 'tsodyks-markram', got 'static'",
        ),
        ({"delay": 0.0}, "Synapse.delay: must be > 0 ms, got 0.0"),
        ({"U": 0.5}, "Synapse.U: must be None unless plasticity is 'tsodyks-markram', got 0.5"),
        ({"plasticity": "tsodyks-markram"}, "Synapse.U: must be a finite number"),
        ({"plasticity": "tsodyks-markram", "U": 0, "tau_rec": 1}, r"Synapse.U: must be in \(0, 1\], got 0.0"),
        ({"plasticity": "tsodyks-markram", "U": 1, "tau_rec": -1}, "Synapse.tau_rec: must be >= 0 ms, got -1.0"),
        (
            {"plasticity": "tsodyks-markram", "U": 1, "tau_rec": 1, "tau_fac": -2},
            "Synapse.tau_fac: must be >= 0 ms, got -2.0",
        ),
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
