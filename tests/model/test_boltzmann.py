import math

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError
from boltzspike.model.boltzmann import clamp_indices
from boltzspike.theory.exact import all_states, exact_joint


@pytest.mark.parametrize(
    ("weights", "biases", "message"),
    [
        ([[0, math.nan], [math.nan, 0]], [0, 0], r"weights\[0, 1\]: must be finite, got nan"),
        ([[0, 1], [2, 0]], [0, 0], r"weights\[0, 1\]: must be symmetric, equal to weights\[1, 0\] = 2, got 1.0"),
        ([[1, 1], [1, 0]], [0, 0], r"weights\[0, 0\]: must be 0 \(no self-coupling\), got 1.0"),
        ([[0, 1]], [0, 0], r"weights: must be of shape \(2, 2\), got \(1, 2\)"),
        ([0, 1], [0, 0], r"weights: must be an array of 2 dimension"),
        ([[0, 1], [1, 0]], [0, math.inf], r"biases\[1\]: must be finite, got inf"),
        (np.zeros((0, 0)), [], r"biases: must be at least one unit"),
        ([[0, 1], [1]], [0, 0], r"weights: must be an array of numbers"),
    ],
)
def test_a_bad_machine_is_named(weights, biases, message):
    with pytest.raises(ValidationError, match="BoltzmannMachine." + message):
        bs.BoltzmannMachine(weights=weights, biases=biases)


@pytest.mark.parametrize("names", [["a", "a"], ["a"], "ab", ["a", ""]])
def test_names_must_be_distinct_and_as_many_as_units(names):
    with pytest.raises(ValidationError, match="BoltzmannMachine.names"):
        bs.BoltzmannMachine(weights=np.zeros((2, 2)), biases=[0, 0], names=names)


def test_energy_is_that_of_the_definition(random_machine):
    machine = random_machine(4)
    for z in all_states(4):
        terms = sum(machine.weights[k, j] * z[k] * z[j] for k in range(4) for j in range(k)) + machine.biases @ z
        assert np.isclose(machine.energy(z), -terms)


def test_an_rbm_is_the_same_distribution_as_its_general_form(rng):
    rbm = bs.RestrictedBoltzmannMachine(
        weights=rng.normal(size=(3, 2)), visible_biases=rng.normal(size=3), hidden_biases=rng.normal(size=2)
    )
    z = all_states(5)
    v, h = z[:, :3], z[:, 3:]
    log_p = np.einsum("sv,vh,sh->s", v, rbm.weights, h) + v @ rbm.visible_biases + h @ rbm.hidden_biases
    assert np.allclose(-rbm.to_boltzmann().energy(z), log_p)
    assert rbm.names == ("v0", "v1", "v2", "h0", "h1")


@pytest.mark.parametrize("clamp", [{0: 1}, {1: 0, 4: 1}, {0: 1, 1: 1, 2: 0}])
@pytest.mark.parametrize("restricted", [False, True])
def test_the_machine_given_evidence_is_the_conditional_distribution(rng, random_machine, clamp, restricted):
    machine = random_machine(5)
    if restricted:
        machine = bs.RestrictedBoltzmannMachine(
            weights=rng.normal(size=(3, 2)), visible_biases=rng.normal(size=3), hidden_biases=rng.normal(size=2)
        )
    joint, z = exact_joint(machine), all_states(5)
    consistent = np.all([z[:, k] == value for k, value in clamp.items()], axis=0)
    conditioned, free = machine.given(clamp)
    assert np.allclose(exact_joint(conditioned), joint[consistent] / joint[consistent].sum())
    assert list(free) == [k for k in range(5) if k not in clamp]
    assert conditioned.names == tuple(machine.names[k] for k in free)


@pytest.mark.parametrize(
    ("clamp", "message"),
    [
        ({"smokes": 1}, "no unit named 'smokes'; did you mean 'smoke'"),
        ({7: 1}, r"clamp: must be of units 0..1, got 7"),
        ({"smoke": 2}, r"clamp\['smoke'\]: must be 0 or 1, got 2"),
        ({"smoke": 1, 0: 0}, r"must be given once, got 'twice'"),
    ],
)
def test_bad_evidence_is_named(clamp, message):
    machine = bs.BoltzmannMachine(weights=np.zeros((2, 2)), biases=[0, 0], names=["smoke", "lung"])
    with pytest.raises(ValidationError, match=message):
        clamp_indices(machine, clamp)


def test_a_machine_can_not_be_clamped_entirely():
    machine = bs.BoltzmannMachine(weights=np.zeros((2, 2)), biases=[0, 0])
    with pytest.raises(ValidationError, match="clamp: must be fewer than all 2 units"):
        machine.given({0: 1, 1: 0})
