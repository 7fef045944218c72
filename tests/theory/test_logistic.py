import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, ndtr

from boltzspike.errors import CalibrationError
from boltzspike.theory.logistic import asymmetry, fit_logistic, half_point, place_points, slope_at_half


def test_a_logistic_is_recovered_exactly():
    x = np.linspace(-60, -40, 201)
    fit = fit_logistic(x, expit((x + 50.3) / 0.7))
    assert fit.u0 == pytest.approx(-50.3, abs=1e-9)
    assert fit.alpha == pytest.approx(0.7, abs=1e-9)
    assert fit.rms < 1e-10


def test_the_error_function_has_the_known_distance_from_a_logistic():
    x = np.linspace(-4, 4, 801)
    fit = fit_logistic(x, ndtr(x))
    assert fit.rms == pytest.approx(0.0071, abs=0.0001)
    assert fit.max_deviation == pytest.approx(0.0099, abs=0.0001)


def test_the_standard_errors_are_those_of_repeated_fits(rng):
    x = np.linspace(-4, 4, 25)
    noise = 0.01
    fits = []
    for _ in range(300):
        p = np.clip(expit(x) + noise * rng.normal(size=len(x)), 0.0101, 0.9899)
        fits.append(fit_logistic(x, p, np.full(len(x), noise)))
    spread = np.std([fit.u0 for fit in fits])
    # 300 fits know their spread to 4 %; the misfit that is left beyond the noise adds some
    stated = np.mean([fit.u0_error for fit in fits])
    assert 0.88 * spread < stated < 1.3 * spread


def test_the_fit_does_not_depend_on_where_the_points_lie():
    even = np.linspace(-4, 4, 401)
    gathered = place_points(0.0, 0.57, 60)
    fits = [fit_logistic(x, ndtr(x)) for x in (even, np.sort(np.concatenate([gathered, even[::20]])))]
    # by equal weights alpha would be off by .005
    assert fits[1].alpha == pytest.approx(fits[0].alpha, abs=0.001)
    assert fits[1].u0 == pytest.approx(0.0, abs=1e-6)


def test_points_lie_symmetrically_about_u0_and_within_the_fitted_range():
    points = place_points(-50.0, 0.6, 14)
    assert points + points[::-1] == pytest.approx(np.full(14, -100.0))
    assert expit((points - -50.0) / 0.6).min() > 0.01


def test_a_flat_curve_is_refused():
    with pytest.raises(CalibrationError, match="needs 3 points with p in"):
        fit_logistic(np.arange(5.0), np.zeros(5))


FINE = np.linspace(-8.03, 7.9, 2000)  # off the half points; the interpolation is good to 1e-6 on it


def test_a_logistic_has_no_asymmetry_and_the_slope_of_its_width():
    p = expit((FINE - 0.4) / 0.7)
    assert half_point(FINE, p) == pytest.approx(0.4, abs=1e-6)
    assert slope_at_half(FINE, p) == pytest.approx(1 / (4 * 0.7), rel=1e-4)
    assert asymmetry(FINE, p) < 1e-6


def test_the_complementary_log_log_curve_has_its_closed_form_asymmetry():
    p = -np.expm1(-np.exp(FINE))
    assert half_point(FINE, p) == pytest.approx(np.log(np.log(2)), abs=1e-6)
    assert slope_at_half(FINE, p) == pytest.approx(np.log(2) / 2, rel=1e-4)
    # p(u50 + d) = 1 - 2^(-e^d), so the sum of both sides is extremal where e^d 2^(-e^d) = e^-d 2^(-e^-d)
    d = brentq(lambda d: 2 * d - np.log(2) * 2 * np.sinh(d), 0.5, 5)
    expected = 2 ** -np.exp(d) + 2 ** -np.exp(-d) - 1
    assert asymmetry(FINE, p) == pytest.approx(abs(expected), abs=2e-6)


def test_asymmetry_is_that_of_the_mirrored_curve_and_of_any_unit():
    p = -np.expm1(-np.exp(FINE))
    assert asymmetry(-3 * FINE, 1 - p) == pytest.approx(asymmetry(FINE, p), rel=1e-9)


def test_asymmetry_stops_where_one_side_ends():
    # the curve is symmetric within 1 of its half point and not beyond, where only one side is given
    x = np.linspace(-1, 9, 101)
    assert asymmetry(x, np.where(x < 1.5, expit(x), 1.0)) < 1e-3


def test_a_curve_that_does_not_reach_one_half_has_no_half_point():
    for measure in half_point, slope_at_half, asymmetry:
        with pytest.raises(CalibrationError, match="p must pass 1/2"):
            measure(np.arange(5.0), np.linspace(0, 0.4, 5))
