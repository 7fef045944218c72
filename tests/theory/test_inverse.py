import numpy as np
import pytest

from boltzspike.errors import CalibrationError, ValidationError
from boltzspike.theory.exact import exact_joint
from boltzspike.theory.inverse import fit_machine, statistics


def test_the_fit_of_a_machines_own_distribution_is_the_machine(random_machine):
    for n in (2, 4, 6):
        machine = random_machine(n)
        fit = fit_machine(exact_joint(machine))
        assert fit.weights == pytest.approx(np.asarray(machine.weights), abs=1e-6)
        assert fit.biases == pytest.approx(np.asarray(machine.biases), abs=1e-6)
        assert fit.divergence == pytest.approx(0, abs=1e-10)


def test_the_fit_with_few_couplings_has_the_moments_of_those_alone(random_machine):
    machine = random_machine(4)
    p = exact_joint(machine)
    coupled = np.zeros((4, 4), dtype=bool)
    coupled[[0, 1, 1, 2], [1, 0, 2, 1]] = True
    fit = fit_machine(p, coupled)
    assert np.array_equal(fit.weights != 0, coupled)
    gaps = (fit.probabilities - p) @ statistics(4, coupled)
    assert gaps == pytest.approx(np.zeros(6), abs=1e-8)
    assert fit.fisher.shape == (6, 6)
    # what it leaves is what the other pairs say: no machine of these couplings is nearer
    nearer = fit_machine(p).divergence
    assert nearer < 1e-8 < fit.divergence


def test_what_no_machine_can_represent_is_left_as_divergence(rng):
    """Parity of three units has the moments of independent fair coins, and one bit less entropy."""
    parity = np.array([bin(code).count("1") % 2 == 0 for code in range(8)]) / 4
    assert fit_machine(parity).divergence == pytest.approx(np.log(2))


def test_the_fisher_matrix_is_the_covariance_of_the_statistics(random_machine):
    machine = random_machine(3)
    p = exact_joint(machine)
    fit = fit_machine(p)
    expected = np.cov(statistics(3).T, aweights=p, bias=True)
    assert fit.fisher == pytest.approx(expected, abs=1e-6)


def test_a_unit_that_never_changes_is_refused():
    with pytest.raises(CalibrationError, match="never takes one of its states"):
        fit_machine(np.array([0.5, 0.5, 0.0, 0.0]))


def test_a_distribution_over_no_whole_number_of_units_is_refused():
    with pytest.raises(ValidationError, match="distribution: must be of 2"):
        fit_machine(np.full(3, 1 / 3))
