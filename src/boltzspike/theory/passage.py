"""First-passage times of the Ornstein-Uhlenbeck process."""

from __future__ import annotations

import numpy as np
from scipy.special import erfcx

from boltzspike.model.description import Array

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def mean_passage_time(start: Array, threshold: Array, mu: Array, sigma: Array, tau: float) -> Array:
    """Return the mean time for an OU process to climb from ``start`` to ``threshold``.

    ``T(y) = tau sqrt(pi) int_{(y - mu)/(sqrt2 sigma)}^{(threshold - mu)/(sqrt2 sigma)} erfcx(-x) dx``

    Parameters
    ----------
    start
        Starting values y in ascending order along the last axis, shape (..., k), mV, below the threshold.
    threshold, mu, sigma
        Threshold, mean and stationary standard deviation, mV, shapes that broadcast with (..., 1).
    tau
        Correlation time, ms.

    Returns
    -------
    Mean first-passage time, shape (..., k), ms; ``inf`` where it exceeds the range of a float.

    Notes
    -----
    A. J. F. Siegert, Phys. Rev. 81, 617 (1951). The integral runs piecewise between neighbouring starts,
    eight Gauss-Legendre nodes a piece.

    Examples
    --------
    >>> t = mean_passage_time(np.linspace(-2, -0.5, 8), np.array([0.0]), np.array([0.0]), np.array([1.0]), 10.0)
    >>> f"{t[0]:.3f} {t[-1]:.3f}"
    '14.252 5.234'
    """
    scale = np.sqrt(2) * sigma
    edges = np.concatenate([start, np.broadcast_to(threshold, (*start.shape[:-1], 1))], axis=-1)
    x = (edges - mu) / scale
    half = np.diff(x, axis=-1)[..., None] / 2
    middle = x[..., :-1, None] + half
    with np.errstate(over="ignore"):
        pieces = np.sum(half * _WEIGHTS * erfcx(-(middle + half * _NODES)), axis=-1)
    return tau * np.sqrt(np.pi) * np.flip(np.cumsum(np.flip(pieces, axis=-1), axis=-1), axis=-1)
