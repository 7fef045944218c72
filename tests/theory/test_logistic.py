import numpy as np
import pytest
from scipy.special import expit, ndtr

from boltzspike.errors import CalibrationError
from boltzspike.theory.logistic import fit_logistic


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
    # the misfit that the fit adds to the given errors is noise here, so the stated error is larger by sqrt 2
    assert np.mean([fit.u0_error for fit in fits]) == pytest.approx(np.sqrt(2) * spread, rel=0.15)


def test_a_flat_curve_is_refused():
    with pytest.raises(CalibrationError, match="needs 3 points with p in"):
        fit_logistic(np.arange(5.0), np.zeros(5))
