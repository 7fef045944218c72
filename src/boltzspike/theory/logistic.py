"""The logistic that stands for a response function, and how far from it the function is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
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
