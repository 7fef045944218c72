"""The likelihood of data under samples of a model alone: the indirect sampling likelihood."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from boltzspike.errors import require
from boltzspike.model.description import Array

BETAS = np.array([0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99])


def sampling_likelihood(samples: Array, data: Array, *, beta: float) -> Array:
    """Return ``log p(x)`` of each of the data under a Bernoulli kernel density of samples, shape (m,), nats.

    ``p(x) = 1/N sum_n prod_i beta^[x_i = s_ni] (1 - beta)^[x_i != s_ni]``: each sample stands for itself with its
    neighbours. It needs no parameters, so it judges any sampler, and it punishes one that stays in few modes. It
    lies below the log-likelihood of the sampled law in expectation, once ``beta`` is fixed independently of data.

    O. Breuleux, Y. Bengio and P. Vincent, "Quickly generating representative samples from an RBM-derived process",
    Neural Computation 23, 2058 (2011).

    Parameters
    ----------
    samples
        Binary, shape (N, units).
    data
        Binary, shape (m, units).
    beta
        In (1/2, 1); see ``best_beta``.

    Examples
    --------
    >>> sampling_likelihood(np.array([[0, 1]]), np.array([[0, 1], [1, 0]]), beta=0.9).round(3)
    array([-0.211, -4.605])
    """
    require(0.5 < beta < 1, "beta", "in (1/2, 1)", beta)
    samples, data = np.asarray(samples, dtype=np.float32), np.asarray(data, dtype=np.float32)
    same = samples.ndim == data.ndim == 2 and samples.shape[1] == data.shape[1] and len(samples) > 0
    require(same, "samples, data", "two arrays of the same number of columns", (samples.shape, data.shape))
    found = np.empty(len(data))
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        distance = block.sum(axis=1)[:, None] + samples.sum(axis=1) - 2 * block @ samples.T
        log_p = (data.shape[1] - distance) * np.log(beta) + distance * np.log1p(-beta)
        found[start : start + _BLOCK] = logsumexp(log_p, axis=1) - np.log(len(samples))
    return found


_BLOCK = 64


def best_beta(samples: Array, validation: Array) -> float:
    """Return the one of ``BETAS`` under which validation data, not that to be judged, are likeliest."""
    means = [sampling_likelihood(samples, validation, beta=beta).mean() for beta in BETAS]
    return float(BETAS[int(np.argmax(means))])
