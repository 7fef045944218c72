"""Approximate marginals in closed loops: naive mean field, TAP, loopy belief propagation.

Each is a fixed point, found by damped iteration; what does not converge is an error, never an answer.

- Naive: ``m_k = sigma(b_k + sum_j W_kj m_j)``
- TAP: ``m_k = sigma(b_k + sum_j W_kj m_j + sum_j W_kj^2 (1/2 - m_k) m_j (1 - m_j))``, the second order in W
  (D. J. Thouless, P. W. Anderson, R. G. Palmer, Philos. Mag. 35 (1977) 593, derived here for z in {0, 1})
- Bethe: with the cavity log odds ``h_kj`` of k without j, ``h_kj = b_k + sum_(i != j) u_ik``,
  ``u_jk = log((1 + e^(h_jk + W_jk))/(1 + e^h_jk))``: exact on trees. Pairs follow from the two cavities.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from boltzspike.errors import BoltzspikeError, require
from boltzspike.model.boltzmann import Machine
from boltzspike.model.description import Array


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeanField:
    """A fixed point."""

    marginals: Array
    """p(z_k = 1), shape (n,)."""
    pairs: Array | None
    """p(z_k = z_j = 1) of coupled units, NaN of others, the marginals on the diagonal, (n, n); Bethe only."""
    iterations: int
    method: str


class NotConverged(BoltzspikeError):
    """An iteration found no fixed point."""


def naive_mean_field(
    machine: Machine, *, damping: float = 0.5, tolerance: float = 1e-10, iterations: int = 5000
) -> MeanField:
    """Return the naive mean field.

    Parameters
    ----------
    machine
        The machine.
    damping
        Share of the old value that a step keeps, in [0, 1).
    tolerance
        Largest change of a log odds in a step at which to stop.
    iterations
        Steps after which to give up.

    Raises
    ------
    NotConverged
        Where no fixed point was found.
    """
    weights, biases = _arrays(machine)
    odds, steps = _fixed_point(
        lambda h: biases + weights @ expit(h), biases, damping, tolerance, iterations, "naive mean field"
    )
    return MeanField(marginals=expit(odds), pairs=None, iterations=steps, method="naive mean field")


def tap(machine: Machine, *, damping: float = 0.5, tolerance: float = 1e-10, iterations: int = 5000) -> MeanField:
    """Return the solution of the TAP equations; parameters as in ``naive_mean_field``."""
    weights, biases = _arrays(machine)
    squares = weights**2

    def step(h: Array) -> Array:
        m = expit(h)
        return biases + weights @ m + (0.5 - m) * (squares @ (m * (1 - m)))

    odds, steps = _fixed_point(step, biases, damping, tolerance, iterations, "TAP")
    return MeanField(marginals=expit(odds), pairs=None, iterations=steps, method="TAP")


def belief_propagation(
    machine: Machine, *, damping: float = 0.5, tolerance: float = 1e-10, iterations: int = 5000
) -> MeanField:
    """Return the Bethe approximation by loopy belief propagation; parameters as in ``naive_mean_field``.

    Examples
    --------
    >>> from boltzspike.model.boltzmann import BoltzmannMachine
    >>> found = belief_propagation(BoltzmannMachine(weights=[[0, 1], [1, 0]], biases=[0, 0]))
    >>> f"{found.marginals[0]:.6f} {np.e + 1:.6f}/{np.e + 3:.6f}"
    '0.650245 3.718282/5.718282'
    """
    weights, biases = _arrays(machine)
    n = len(biases)
    source, target = np.nonzero(weights)
    w = weights[source, target]
    edge = np.full((n, n), -1)
    edge[source, target] = np.arange(len(source))
    back = edge[target, source]

    def incoming(messages: Array) -> Array:
        return np.asarray(np.bincount(target, messages, n))

    def cavity(messages: Array) -> Array:
        return (biases + incoming(messages))[source] - messages[back]

    def step(messages: Array) -> Array:
        h = cavity(messages)
        return np.asarray(np.logaddexp(0, h + w) - np.logaddexp(0, h))

    found, steps = _fixed_point(step, np.zeros(len(w)), damping, tolerance, iterations, "belief propagation")
    marginals = expit(biases + incoming(found))
    # p(z_k, z_j) ~ exp(h_kj z_k + h_jk z_j + W_kj z_k z_j)
    h = cavity(found)
    both = h + h[back] + w
    pairs = np.full((n, n), np.nan)
    pairs[source, target] = np.exp(both - np.logaddexp.reduce([np.zeros_like(h), h, h[back], both]))
    pairs[np.diag_indices(n)] = marginals
    return MeanField(marginals=marginals, pairs=pairs, iterations=steps, method="belief propagation")


def _arrays(machine: Machine) -> tuple[Array, Array]:
    plain = machine.to_boltzmann()
    return np.asarray(plain.weights), np.asarray(plain.biases)


def _fixed_point(
    step: Callable[[Array], Array], start: Array, damping: float, tolerance: float, iterations: int, name: str
) -> tuple[Array, int]:
    """Return x with step(x) = x, and the number of steps."""
    require(0 <= damping < 1, "damping", "in [0, 1)", damping)
    require(tolerance > 0, "tolerance", "> 0", tolerance)
    require(iterations >= 1, "iterations", "at least 1", iterations)
    x, change = start, np.inf
    for k in range(iterations):
        new = step(x)
        change = float(np.max(np.abs(new - x), initial=0.0))
        if change <= tolerance:
            return new, k + 1
        x = damping * x + (1 - damping) * new
    raise NotConverged(
        f"{name}: no fixed point in {iterations} iterations (log odds still change by {change:.2g}); "
        f"try a larger damping than {damping:g}, or an exact method: the machine is strongly coupled"
    )
