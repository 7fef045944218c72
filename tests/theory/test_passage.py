import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erfcx

from boltzspike.theory.passage import mean_passage_time


def test_the_integral_is_that_of_adaptive_quadrature():
    start = np.linspace(-6, -0.1, 30)
    times = mean_passage_time(start, np.array([0.3]), np.array([-1.0]), np.array([0.8]), 7.0)
    for y, time in zip(start, times):
        integral, _ = quad(lambda x: erfcx(-x), (y + 1) / 0.8 / np.sqrt(2), 1.3 / 0.8 / np.sqrt(2))
        assert time == pytest.approx(7.0 * np.sqrt(np.pi) * integral, rel=1e-8)


def test_far_above_threshold_the_passage_is_the_deterministic_relaxation():
    start = np.linspace(-1.0, -0.05, 8)
    times = mean_passage_time(start, np.array([0.0]), np.array([50.0]), np.array([0.1]), 10.0)
    assert times == pytest.approx(10.0 * np.log((50 - start) / 50), rel=1e-4)


def test_an_unreachable_threshold_takes_for_ever():
    start = np.linspace(-5.0, -1.0, 4)
    times = mean_passage_time(start, np.array([60.0]), np.array([0.0]), np.array([1.0]), 10.0)
    assert np.all(np.isinf(times))
