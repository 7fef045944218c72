"""The inverse problem: the Boltzmann machine nearest to a distribution over few units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from boltzspike.errors import CalibrationError, require
from boltzspike.model.description import Array
from boltzspike.theory.exact import all_states

MAX_UNITS = 12
_STEPS = 200
_PRECISION = 1e-9
_ON_THE_BORDER = "fit_machine: no machine has these moments: a unit or a pair never takes one of its states"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fit:
    """The machine of least D_KL(distribution || machine)."""

    weights: Array
    """Shape (n, n)."""
    biases: Array
    """Shape (n,)."""
    probabilities: Array
    """Of the 2^n states under the machine."""
    fisher: Array
    """Covariance of the sufficient statistics (z_k, then z_k z_j for the coupled k < j), shape (m, m)."""
    divergence: float
    """What is left of D_KL: how far the distribution is from any Boltzmann machine."""


def statistics(n: int, coupled: Array | None = None) -> Array:
    """Return the sufficient statistics of all states, (2^n, m): z_k, then z_k z_j for k < j (or the coupled)."""
    z = all_states(n).astype(np.float64)
    row, column = _pairs(n, coupled)
    return np.concatenate([z, z[:, row] * z[:, column]], axis=1)


def _pairs(n: int, coupled: Array | None) -> tuple[Array, Array]:
    row, column = np.nonzero(np.triu(np.ones((n, n)) if coupled is None else coupled, 1))
    return row, column


def pair_cells(distribution: Array) -> Array:
    """Return the probabilities of the two states of each unit and the four of each pair, flat."""
    n = len(distribution).bit_length() - 1
    return _cells(distribution @ statistics(n), _pairs(n, None))


def _cells(moments: Array, pairs: tuple[Array, Array]) -> Array:
    row, column = pairs
    n = len(moments) - len(row)
    both, one, other = moments[n:], moments[row], moments[column]
    return np.concatenate([moments[:n], 1 - moments[:n], both, one - both, other - both, 1 - one - other + both])


def fit_machine(distribution: Array, coupled: Array | None = None) -> Fit:
    """Return the Boltzmann machine with the marginals and pair moments of a distribution.

    It maximises the likelihood (a concave problem) by Newton steps with a line search.

    Parameters
    ----------
    distribution
        Probabilities of the 2^n states, unit 0 the most significant bit. Every unit must take both values.
    coupled
        Shape (n, n), symmetric: the pairs that have a weight, and whose moments count; ``None``: all.

    Raises
    ------
    CalibrationError
        Where a moment lies on the border of what machines can have, so that a parameter is infinite.
    """
    n = len(distribution).bit_length() - 1
    require(len(distribution) == 2**n, "distribution", "of 2^n probabilities", len(distribution))
    require(n <= MAX_UNITS, "fit_machine", f"of at most {MAX_UNITS} units", n)
    features = statistics(n, coupled)
    wanted = distribution @ features
    row, column = _pairs(n, coupled)
    if _cells(wanted, (row, column)).min() <= 0:
        raise CalibrationError(_ON_THE_BORDER)
    theta = np.zeros(features.shape[1])

    def at(theta: Array) -> tuple[float, Array]:
        exponent = features @ theta
        log_z = float(logsumexp(exponent))
        return float(wanted @ theta - log_z), np.exp(exponent - log_z)

    likelihood, p = at(theta)
    for _ in range(_STEPS):
        mean = p @ features
        gap = wanted - mean
        fisher = (features * p[:, None]).T @ features - np.outer(mean, mean)
        if np.abs(gap).max() < _PRECISION:
            break
        step = np.linalg.solve(fisher + 1e-12 * np.eye(len(fisher)), gap)
        step *= min(1.0, 2.0 / np.abs(step).max())
        while True:
            ahead, p_ahead = at(theta + step)
            if ahead >= likelihood - 1e-14 or np.abs(step).max() < 1e-8:
                break
            step /= 2
        theta, likelihood, p = theta + step, ahead, p_ahead
    else:
        raise CalibrationError(_ON_THE_BORDER)
    weights = np.zeros((n, n))
    weights[row, column] = theta[n:]
    seen = distribution > 0
    return Fit(
        weights=weights + weights.T,
        biases=theta[:n],
        probabilities=p,
        fisher=fisher,
        divergence=float(np.sum(distribution[seen] * np.log(distribution[seen] / p[seen]))),
    )
