"""Samples without a chain, of machines in which few units couple all others: RBMs, by their smaller layer."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logsumexp

from boltzspike.errors import require
from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.theory.tables import all_states, quadratic

LARGEST_COVER = 16
"""Units of the cover at most: 2^16 states are summed in less than a second."""
_BLOCK = 4096


def cover(weights: Array) -> Array:
    """Return units (indices) without which no coupling is left, the most coupled taken first.

    Of an RBM that couples every two units of its layers it is the smaller layer; in general it is a small vertex
    cover, not the smallest.

    Examples
    --------
    >>> cover(np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]))  # a star: its centre
    array([0])
    """
    coupled = np.asarray(weights) != 0
    degree, chosen = coupled.sum(axis=0), []
    while degree.any():
        unit = int(degree.argmax())
        chosen.append(unit)
        degree = degree - coupled[unit]
        degree[chosen] = 0
    return np.array(sorted(chosen), dtype=int)


def exact_samples(machine: BoltzmannMachine, size: int, seed: int) -> Array:
    """Return states (size, n), int8, drawn from the machine's law, in the order of the cover's states.

    The states of the cover are summed over; given them the other units are independent. The cover's states are
    drawn systematically: each gets its share of the draws to one draw, so averages over the cover are as good as
    exact, and those over the others are better than from independent samples.

    Raises
    ------
    ValidationError
        Where the cover has more than ``LARGEST_COVER`` units.
    """
    weights, biases = np.asarray(machine.weights), np.asarray(machine.biases)
    inner = cover(weights)
    allowed = f"of a cover of at most {LARGEST_COVER} units (for an RBM: its smaller layer)"
    require(len(inner) <= LARGEST_COVER, "exact_samples.machine", allowed, len(inner))
    outer = np.setdiff1d(np.arange(len(biases)), inner)
    across = weights[np.ix_(inner, outer)]
    states = all_states(len(inner))
    log_weights = quadratic(weights[np.ix_(inner, inner)], biases[inner])
    for start in range(0, len(states), _BLOCK):
        field = states[start : start + _BLOCK] @ across + biases[outer]
        log_weights[start : start + _BLOCK] += np.logaddexp(0, field).sum(axis=1)
    below = np.cumsum(np.exp(log_weights - logsumexp(log_weights)))
    rng = np.random.default_rng(seed)
    places = (np.arange(size) + rng.random()) / size * below[-1]
    drawn = states[np.minimum(np.searchsorted(below, places, side="right"), len(states) - 1)]
    samples = np.empty((size, len(biases)), dtype=np.int8)
    samples[:, inner] = drawn
    for start in range(0, size, _BLOCK):
        p = expit(drawn[start : start + _BLOCK] @ across + biases[outer])
        samples[start : start + _BLOCK, outer] = rng.random(p.shape) < p
    return samples
