import numpy as np
import pytest

from boltzspike.errors import ValidationError
from boltzspike.model.boltzmann import BoltzmannMachine, RestrictedBoltzmannMachine
from boltzspike.theory.exact import exact_moments
from boltzspike.theory.exact_samples import LARGEST_COVER, cover, exact_samples


def test_the_cover_of_an_rbm_is_its_smaller_layer_and_leaves_no_coupling():
    rng = np.random.default_rng(1)
    rbm = RestrictedBoltzmannMachine(
        weights=rng.normal(0, 1, (9, 4)), visible_biases=np.zeros(9), hidden_biases=np.zeros(4)
    )
    assert cover(rbm.to_boltzmann().weights).tolist() == [9, 10, 11, 12]
    sparse = np.triu(rng.random((20, 20)) < 0.15, 1).astype(float)
    sparse += sparse.T
    left = np.setdiff1d(np.arange(20), cover(sparse))
    assert not sparse[np.ix_(left, left)].any()


def test_exact_samples_have_the_moments_of_a_machine_whose_modes_no_chain_leaves():
    rng = np.random.default_rng(2)
    weights = np.full((3, 20), 6.0)
    rbm = RestrictedBoltzmannMachine(
        weights=weights, visible_biases=np.full(3, -60.0), hidden_biases=rng.normal(-9, 0.5, 20)
    )
    machine, size = rbm.to_boltzmann(), 20000
    z, exact = exact_samples(machine, size, seed=3).astype(float), exact_moments(rbm)
    # systematic draws: the cover's averages are right to a draw a state, those of the others within 4 SE
    np.testing.assert_allclose(z[:, :3].mean(axis=0), exact.marginals[:3], atol=8 / size)
    error = 4 * np.sqrt(exact.pairs * (1 - exact.pairs) / size) + 8 / size
    assert (np.abs(z.T @ z / size - exact.pairs) < error).all()
    assert 0.05 < exact.marginals[0] < 0.95


def test_a_machine_without_a_small_cover_is_refused():
    n = LARGEST_COVER + 2
    full = BoltzmannMachine(weights=np.ones((n, n)) - np.eye(n), biases=np.zeros(n))
    with pytest.raises(ValidationError, match="smaller layer"):
        exact_samples(full, 10, seed=1)
