import numpy as np
import pytest

import boltzspike as bs
from boltzspike.theory.exact import exact_moments
from boltzspike.theory.treewidth import plan


def lattice(rng, rows, columns):
    n = rows * columns
    weights = np.zeros((n, n))
    for k in range(n):
        if (k + 1) % columns:
            weights[k, k + 1] = rng.normal()
        if k + columns < n:
            weights[k, k + columns] = rng.normal()
    shuffled = rng.permutation(n)
    weights = (weights + weights.T)[np.ix_(shuffled, shuffled)]
    return bs.BoltzmannMachine(weights=weights, biases=rng.normal(size=n))


def tree(rng, n):
    weights = np.zeros((n, n))
    for k in range(1, n):
        parent = rng.integers(0, k)
        weights[k, parent] = weights[parent, k] = rng.normal()
    return bs.BoltzmannMachine(weights=weights, biases=rng.normal(size=n))


@pytest.mark.parametrize("kind", ["lattice", "tree", "dense", "in parts", "uncoupled"])
def test_elimination_is_enumeration(kind, rng, random_machine):
    parts = np.kron(np.eye(3), np.ones((4, 4)) - np.eye(4))
    machine = {
        "lattice": lambda: lattice(rng, 3, 5),
        "tree": lambda: tree(rng, 14),
        "dense": lambda: random_machine(8, 2.0),
        "in parts": lambda: bs.BoltzmannMachine(weights=parts, biases=rng.normal(size=12)),
        "uncoupled": lambda: bs.BoltzmannMachine(weights=np.zeros((3, 3)), biases=rng.normal(size=3)),
    }[kind]()
    found, truth = (exact_moments(machine, method=m) for m in ("elimination", "enumeration"))
    assert found.log_z == pytest.approx(truth.log_z, rel=1e-12)
    assert found.marginals == pytest.approx(truth.marginals, rel=1e-12)
    held = np.isfinite(found.pairs)
    assert held[np.asarray(machine.weights) != 0].all()
    assert found.pairs[held] == pytest.approx(truth.pairs[held], rel=1e-12)
    if kind == "dense":
        assert held.all()


def test_a_shuffled_lattice_costs_no_more_than_its_transfer_matrix(rng):
    assert plan(lattice(rng, 9, 30).weights).entries <= 9 * 30 * 2**9
    assert plan(tree(rng, 300).weights).width == 1


def test_a_long_lattice_is_its_transfer_matrix(rng):
    """Onsager's case at a width of 2: log Z per row tends to the log of the largest eigenvalue."""
    length, w, b = 400, 0.7, -0.4
    weights = np.zeros((2 * length, 2 * length))
    for k in range(length):
        weights[2 * k, 2 * k + 1] = w
        if k + 1 < length:
            weights[2 * k, 2 * k + 2] = weights[2 * k + 1, 2 * k + 3] = w
    machine = bs.BoltzmannMachine(weights=weights + weights.T, biases=np.full(2 * length, b))
    states = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    row = b * states.sum(axis=1) + w * states[:, 0] * states[:, 1]
    transfer = np.exp(w * states @ states.T + (row[:, None] + row) / 2)
    value, vectors = np.linalg.eigh(transfer)
    found = exact_moments(machine)
    assert found.method == "elimination, width 2"
    assert found.log_z / length == pytest.approx(np.log(value[-1]), rel=2e-3)
    top = vectors[:, -1] ** 2
    assert found.marginals[length : length + 2] == pytest.approx(top @ states, rel=1e-9)


def test_large_weights_do_not_overflow():
    weights = np.diag(np.full(29, 900.0), 1)
    machine = bs.BoltzmannMachine(weights=weights + weights.T, biases=np.full(30, -800.0))
    found = exact_moments(machine, method="elimination")
    assert found.marginals == pytest.approx(np.ones(30))
    assert found.log_z == pytest.approx(29 * 900 - 30 * 800)
