"""How fast a machine can be sampled: the relaxation time of neurons, before any sample is drawn."""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from scipy.special import expit

from boltzspike.errors import require
from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.theory.exact import all_states, exact_joint

MAX_UNITS = 14
"""The slowest mode of a machine of that many units takes about a second."""
_FASTEST = 1e4
"""Largest rate, on and off together, of a unit in the spectrum: a refractory period is far longer."""


def relaxation_time(machine: BoltzmannMachine) -> float:
    """Return the relaxation time of neural sampling, in refractory periods.

    Of the Markov chain in which unit k turns on at rate ``exp(u_k)`` and off at rate 1 a refractory period, with
    ``u_k = b_k + sum_j W_kj z_j``: the neurons of Buesing et al., PLoS Comput. Biol. 7, e1002211 (2011), with
    exponential in place of fixed refractory periods. Its generator, ``sum_k (1 + exp(u_k)) (E[. | z_-k] - 1)``, is
    reversible; its spectral gap g gives 1/g, in which the slowest correlation falls to 1/e (Levin and Peres,
    Markov Chains and Mixing Times, 2nd ed., 2017, sections 12.2 and 20). Where ``1 + exp(u_k)`` exceeds 1e4 it is
    set to that: such a unit is out of balance for 1e-4 refractory periods at most, which nothing else notices, and
    the gap is not lost beside rates of any size. A time beyond what double precision tells, about 1e8, is
    infinite.

    LIF neurons were measured to leave the two modes of excitatory cliques 2 to 3 times sooner than that.

    Raises
    ------
    ValidationError
        For more than ``MAX_UNITS`` units.

    Examples
    --------
    A unit by itself forgets at the sum of both rates:

    >>> round(relaxation_time(BoltzmannMachine(weights=[[0, 0], [0, 0]], biases=[0.0, 1.0])), 6)
    0.5
    """
    n = machine.n_units
    require(n <= MAX_UNITS, "relaxation_time", f"of at most {MAX_UNITS} units", n)
    probability = exact_joint(machine)
    amplitude = np.sqrt(probability)
    drive = all_states(n) @ np.asarray(machine.weights) + np.asarray(machine.biases)
    undecided = [drive[:, k].reshape(2**k, 2, -1)[:, 0] for k in range(n)]
    both = [np.minimum(1 + np.exp(np.minimum(u, np.log(_FASTEST))), _FASTEST) for u in undecided]
    rates = [(rate * expit(u), rate * expit(-u)) for rate, u in zip(both, undecided)]
    lowest = sum(float(rate.max()) for rate in both)

    def generator(x: Array) -> Array:
        x = np.asarray(x).ravel()
        # the stationary law, of eigenvalue 0, is moved out of the way
        change = -lowest * amplitude * (amplitude @ x)
        for k, (on, off) in enumerate(rates):
            v, out = x.reshape(2**k, 2, -1), change.reshape(2**k, 2, -1)
            # in the basis scaled by sqrt(p) the two rates of a unit meet in their geometric mean
            flow = np.sqrt(on * off)
            out[:, 0] += flow * v[:, 1] - on * v[:, 0]
            out[:, 1] += flow * v[:, 0] - off * v[:, 1]
        return change

    operator = LinearOperator((2**n, 2**n), matvec=generator, dtype=np.float64)
    start = np.random.default_rng(1).normal(size=2**n)
    try:
        slowest = eigsh(operator, k=1, which="LA", v0=start, return_eigenvectors=False, tol=1e-6)
    except ArpackNoConvergence:
        # a gap so small against n that it is lost: as good as never
        return float("inf")
    gap = -float(slowest[0])
    return float("inf") if gap <= lowest * 1e-13 else 1.0 / gap


def relaxation_of_chains(states: Array) -> float:
    """Return about the relaxation time of the slowest unit, in draws, from independent chains of a short run.

    The variance of a chain's mean over T draws is ``2 tau / T`` times that of a draw, as long as tau << T; where
    chains never leave where they began it comes out as T / 2: that much, or more.

    Parameters
    ----------
    states
        Shape (chains, draws, units), of values 0 and 1, from many chains with independent starts.
    """
    chains, draws, _ = states.shape
    means = states.mean(axis=1, dtype=np.float64)
    p = means.mean(axis=0)
    moving = p * (1 - p) > 1.0 / (chains * draws)
    if not moving.any():
        return 0.0
    between = means.var(axis=0, ddof=1)[moving] / (p * (1 - p))[moving]
    return float(min(between.max(), 1.0) * draws / 2)
