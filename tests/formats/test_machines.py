import numpy as np
import pytest
from sklearn.neural_network import BernoulliRBM

import boltzspike as bs
from boltzspike.errors import ValidationError
from boltzspike.formats.machines import from_sklearn, from_thrml, layered, neuron_from_sbs
from boltzspike.theory.exact import all_states, exact_moments


def test_scikit_learns_rbm_keeps_its_free_energy(rng):
    rbm = BernoulliRBM(n_components=3, n_iter=3, random_state=0).fit(rng.integers(0, 2, (30, 4)))
    machine = from_sklearn(rbm).to_boltzmann()
    v = all_states(4)
    states = np.concatenate([np.repeat(v, 8, axis=0), np.tile(all_states(3), (16, 1))], axis=1)
    free = -np.log(np.exp(-machine.energy(states)).reshape(16, 8).sum(axis=1))
    np.testing.assert_allclose(free, rbm._free_energy(v.astype(float)), atol=1e-10)
    with pytest.raises(ValidationError, match="components_: must be present: fit the RBM first"):
        from_sklearn(BernoulliRBM())


def test_thrmls_arrays_keep_their_energy():
    edges, biases, weights = [(0, 1), (1, 2)], [0.3, -0.2, 0.5], [0.8, -0.4]
    s = 2.0 * all_states(3) - 1
    energy = -0.6 * (s @ biases + sum(w * s[:, a] * s[:, b] for (a, b), w in zip(edges, weights)))
    difference = from_thrml(edges, biases, weights, beta=0.6).energy(all_states(3)) - energy
    np.testing.assert_allclose(difference, difference[0], atol=1e-12)
    with pytest.raises(ValidationError, match="between two of the nodes 0 .. 2"):
        from_thrml([(0, 3)], biases, [1.0])


def test_two_layers_are_an_rbm(rng):
    w, b, c = rng.normal(size=(3, 2)), rng.normal(size=3), rng.normal(size=2)
    rbm = bs.RestrictedBoltzmannMachine(weights=w, visible_biases=b, hidden_biases=c)
    np.testing.assert_allclose(
        exact_moments(layered([w], [b, c])).marginals, exact_moments(rbm).marginals, atol=1e-12
    )
    deep = layered([w, rng.normal(size=(2, 4))], [b, c, np.zeros(4)])
    assert deep.n_units == 9
    assert not np.any(deep.weights[:3, 5:])


def test_layers_without_a_gap_are_refused():
    with pytest.raises(ValidationError, match="layered.biases: must be of at least two layers, got 1"):
        layered([], [np.zeros(2)])
    with pytest.raises(ValidationError, match="layered.weights: must be 1 arrays, one a gap, got 0"):
        layered([], [np.zeros(2), np.zeros(2)])


def test_a_parameter_of_sbs_that_is_no_number_is_named():
    with pytest.raises(ValidationError, match=r"c_m: must be > 0 nF, got 'much'"):
        neuron_from_sbs({"cm": "much"} | dict.fromkeys(["tau_m", "v_rest", "v_reset", "v_thresh", "tau_refrac",
                        "tau_syn_E", "tau_syn_I"], 1.0), rates=[1.0], weights=[0.1])  # fmt: skip


def test_an_sbs_neuron_is_ours():
    parameters = {
        "cm": 0.2, "tau_m": 1.0, "v_rest": -50.0, "v_reset": -50.001, "v_thresh": -50.0, "tau_refrac": 10.0,
        "tau_syn_E": 10.0, "tau_syn_I": 10.0, "e_rev_E": 0.0, "e_rev_I": -100.0, "i_offset": 0.0,
    }  # fmt: skip
    neuron, background = neuron_from_sbs(parameters, rates=[3000.0, 3000.0], weights=[0.001, -0.001])
    assert neuron == bs.presets.S1.neuron
    assert background == bs.presets.S1.background
    with pytest.raises(ValidationError, match="no parameter 'c_m'; did you mean 'cm'"):
        neuron_from_sbs({"c_m": 0.2}, rates=[1.0], weights=[1.0])
