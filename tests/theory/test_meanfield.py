import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError
from boltzspike.theory.exact import exact_moments
from boltzspike.theory.meanfield import NotConverged, belief_propagation, naive_mean_field, tap


def test_belief_propagation_is_exact_on_a_tree(rng):
    weights = np.zeros((12, 12))
    for k in range(1, 12):
        parent = rng.integers(0, k)
        weights[k, parent] = weights[parent, k] = rng.normal(0, 2)
    machine = bs.BoltzmannMachine(weights=weights, biases=rng.normal(size=12))
    found, truth = belief_propagation(machine), exact_moments(machine)
    assert found.marginals == pytest.approx(truth.marginals, abs=1e-9)
    coupled = weights != 0
    assert found.pairs[coupled] == pytest.approx(truth.pairs[coupled], abs=1e-9)
    assert np.isnan(found.pairs[~coupled & ~np.eye(12, dtype=bool)]).all()


@pytest.mark.parametrize(("approximation", "order"), [(naive_mean_field, 2), (tap, 3), (belief_propagation, 3)])
def test_the_error_falls_with_its_power_of_the_weights(approximation, order, rng):
    """Naive mean field is exact to first order in W, TAP and Bethe to second: halved weights show the next one."""
    weights = np.triu(rng.normal(size=(8, 8)), 1)
    weights, biases = weights + weights.T, rng.normal(size=8)
    errors = []
    for scale in (0.04, 0.02):
        machine = bs.BoltzmannMachine(weights=scale * weights, biases=biases)
        errors.append(np.abs(approximation(machine).marginals - exact_moments(machine).marginals).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)


def test_what_does_not_converge_is_an_error_that_says_what_to_try():
    machine = bs.BoltzmannMachine(weights=[[0, -9.0], [-9.0, 0]], biases=[4.5, 4.5])
    with pytest.raises(NotConverged, match="naive mean field: no fixed point in 50 iterations .* larger damping"):
        naive_mean_field(machine, damping=0.0, iterations=50)


def test_an_rbm_is_its_machine(rng):
    rbm = bs.RestrictedBoltzmannMachine(
        weights=rng.normal(0, 0.3, (4, 3)), visible_biases=rng.normal(size=4), hidden_biases=rng.normal(size=3)
    )
    assert tap(rbm).marginals == pytest.approx(tap(rbm.to_boltzmann()).marginals)


def test_bad_damping_is_named(random_machine):
    with pytest.raises(ValidationError, match=r"damping: must be in \[0, 1\), got 1.0"):
        tap(random_machine(2), damping=1.0)
