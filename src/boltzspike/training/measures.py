"""How good an RBM is, without its partition function: free energy, pseudo-likelihood, reconstruction."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_expit, softmax

from boltzspike.model.description import Array
from boltzspike.training.models import Model, Statistics

_BLOCK = 64


def log_weights(model: Model, visible: Array) -> Array:
    """Return ``log sum_h exp(-E(v, h)) = b v + sum_j softplus(c_j + v W_j)``, minus the free energy, shape (m,).

    Examples
    --------
    >>> from boltzspike.training.models import restricted
    >>> log_weights(restricted(2, 3, scale=0.0), np.zeros((1, 2)))  # 3 ln 2
    array([2.07944154])
    """
    v = np.asarray(visible, dtype=np.float64)
    field = v @ model.weights + model.hidden_biases
    return np.asarray(v @ model.visible_biases + np.logaddexp(0, field).sum(axis=1))


def pseudo_likelihood(model: Model, visible: Array) -> float:
    """Return the mean over samples of ``pseudo_likelihoods``."""
    return float(pseudo_likelihoods(model, visible).mean())


def pseudo_likelihoods(model: Model, visible: Array) -> Array:
    """Return ``sum_i log p(v_i | all other visible units)`` of each sample, (m,), nats."""
    v, weights = np.asarray(visible, dtype=np.float32), model.weights.astype(np.float32)
    found = np.empty(len(v))
    for start in range(0, len(v), _BLOCK):
        block = v[start : start + _BLOCK]
        field = block @ weights + model.hidden_biases.astype(np.float32)
        step = 1 - 2 * block
        flipped = _softplus(field[:, None, :] + step[:, :, None] * weights).sum(axis=2, dtype=np.float64)
        now = _softplus(field).sum(axis=1, dtype=np.float64)
        log_p = log_expit(now[:, None] - flipped - step * model.visible_biases)
        found[start : start + _BLOCK] = log_p.sum(axis=1)
    return found


def _softplus(x: Array) -> Array:
    # log, unlike log1p, is vectorised in float32; the error is 6e-8
    return np.asarray(np.maximum(x, 0) + np.log(1 + np.exp(-np.abs(x))))


def reconstruction_error(model: Model, visible: Array) -> float:
    """Return the mean squared difference of the visible units and their mean-field reconstruction."""
    v = np.asarray(visible, dtype=np.float64)
    if model.restricted:
        hidden = expit(v @ model.weights + model.hidden_biases)
        back = expit(hidden @ model.weights.T + model.visible_biases)
    else:
        at, hidden = model.n_visible, np.full((len(v), model.n_hidden), 0.5)
        for _ in range(10):
            z = np.concatenate([v, hidden], axis=1)
            hidden = expit(z @ model.weights[:, at:] + model.hidden_biases)
        z = np.concatenate([v, hidden], axis=1)
        back = expit(z @ model.weights[:, :at] + model.visible_biases)
    return float(np.mean((v - back) ** 2))


def class_log_odds(model: Model, pixels: Array, labels: int) -> Array:
    """Return ``log p(y | pixels)`` up to a constant of each row, (m, labels): exactly one label unit is on."""
    pixels = np.asarray(pixels, dtype=np.float64)
    field = _class_fields(model, pixels, labels)
    scores = np.logaddexp(0, field).sum(axis=2) + model.visible_biases[-labels:]
    return np.asarray(scores + (pixels @ model.visible_biases[:-labels])[:, None])


def _class_fields(model: Model, pixels: Array, labels: int) -> Array:
    """Return the drive of the hidden units under each label, (m, labels, hidden)."""
    of_pixels = pixels @ model.weights[:-labels] + model.hidden_biases
    return np.asarray(of_pixels[:, None, :] + model.weights[-labels:])


def class_statistics(model: Model, visible: Array, labels: int) -> Statistics:
    """Return the statistics with the pixels held and the label drawn from ``p(y | pixels)``.

    The data phase less these is the gradient of ``log p(y | pixels)`` (H. Larochelle and Y. Bengio, ICML 2008).
    """
    pixels = np.asarray(visible[:, :-labels], dtype=np.float64)
    field = _class_fields(model, pixels, labels)
    p = softmax(np.logaddexp(0, field).sum(axis=2) + model.visible_biases[-labels:], axis=1)
    hidden = expit(field) * p[:, :, None]
    couplings = np.concatenate([pixels.T @ hidden.sum(axis=1), hidden.sum(axis=0)]) / len(pixels)
    units = np.concatenate([pixels.mean(axis=0), p.mean(axis=0), hidden.sum(axis=1).mean(axis=0)])
    return Statistics(couplings=couplings, units=units)
