"""Classical response functions against quadrature of their definitions and their limits."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erf

from boltzspike.theory import classical
from boltzspike.theory.classical import (
    ZETA_HALF,
    deterministic,
    error_function,
    moreno_bote_parga,
    siegert,
    siegert_coloured,
)

ALL = (siegert, siegert_coloured, moreno_bote_parga, error_function)


def siegert_by_quadrature(mu, sd, tau_eff, v_thresh, v_reset, tau_refrac):
    low, high = (v_reset - mu) / (math.sqrt(2) * sd), (v_thresh - mu) / (math.sqrt(2) * sd)
    integral = quad(lambda x: math.exp(x * x) * (1 + erf(x)), low, high, epsabs=0, epsrel=1e-12)[0]
    return tau_refrac / (tau_refrac + tau_eff * math.sqrt(math.pi) * integral)


@pytest.mark.parametrize("mu", [-62.0, -55.0, -50.0, -47.0])
@pytest.mark.parametrize("reset", [-60.0, -50.001])
def test_siegert_is_the_integral_of_its_definition(mu, reset):
    sigma, tau_eff, tau_syn = 8.0, 20.0, 2.0
    exact = siegert_by_quadrature(mu, sigma * math.sqrt(tau_syn / tau_eff), tau_eff, -50.0, reset, 2.0)
    assert siegert(mu, sigma, tau_eff, tau_syn, -50.0, reset, 2.0) == pytest.approx(exact, rel=1e-9)


def test_siegert_with_coloured_noise_raises_threshold_and_reset_by_the_milne_length():
    sigma, tau_eff, tau_syn = 8.0, 20.0, 2.0
    sd = sigma * math.sqrt(tau_syn / tau_eff)
    shift = ZETA_HALF * sd * math.sqrt(tau_syn / tau_eff)
    exact = siegert_by_quadrature(-52.0, sd, tau_eff, -50.0 + shift, -60.0 + shift, 2.0)
    assert siegert_coloured(-52.0, sigma, tau_eff, tau_syn, -50.0, -60.0, 2.0) == pytest.approx(exact, rel=1e-9)


def test_siegert_with_the_reset_at_threshold_always_fires():
    p = siegert(np.array([-53.0, -50.0]), 1.0, 0.77, 10.0, -50.0, -50.0, 10.0)
    assert np.array_equal(p, [1.0, 1.0])


def test_moreno_bote_parga_is_the_average_of_the_deterministic_response():
    for mu in (-53.0, -50.0, -47.0):

        def integrand(log_z, mu=mu):
            x = -50.0 + math.exp(log_z)
            density = math.exp(-(((x - mu) / 1.5) ** 2) / 2) / (1.5 * math.sqrt(2 * math.pi))
            return float(deterministic(x, 3.0, -50.0, -52.0, 4.0)) * density * math.exp(log_z)

        exact = sum(quad(integrand, a, a + 2, epsrel=1e-11)[0] for a in range(-40, 6, 2))
        assert moreno_bote_parga(mu, 1.5, 3.0, 9.0, -50.0, -52.0, 4.0) == pytest.approx(exact, rel=1e-7)


def test_moreno_bote_parga_with_a_fast_membrane_is_the_error_function():
    mu = np.linspace(-54, -46, 9)
    fast = moreno_bote_parga(mu, 1.5, 1e-9, 10.0, -50.0, -50.001, 10.0)
    assert fast == pytest.approx(error_function(mu, 1.5, 1e-9, 10.0, -50.0, -50.001, 10.0), abs=1e-7)


def test_the_error_function_is_one_half_at_threshold_and_symmetric():
    p = error_function(np.array([-52.0, -50.0, -48.0]), 1.5, 0.1, 10.0, -50.0, -50.001, 10.0)
    assert p[1] == 0.5
    assert p[0] + p[2] == pytest.approx(1, abs=1e-15)
    assert p[2] == pytest.approx((1 + erf(2 / 1.5 / math.sqrt(2))) / 2, rel=1e-14)


@pytest.mark.parametrize("formula", [siegert, siegert_coloured, moreno_bote_parga])
def test_weak_noise_tends_to_the_deterministic_response(formula):
    mu = np.array([-51.0, -49.0, -45.0])
    exact = deterministic(mu, 10.0, -50.0, -60.0, 5.0)
    assert exact == pytest.approx([0, 5 / (5 + 10 * math.log(11)), 5 / (5 + 10 * math.log(3))])
    # to second order in sigma/(mu - theta)
    assert formula(mu, 1e-5, 10.0, 5.0, -50.0, -60.0, 5.0) == pytest.approx(exact, abs=1e-5)
    assert np.array_equal(formula(mu, 0.0, 10.0, 5.0, -50.0, -60.0, 5.0), exact)


def test_without_noise_the_error_function_is_a_step():
    assert error_function(np.array([-51.0, -49.0]), 0.0, 1.0, 10.0, -50.0, -51.0, 10.0).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("formula", ALL)
def test_the_response_rises_from_zero_to_one_without_overflow(formula):
    mu = np.array([-1e6, -200.0, -55.0, -50.0, -45.0, 1e6])
    p = formula(mu, 2.0, 10.0, 3.0, -50.0, -55.0, 5.0)
    assert np.all(np.isfinite(p))
    assert np.all(np.diff(p) >= 0)
    assert p[0] == 0
    assert p[-1] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("formula", ALL)
def test_arguments_broadcast_and_are_not_written_to(formula):
    mu, sigma = np.linspace(-55, -45, 3), np.array([[1.0], [0.0]])
    before = mu.copy(), sigma.copy()
    assert formula(mu, sigma, 5.0, 5.0, -50.0, -55.0, 5.0).shape == (2, 3)
    assert np.array_equal(mu, before[0])
    assert np.array_equal(sigma, before[1])


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(classical).failed == 0
