import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError
from boltzspike.theory.exact import all_states, exact_given, exact_joint, exact_marginals_given, exact_moments


def test_two_coupled_units_have_the_closed_form():
    w, a, b = 0.8, -0.3, 0.5
    machine = bs.BoltzmannMachine(weights=[[0, w], [w, 0]], biases=[a, b])
    z = 1 + np.exp(a) + np.exp(b) + np.exp(a + b + w)
    exact = exact_moments(machine)
    assert exact.log_z == pytest.approx(np.log(z))
    assert exact.marginals == pytest.approx(
        [(np.exp(a) + np.exp(a + b + w)) / z, (np.exp(b) + np.exp(a + b + w)) / z]
    )
    assert exact.pairs[0, 1] == pytest.approx(np.exp(a + b + w) / z)
    assert exact_joint(machine) == pytest.approx(np.array([1, np.exp(b), np.exp(a), np.exp(a + b + w)]) / z)


def test_blocks_of_states_give_the_sum_over_all(random_machine):
    machine = random_machine(18)
    joint, z = exact_joint(machine), all_states(18).astype(float)
    exact = exact_moments(machine)
    assert exact.pairs == pytest.approx(z.T @ (z * joint[:, None]))


@pytest.mark.parametrize("shape", [(9, 3), (3, 9), (1, 6), (14, 13)])
def test_an_rbm_by_its_smaller_layer_is_its_enumeration(rng, shape):
    rbm = bs.RestrictedBoltzmannMachine(
        weights=rng.normal(size=shape),
        visible_biases=rng.normal(size=shape[0]),
        hidden_biases=rng.normal(size=shape[1]),
    )
    if sum(shape) > 20:
        # too many to enumerate twice: take one visible unit out by conditioning instead
        exact = exact_moments(rbm)
        on, off = (exact_given(rbm, {0: value}) for value in (1, 0))
        p = exact.marginals[0]
        assert exact.marginals == pytest.approx(p * on.marginals + (1 - p) * off.marginals)
        assert exact.pairs == pytest.approx(p * on.pairs + (1 - p) * off.pairs)
        return
    exact, full = exact_moments(rbm), exact_moments(rbm.to_boltzmann())
    assert exact.log_z == pytest.approx(full.log_z)
    assert exact.pairs == pytest.approx(full.pairs)
    assert exact.method == "smaller layer"


def test_evidence_shows_in_the_moments(random_machine):
    machine = random_machine(4)
    exact = exact_given(machine, {1: 1, 2: 0})
    joint, z = exact_joint(machine), all_states(4)
    kept = (z[:, 1] == 1) & (z[:, 2] == 0)
    p = joint[kept] / joint[kept].sum()
    assert exact.marginals == pytest.approx(p @ z[kept])
    assert exact.pairs == pytest.approx((z[kept] * p[:, None]).T @ z[kept])


def test_a_machine_too_large_is_refused_before_memory_is_taken():
    machine = bs.BoltzmannMachine(weights=np.zeros((26, 26)), biases=np.zeros(26))
    with pytest.raises(ValidationError, match="exact_joint: must be of at most 25 units, got 26"):
        exact_joint(machine)
    dense = bs.BoltzmannMachine(weights=np.ones((40, 40)) - np.eye(40), biases=np.zeros(40))
    assert exact_given(dense, {}) is None
    with pytest.raises(ValidationError, match="elimination of 40 units: must be of tables of at most .* entries"):
        exact_moments(dense)


def test_large_weights_do_not_overflow():
    machine = bs.BoltzmannMachine(weights=[[0, 900.0], [900.0, 0]], biases=[-400.0, -400.0])
    assert exact_moments(machine).marginals == pytest.approx([1.0, 1.0])


def test_evidence_in_batches_is_evidence_one_by_one(rng, random_machine):
    rbm = bs.RestrictedBoltzmannMachine(
        weights=rng.normal(size=(9, 14)), visible_biases=rng.normal(size=9), hidden_biases=rng.normal(size=14)
    )
    plain, chain = random_machine(11), np.diag(rng.normal(size=39), 1)
    chain = bs.BoltzmannMachine(weights=chain + chain.T, biases=rng.normal(size=40))
    # the last two of the RBM's lie in its smaller layer, and in none
    clamps = [{12: 1, 10: 0}, {10: 1, 12: 1}, {9: 0}, {0: 1}, {}]
    for machine, evidence in (
        (rbm, clamps),
        (plain, [{0: 1, 10: 0}, {10: 1, 0: 1}, {}]),
        (chain, [{5: 1}, {5: 0}]),
    ):
        together = exact_marginals_given(machine, evidence)
        for row, clamp in zip(together, evidence):
            assert row == pytest.approx(exact_given(machine, clamp).marginals)
    assert exact_marginals_given(chain, [{5: 1}]) == pytest.approx(
        exact_marginals_given(chain, [{5: 1}, {5: 0}])[:1]
    )


def test_a_batch_sums_over_blocks_of_the_smaller_layer(rng):
    rbm = bs.RestrictedBoltzmannMachine(
        weights=rng.normal(size=(15, 14)), visible_biases=rng.normal(size=15), hidden_biases=rng.normal(size=14)
    )
    clamps = [{0: 1, 7: 0}, {0: 0, 7: 1}]
    for row, clamp in zip(exact_marginals_given(rbm, clamps), clamps):
        assert row == pytest.approx(exact_given(rbm, clamp).marginals)


def test_the_method_is_chosen_by_cost_and_named(random_machine):
    assert exact_moments(random_machine(20)).method == "enumeration"
    assert exact_moments(random_machine(21)).method == "enumeration"
    chain = np.diag(np.ones(20), 1)
    machine = bs.BoltzmannMachine(weights=chain + chain.T, biases=np.zeros(21))
    assert exact_moments(machine).method == "elimination, width 1"
    with pytest.raises(ValidationError, match="method: must be 'enumeration' or 'elimination', got 'guess'"):
        exact_moments(machine, method="guess")


def test_an_rbm_whose_smaller_layer_would_take_minutes_is_out_of_reach(rng):
    rbm = bs.RestrictedBoltzmannMachine(
        weights=rng.normal(size=(784, 25)), visible_biases=np.zeros(784), hidden_biases=np.zeros(25)
    )
    assert exact_given(rbm, {}) is None  # by 2^25 states of 784 units it would be half an hour
    # evidence that leaves 12 of the layer brings it back
    assert exact_given(rbm, {784 + k: 0 for k in range(13)}).method == "smaller layer"
