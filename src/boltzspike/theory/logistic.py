"""The logistic that stands for a response function, and how far from it the function is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

from boltzspike.errors import CalibrationError
from boltzspike.model.description import Array

if TYPE_CHECKING:
    from scipy.interpolate import PchipInterpolator

FIT_RANGE = (0.01, 0.99)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogisticFit:
    """``p = 1/(1 + exp(-(x - u0)/alpha))`` fitted to a curve, and the curve's deviation from it."""

    u0: float
    alpha: float
    u0_error: float
    """Standard error from the misfit and, where given, from the errors of p; in units of x."""
    alpha_error: float
    rms: float
    """Root mean square deviation of p over the fitted points."""
    max_deviation: float


def fit_logistic(x: Array, p: Array, p_error: Array | None = None) -> LogisticFit:
    """Fit a logistic by least squares to the points with p in [.01, .99].

    Parameters
    ----------
    x
        Control variable, shape (m,).
    p
        Response, shape (m,).
    p_error
        Standard error of p, shape (m,); the points are then weighted by it, the misfit of the logistic
        (its RMS in an unweighted fit) added in squares. ``None``: equal weights.

    Raises
    ------
    CalibrationError
        With fewer than three points in the range.
    """
    from scipy.optimize import least_squares  # a third of the package's import time

    inside = (p >= FIT_RANGE[0]) & (p <= FIT_RANGE[1])
    if inside.sum() < 3:
        raise CalibrationError(
            f"logistic fit: needs 3 points with p in [.01, .99], got {int(inside.sum())} "
            f"(p runs from {np.min(p):.3g} to {np.max(p):.3g}); widen or refine the range"
        )
    x, p = x[inside], p[inside]
    slope, offset = np.polyfit(x, logit(p), 1)
    first = np.array([-offset / slope, 1 / slope])

    def solve(weight: Array) -> tuple[Array, Array, Array]:
        found = least_squares(lambda q: weight * (expit((x - q[0]) / q[1]) - p), first, x_scale=np.abs(first[1]))
        return found.x, found.jac, expit((x - found.x[0]) / found.x[1]) - p

    best, jacobian, deviation = solve(np.ones_like(x))
    freedom = max(len(x) - 2, 1)
    misfit = np.sqrt(np.sum(deviation**2) / freedom)
    scale = misfit
    if p_error is not None:
        weight = 1 / np.sqrt(p_error[inside] ** 2 + misfit**2)
        best, jacobian, deviation = solve(weight)
        scale = 1.0
    errors = scale * np.sqrt(np.diagonal(np.linalg.inv(jacobian.T @ jacobian)))
    return LogisticFit(
        u0=float(best[0]),
        alpha=float(best[1]),
        u0_error=float(errors[0]),
        alpha_error=float(errors[1]),
        rms=float(np.sqrt(np.mean(deviation**2))),
        max_deviation=float(np.max(np.abs(deviation))),
    )


def half_point(x: Array, p: Array) -> float:
    """Return u50, where a sampled curve passes p = 1/2, in units of x; the middle one if noise makes it several.

    Parameters
    ----------
    x
        Control variable, shape (m,), distinct values in any order.
    p
        Response, shape (m,).

    Raises
    ------
    CalibrationError
        If p does not pass 1/2 within the range of x.

    Notes
    -----
    Monotone cubic interpolation (Fritsch & Carlson, SIAM J. Numer. Anal. 17, 1980), as in ``slope_at_half``
    and ``asymmetry``: its error is of third order in the spacing, and noise of p enters as it is.

    Examples
    --------
    >>> x = np.linspace(-3, 3, 25)
    >>> f"{half_point(x, expit(2 * (x - 0.3))):.2f}"
    '0.30'
    """
    return _half_point(_interpolated(x, p))


def slope_at_half(x: Array, p: Array) -> float:
    """Return dp/dx where p = 1/2, in 1/units of x: ``1/(4 alpha)`` for a logistic. Arguments: ``half_point``.

    Examples
    --------
    >>> x = np.linspace(-3, 3, 241)
    >>> f"{slope_at_half(x, expit(2 * x)):.3f}"
    '0.500'
    """
    curve = _interpolated(x, p)
    return float(curve.derivative()(_half_point(curve)))


def asymmetry(x: Array, p: Array) -> float:
    """Return ``max_d |p(u50 + d) + p(u50 - d) - 1|``: 0 for a curve with the point symmetry of a logistic.

    d runs as far as x reaches on both sides of u50. Arguments: ``half_point``. Noise of p biases a maximum
    upwards by a few standard errors.

    Examples
    --------
    >>> x = np.linspace(-6, 6, 241)
    >>> f"{asymmetry(x, expit(2 * x)):.3f} {asymmetry(x, 1 - np.exp(-np.exp(x))):.3f}"
    '0.000 0.099'
    """
    curve = _interpolated(x, p)
    half = _half_point(curve)
    reach = min(half - curve.x[0], curve.x[-1] - half)
    d = np.linspace(0.0, reach, 2001)
    return float(np.max(np.abs(curve(half + d) + curve(half - d) - 1)))


def _interpolated(x: Array, p: Array) -> PchipInterpolator:
    from scipy.interpolate import PchipInterpolator  # slow to import

    order = np.argsort(x)
    return PchipInterpolator(np.asarray(x, dtype=float)[order], np.asarray(p, dtype=float)[order])


def _half_point(curve: PchipInterpolator) -> float:
    crossings = curve.solve(0.5, extrapolate=False)
    if not len(crossings):
        raise CalibrationError(
            f"half point: p must pass 1/2 in the given range, got p from {curve(curve.x).min():.3g} to "
            f"{curve(curve.x).max():.3g}; widen the range"
        )
    return float(crossings[len(crossings) // 2])
