import numpy as np
import pytest

from boltzspike.errors import ValidationError
from boltzspike.theory.tables import all_states
from boltzspike.training.ground_state import (
    TransverseIsing,
    exact_gradient,
    law_of,
    law_of_states,
    minimise,
    sampled_gradient,
    symmetric_start,
)


def dense_hamiltonian(chain):
    """By Kronecker products of Pauli matrices, spin 0 first."""
    x, z, one = np.array([[0, 1], [1, 0]]), np.diag([-1.0, 1.0]), np.eye(2)

    def on(matrices):
        product = np.ones((1, 1))
        for k in range(chain.spins):
            product = np.kron(product, matrices.get(k, one))
        return product

    bonds = [(k, k + 1) for k in range(chain.spins - 1)] + ([(chain.spins - 1, 0)] if chain.periodic else [])
    return -chain.coupling * sum(on({a: z, b: z}) for a, b in bonds) - chain.field * sum(
        on({k: x}) for k in range(chain.spins)
    )


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("spins", [4, 7])
def test_energies_are_those_of_the_hamiltonian(spins, periodic, rng):
    chain = TransverseIsing(spins=spins, field=0.8, periodic=periodic)
    matrix = dense_hamiltonian(chain)
    assert chain.exact_energy() == pytest.approx(np.linalg.eigvalsh(matrix)[0], abs=1e-9)
    p = rng.dirichlet(np.ones(2**spins))
    psi = np.sqrt(p)
    assert chain.energy(p) == pytest.approx(psi @ matrix @ psi, abs=1e-9)
    with_zeros = np.where(p > np.median(p), p, 0)
    with_zeros /= with_zeros.sum()
    assert chain.energy(with_zeros) == pytest.approx(np.sqrt(with_zeros) @ matrix @ np.sqrt(with_zeros), abs=1e-9)


def test_the_critical_chain_of_eight_spins_has_its_closed_form():
    # free fermions, periodic chain at J = field: E = -2 sum_k sin(k/2), k odd multiples of pi/8
    k = np.pi * (2 * np.arange(8) + 1) / 8
    expected = -2 * np.abs(np.sin(k / 2)).sum()
    assert TransverseIsing(spins=8, field=1.0).exact_energy() == pytest.approx(expected, abs=1e-9)


def test_the_average_over_symmetries_is_symmetric_and_lowers_no_bound(rng):
    chain = TransverseIsing(spins=5, field=1.0)
    p = chain.symmetrised(rng.dirichlet(np.full(32, 0.3)))
    assert p.sum() == pytest.approx(1)
    states = all_states(5)
    code = lambda z: z @ (1 << np.arange(5)[::-1])
    for other in (1 - states, states[:, ::-1], np.roll(states, 1, axis=1)):
        np.testing.assert_allclose(p[code(other)], p, atol=1e-12)
    assert chain.energy(p) >= chain.exact_energy()


def test_the_gradient_is_the_slope_of_the_energy():
    chain = TransverseIsing(spins=4, field=1.0)
    model = symmetric_start(4, 3, scale=0.6, seed=1)
    weights, biases, energy = exact_gradient(model, chain)
    assert energy == pytest.approx(chain.energy(law_of(model)))
    h, zero = 1e-5, np.zeros_like(model.biases)
    nudge = np.zeros_like(model.weights)
    nudge[1, 2] = h
    slope = chain.energy(law_of(model.moved(nudge, zero))) - chain.energy(law_of(model.moved(-nudge, zero)))
    assert weights[1, 2] == pytest.approx(slope / (2 * h), abs=1e-6)
    none, nudge = np.zeros_like(model.weights), np.where(np.arange(7) == 5, h, 0.0)
    slope = chain.energy(law_of(model.moved(none, nudge))) - chain.energy(law_of(model.moved(none, -nudge)))
    assert biases[5] == pytest.approx(slope / (2 * h), abs=1e-6)


def test_the_sampled_gradient_comes_to_the_exact_one(rng):
    chain = TransverseIsing(spins=3, field=1.0)
    model = symmetric_start(3, 2, scale=0.6, seed=1)
    p = law_of(model)
    v = all_states(3)[rng.choice(8, size=400000, p=p)]
    hidden = 1 / (1 + np.exp(-(v @ model.weights + model.hidden_biases)))
    states = np.concatenate([v, rng.random(hidden.shape) < hidden], axis=1).astype(np.int8)
    _, biases, _ = sampled_gradient(states, 3, chain)
    # the law of this start lacks some symmetries: its slope is that of the averaged law's energy
    assert not np.allclose(p, chain.symmetrised(p), atol=1e-12)
    local = chain.local_energies(chain.symmetrised(p))
    expected = (p * (local - p @ local)) @ all_states(3)
    # energies are of order 1: 5 standard errors of 1/sqrt(400000)
    np.testing.assert_allclose(biases[:3], expected, atol=5 / np.sqrt(400000))
    assert law_of_states(states, 3).sum() == pytest.approx(1)


def test_variational_learning_finds_the_ground_state():
    chain = TransverseIsing(spins=6, field=1.0)
    learned = minimise(symmetric_start(6, 8, seed=0), chain, steps=800)
    exact = chain.exact_energy()
    assert 0 <= 1 - chain.energy(law_of(learned)) / exact < 0.002


def test_chains_name_what_is_wrong():
    with pytest.raises(ValidationError, match="spins"):
        TransverseIsing(spins=40, field=1.0)
    with pytest.raises(ValidationError, match="n_visible"):
        minimise(symmetric_start(5, 2), TransverseIsing(spins=4, field=1.0))
