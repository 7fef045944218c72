"""The logistic that stands for a response function, and how far from it the function is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from scipy.special import expit, logit

from boltzspike.errors import CalibrationError
from boltzspike.model.description import Array

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

    Each point is weighted by its share of the x axis, so that the fit minimises the integral of the squared
    deviation, wherever the points lie (``place_points``).

    Parameters
    ----------
    x
        Control variable, shape (m,), in any order.
    p
        Response, shape (m,).
    p_error
        Standard error of p, shape (m,). The errors of u0 and alpha follow from it, and from that part of the
        deviation that it does not explain (the misfit of the logistic), by linear propagation. ``None``: 0.

    Raises
    ------
    CalibrationError
        With fewer than three points in the range.
    """
    inside = (p >= FIT_RANGE[0]) & (p <= FIT_RANGE[1])
    if inside.sum() < 3:
        raise CalibrationError(
            f"logistic fit: needs 3 points with p in [.01, .99], got {int(inside.sum())} "
            f"(p runs from {np.min(p):.3g} to {np.max(p):.3g}); widen or refine the range"
        )
    order = np.flatnonzero(inside)[np.argsort(x[inside], kind="stable")]
    x, p = x[order], p[order]
    variance = np.zeros_like(x) if p_error is None else p_error[order] ** 2
    share = np.gradient(x) / np.mean(np.gradient(x))
    slope, offset = np.polyfit(x, logit(p), 1)
    first = np.array([-offset / slope, 1 / slope])

    root = np.sqrt(share)
    found = scipy.optimize.least_squares(
        lambda q: root * (expit((x - q[0]) / q[1]) - p), first, x_scale=np.abs(first[1])
    )
    best, deviation = found.x, expit((x - found.x[0]) / found.x[1]) - p
    misfit = np.sum(share * deviation**2) / max(len(x) - 2, 1) - np.mean(share * variance)
    # best = moved @ p, to first order
    moved = np.linalg.solve(found.jac.T @ found.jac, found.jac.T) * root
    errors = np.sqrt(moved**2 @ (variance + max(misfit, 0.0)))
    return LogisticFit(
        u0=float(best[0]),
        alpha=float(best[1]),
        u0_error=float(errors[0]),
        alpha_error=float(errors[1]),
        rms=float(np.sqrt(np.mean(share * deviation**2))),
        max_deviation=float(np.max(np.abs(deviation))),
    )


def place_points(u0: float, alpha: float, count: int) -> Array:
    """Return where to measure a response of about this logistic, so that u0 and alpha come out best.

    An error of p at x moves u0 in proportion to ``share p q`` and alpha to ``share p q (x - u0)/alpha`` in the fit
    above (q = 1 - p, share the part of the axis that the point stands for), and the variance of p measured in a
    given time is p q times a time that is about the same everywhere. The sum of both variances is then least for
    points of the density ``(p q)^(3/2) (1 + ((x - u0)/alpha)^2)^(1/2)`` (J. Neyman, J. R. Stat. Soc. 97, 558,
    1934): they gather within two alpha of u0.

    Returns
    -------
    Points, shape (count,), in units of x.

    Examples
    --------
    >>> place_points(0.0, 1.0, 5).round(2).tolist()
    [-2.18, -0.96, 0.0, 0.96, 2.18]
    """
    reach = logit(FIT_RANGE[1])
    t = np.linspace(-reach, reach, 2001)
    density = (expit(t) * expit(-t)) ** 1.5 * np.sqrt(1 + t**2)
    below = np.cumsum(density) - density / 2
    return u0 + alpha * np.interp((np.arange(count) + 0.5) / count, below / density.sum(), t)


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


def _interpolated(x: Array, p: Array) -> scipy.interpolate.PchipInterpolator:
    order = np.argsort(x)
    return scipy.interpolate.PchipInterpolator(
        np.asarray(x, dtype=float)[order], np.asarray(p, dtype=float)[order]
    )


def _half_point(curve: scipy.interpolate.PchipInterpolator) -> float:
    crossings = curve.solve(0.5, extrapolate=False)
    if not len(crossings):
        raise CalibrationError(
            f"half point: p must pass 1/2 in the given range, got p from {curve(curve.x).min():.3g} to "
            f"{curve(curve.x).max():.3g}; widen the range"
        )
    return float(crossings[len(crossings) // 2])
