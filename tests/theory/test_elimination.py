import itertools

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import UnsupportedFeature, ValidationError
from boltzspike.theory.elimination import beliefs, posterior


def random_network(rng, cardinalities, parents_each=2):
    names = [f"v{k}" for k in range(len(cardinalities))]
    parents, tables = [], []
    for k, c in enumerate(cardinalities):
        chosen = rng.permutation(k)[: min(k, parents_each)]
        parents.append([names[j] for j in chosen])
        table = rng.gamma(0.7, size=[*(cardinalities[j] for j in chosen), c])
        tables.append(table / table.sum(axis=-1, keepdims=True))
    states = [[f"s{i}" for i in range(c)] for c in cardinalities]
    return bs.BayesianNetwork(names=names, states=states, parents=parents, tables=tables)


def enumerated(network):
    """Return the full joint, one axis a variable, by the definition."""
    joint = np.zeros(network.cardinalities)
    for state in itertools.product(*map(range, network.cardinalities)):
        joint[state] = np.prod(
            [network.tables[k][tuple(state[v] for v in network.scope(k))] for k in range(len(state))]
        )
    return joint


@pytest.mark.parametrize("evidence", [{}, {"v4": "s1"}, {"v0": "s0", "v5": 1}])
def test_every_marginal_is_that_of_enumeration(rng, evidence):
    network = random_network(rng, [2, 3, 2, 4, 2, 3])
    joint = enumerated(network)
    for k, state in network.evidence_indices(evidence).items():
        other = np.arange(joint.shape[k]) != state
        joint[(slice(None),) * k + (other,)] = 0
    found = posterior(network, evidence, joint=["v1", "v4", "v3"])
    assert found.log_evidence == pytest.approx(np.log(joint.sum()), abs=1e-12)
    joint /= joint.sum()
    for k, marginal in enumerate(found.marginals):
        np.testing.assert_allclose(marginal, joint.sum(axis=tuple(j for j in range(6) if j != k)), atol=1e-14)
    np.testing.assert_allclose(found.joint, joint.sum(axis=(0, 2, 5)).transpose(0, 2, 1), atol=1e-14)


def test_soft_evidence_multiplies_the_prior(rng):
    network = random_network(rng, [2, 3, 2])
    joint = enumerated(network) * np.array([0.2, 1.0, 0.5])[None, :, None]
    found = posterior(network, likelihoods={"v1": {"s0": 0.2, "s2": 0.5}})
    np.testing.assert_allclose(found.marginals[2], joint.sum(axis=(0, 1)) / joint.sum(), atol=1e-14)
    assert found.log_evidence == pytest.approx(np.log(joint.sum()))


def test_evidence_of_probability_zero_is_an_error():
    network = bs.networks.asia()
    with pytest.raises(ValidationError, match="must be possible, got lung=yes, either=no of probability zero"):
        posterior(network, {"lung": "yes", "either": "no"})


def test_zero_entries_leave_the_other_beliefs_right():
    network = bs.networks.asia()
    joint = enumerated(network)
    found = posterior(network, {"either": "yes"})
    conditioned = joint.take(network.states[network.index("either")].index("yes"), axis=network.index("either"))
    lung = conditioned.sum(axis=tuple(a for a in range(7) if a != network.index("lung")))
    np.testing.assert_allclose(found.marginals[network.index("lung")], lung / lung.sum(), atol=1e-14)


def test_a_clique_that_is_too_large_is_refused_before_it_is_formed():
    pairs = [((a, b), np.ones((2, 2))) for a, b in itertools.combinations(range(40), 2)]
    with pytest.raises(UnsupportedFeature, match=r"a table of 1.1e\+12 entries"):
        beliefs([2] * 40, pairs)
