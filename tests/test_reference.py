import warnings

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import BoltzspikeWarning, ValidationError
from boltzspike.theory import exact


@pytest.fixture
def lattice(rng):
    weights = np.zeros((48, 48))
    for k in range(48):
        if (k + 1) % 6:
            weights[k, k + 1] = rng.normal(0, 0.7)
        if k + 6 < 48:
            weights[k, k + 6] = rng.normal(0, 0.7)
    return bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.normal(0, 0.5, 48))


def test_a_machine_in_reach_has_an_exact_reference(lattice):
    reference = bs.reference(lattice, {"z3": 1})
    assert reference.exact
    assert reference.method.startswith("elimination")
    assert reference.marginals[3] == 1
    assert not reference.error.any()


def test_gibbs_samples_are_right_within_their_errors(lattice, monkeypatch):
    truth = bs.reference(lattice, {"z3": 1}).marginals
    monkeypatch.setattr("boltzspike.pipeline.references.exact_given", lambda machine, clamp: None)
    reference = bs.reference(lattice, {"z3": 1})
    assert not reference.exact
    assert reference.method.startswith("Gibbs sampling, 64 chains of")
    free = np.arange(48) != 3
    assert reference.error[3] == 0
    assert 0 < reference.error[free].max() <= 2e-3
    z = (reference.marginals - truth)[free] / reference.error[free]
    assert np.abs(z).max() < 4
    assert 0.6 < np.std(z) < 1.4
    assert bs.reference(lattice, {"z3": 1}).marginals == pytest.approx(reference.marginals, abs=0)


def test_chains_that_stay_in_their_modes_are_reported(monkeypatch):
    monkeypatch.setattr("boltzspike.pipeline.references.exact_given", lambda machine, clamp: None)
    weights = 4.0 * (np.ones((12, 12)) - np.eye(12))
    machine = bs.BoltzmannMachine(weights=weights, biases=np.full(12, -22.0))
    with pytest.warns(BoltzspikeWarning, match="known to 0.06.* only, not to 0.002; the chains mix slowly"):
        reference = bs.reference(machine, updates=2e6)
    assert abs(reference.marginals[0] - 0.5) < 4 * reference.error[0]


def test_a_result_computes_its_reference_once(random_machine, monkeypatch):
    result = bs.sample(random_machine(3), engine="gibbs", duration=1000, chains=4)
    calls = []
    plain = exact.exact_given
    monkeypatch.setattr(exact, "exact_given", lambda *given: calls.append(given) or plain(*given))
    assert result.exact() is result.exact()
    assert result.reference().marginals == pytest.approx(result.exact().marginals)
    assert len(calls) == 1


def test_a_wanted_error_of_nothing_is_refused():
    weights = np.ones((40, 40)) - np.eye(40)
    with pytest.raises(ValidationError, match="error: must be > 0, got 0"), warnings.catch_warnings():
        bs.reference(bs.BoltzmannMachine(weights=weights, biases=np.zeros(40)), error=0)
