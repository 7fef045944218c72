"""Do the chains travel between the modes of the target? Switches, dwell times, the likelihood of data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from boltzspike.diagnostics.estimates import blocks, standard_error
from boltzspike.errors import require
from boltzspike.model.boltzmann import Machine
from boltzspike.theory.sampling_likelihood import sampling_likelihood

Array = np.ndarray
_ROWS = 2**16
"""States that are handled at once."""


def basins(states: Array, machine: Machine) -> tuple[Array, Array]:
    """Return the mode of each state: the minimum of the energy that steepest descent reaches from it.

    Each step flips the unit that lowers the energy most; a state is a minimum when none does. That needs no
    parameter and depends on the target alone, so it is the same for every sampler. A chain that wanders about a
    ridge changes its basin without having gone anywhere: where the modes are known beforehand, ``nearest`` with
    them is the better choice.

    Parameters
    ----------
    states
        Shape (..., n).
    machine
        The target of these units.

    Returns
    -------
    The number of each state's mode, shape (...,), and the minima, int8 (modes, n), by falling number of states.
    """
    plain = machine.to_boltzmann()
    n = plain.n_units
    require(states.shape[-1] == n, "states", f"of {n} units", states.shape[-1])
    flat = states.reshape(-1, n)
    packed, inverse = np.unique(np.packbits(flat.view(np.uint8), axis=1), axis=0, return_inverse=True)
    different = np.unpackbits(packed, axis=1, count=n).view(np.int8)
    weights, biases = np.asarray(plain.weights), np.asarray(plain.biases)
    reached = np.empty_like(different)
    for first in range(0, len(different), _ROWS):
        reached[first : first + _ROWS] = _descend(different[first : first + _ROWS], weights, biases)
    minima, label = np.unique(reached, axis=0, return_inverse=True)
    label = label.ravel()[inverse.ravel()]
    return _by_falling_number(label.reshape(states.shape[:-1]), minima)


def _descend(states: Array, weights: Array, biases: Array) -> Array:
    z = states.astype(np.float64)
    drive = z @ weights + biases
    going = np.arange(len(z))
    while len(going):
        # a flip of unit k changes the energy by -(1 - 2 z_k) u_k
        gain = (1 - 2 * z[going]) * drive[going]
        unit = gain.argmax(axis=1)
        going, unit = (x[gain[np.arange(len(going)), unit] > 1e-12] for x in (going, unit))
        change = 1 - 2 * z[going, unit]
        z[going, unit] += change
        drive[going] += change[:, None] * weights[unit]
    return z.astype(np.int8)


def nearest(states: Array, patterns: Array) -> tuple[Array, Array]:
    """Return the mode of each state as the nearest of given patterns, in Hamming distance; the first of equals.

    Parameters
    ----------
    states
        Shape (..., n).
    patterns
        Shape (modes, n), 0 or 1; -1 where a pattern leaves a unit open.
    """
    patterns = np.atleast_2d(np.asarray(patterns))
    n = states.shape[-1]
    require(patterns.shape[1] == n, "patterns", f"of {n} units", patterns.shape[1])
    require(bool(np.isin(patterns, (-1, 0, 1)).all()), "patterns", "0, 1 or -1", "others")
    flat, label = states.reshape(-1, n), []
    # distance = ones where the pattern has 0, and zeros where it has 1
    slope = ((patterns == 0).astype(np.float32) - (patterns == 1)).T
    for first in range(0, len(flat), _ROWS):
        away = flat[first : first + _ROWS].astype(np.float32) @ slope + (patterns == 1).sum(axis=1)
        label.append(away.argmin(axis=1))
    return np.concatenate(label).reshape(states.shape[:-1]), patterns.astype(np.int8)


def _by_falling_number(label: Array, minima: Array) -> tuple[Array, Array]:
    order = np.argsort(-np.bincount(label.ravel(), minlength=len(minima)), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place[label], minima[order]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Mixing:
    """How chains travel between modes."""

    modes: Array
    """int8 (modes, n), the most visited first (in the order given, if they were)."""
    share: Array
    """Share of the draws in each, shape (modes,)."""
    share_error: Array
    """Its standard error, from independent blocks."""
    switches: Array
    """From mode to mode, over all chains, int64 (modes, modes), zero on the diagonal."""
    dwell: Array
    """Mean stay in each mode, in draws: all draws in it over all departures; infinite if it was never left."""
    visited: Array
    """Number of modes that each chain saw, shape (chains,)."""
    draws: int
    """Of each chain."""

    @property
    def rate(self) -> float:
        """Switches per draw of a chain."""
        return float(self.switches.sum() / (len(self.visited) * (self.draws - 1)))

    @property
    def stuck(self) -> int:
        """Number of chains that never left the mode they began in."""
        return int(np.sum(self.visited == 1))

    def __str__(self) -> str:
        """Return the number of modes and switches."""
        chains = len(self.visited)
        return (
            f"{len(self.modes)} modes, {self.switches.sum()} switches in {chains} chains of {self.draws} draws "
            f"(one in {1 / self.rate:.3g} draws), {self.stuck} of {chains} chains never switched"
            if self.switches.any()
            else f"{len(self.modes)} modes, no switch in {chains} chains of {self.draws} draws"
        )


def mixing(labels: Array, modes: Array) -> Mixing:
    """Return switches and dwell times.

    The mean stay is that of an exponential law, which the ends of a run, that cut the first and the last stay of
    each chain short, don't bias.

    Parameters
    ----------
    labels
        Mode of each draw, shape (chains, draws), as ``basins`` or ``nearest`` give it.
    modes
        Shape (modes, n).
    """
    draws = labels.shape[1]
    require(draws >= 2, "mixing", "of at least 2 draws a chain", draws)
    number = len(modes)
    before, after = labels[:, :-1].ravel().astype(np.int64), labels[:, 1:].ravel()
    moved = before != after
    # the pairs that occur, and not all pairs of modes: there may be very many modes
    code, count = np.unique(before[moved] * number + after[moved], return_counts=True)
    require(number <= _MOST_MODES, "mixing", f"of at most {_MOST_MODES} modes; name patterns", number)
    switches = np.zeros((number, number), dtype=np.int64)
    switches.flat[code] = count
    at = np.bincount(labels.ravel(), minlength=number)
    in_blocks = blocks(labels[..., None])[..., 0]
    per_block = np.stack([np.bincount(one, minlength=number) / len(one) for one in in_blocks])
    departures = switches.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        dwell = np.where(departures > 0, at / departures, np.where(at > 0, np.inf, np.nan))
    return Mixing(
        modes=modes,
        share=at / labels.size,
        share_error=standard_error(per_block),
        switches=switches,
        dwell=dwell,
        visited=np.array([len(np.unique(chain)) for chain in labels]),
        draws=draws,
    )


_MOST_MODES = 2**12


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleLikelihood:
    """Indirect sampling likelihood: log-likelihood of data under a density built from samples."""

    value: float
    """Mean over the data, nats."""
    error: float
    """Standard error, from independent blocks of the samples (each block builds a density of its own)."""
    sharpness: float

    def __str__(self) -> str:
        """Return it with its error."""
        return f"indirect sampling likelihood {self.value:.5g} +- {self.error:.1g} nats a datum"


def sample_likelihood(
    states: Array, data: Sequence[Sequence[int]] | Array, *, sharpness: float
) -> SampleLikelihood:
    """Return the indirect sampling likelihood of data.

    Each sample s is a mode of q(x) = 1/N sum_s prod_i beta^[x_i = s_i] (1 - beta)^[x_i != s_i]; samples that miss
    a mode of the data, or stay in one, give the rest a small likelihood. As a function of the number of samples it
    shows how fast a sampler comes round.

    Parameters
    ----------
    states
        Shape (chains, draws, n).
    data
        Shape (items, n), 0 or 1.
    sharpness
        beta, in (0.5, 1); chosen by the data, not by the samples that are judged.

    References
    ----------
    O. Breuleux, Y. Bengio, P. Vincent, Neural Computation 23 (2011) 2058.
    """
    x = np.asarray(data)
    n = states.shape[-1]
    require(x.ndim == 2 and x.shape[1] == n and len(x) > 0, "data", f"of shape (items, {n})", x.shape)
    require(0.5 < sharpness < 1, "sharpness", "in (0.5, 1)", sharpness)
    per_block = blocks(states)
    logs = np.stack([sampling_likelihood(one, x, beta=sharpness) for one in per_block])
    # equal blocks: the density of all samples is the mean of the blocks'
    value = float(np.mean(logsumexp(logs, axis=0) - np.log(len(logs))))
    weight = np.exp(logs - logsumexp(logs, axis=0))
    influence = (weight * len(logs)).mean(axis=1)
    return SampleLikelihood(
        value=value, error=float(influence.std(ddof=1) / np.sqrt(len(logs))), sharpness=sharpness
    )
