"""Bursts and pauses in the spikes of one neuron."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boltzspike.errors import ValidationError, require
from boltzspike.samples import Spikes

Array = np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class BurstStatistics:
    """Inter-spike intervals of one neuron, and the bursts and pauses that they fall into."""

    intervals: Array
    """Every interval, ms, shape (intervals,)."""
    longest_interval: float
    """A burst goes on while the interval is at most this, ms."""
    probability: Array
    """P_n: share of the bursts that have n spikes, n = 1 .. the longest one, shape (N,)."""
    probability_error: Array
    """Its standard error, bursts taken as independent."""
    pause: Array
    """T_n: mean pause after a burst of n spikes (its last interval less tau_refrac), ms, (N,); NaN for none."""
    pause_error: Array
    """Its standard error; NaN with fewer than ten bursts, which do not tell one."""
    bursts: int
    """Number of bursts, the first and the last of each chain not counted."""


def bursts(spikes: Spikes, *, dt: float, longest_interval: float) -> BurstStatistics:
    """Return the burst statistics of the spikes of one unit.

    Raises
    ------
    ValidationError
        With more than one unit, or where no burst lies between two pauses.
    """
    require(spikes.n_units == 1, "bursts", "of one unit", f"{spikes.n_units} units")
    interval = np.diff(spikes.step) * dt
    broken = np.diff(spikes.chain) != 0
    last = np.flatnonzero(broken | (interval > longest_interval + dt / 2))  # spikes that end a burst, or a chain
    whole = ~broken[last[1:]] & ~broken[last[:-1]]
    length, pause = np.diff(last)[whole], interval[last[1:]][whole] - float(spikes.refractory_steps[0]) * dt
    if not len(length):
        raise ValidationError(
            f"bursts: needs a burst between two pauses, got {len(spikes.step)} spikes in {spikes.n_chains} "
            "chain(s); run longer, or nearer to p = 1/2"
        )
    count = np.bincount(length)[1:]
    share = count / len(length)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(length, pause)[1:] / count
        variance = np.bincount(length, (pause - mean[length - 1]) ** 2)[1:] / (count - 1)
        error = np.where(count >= 10, np.sqrt(variance / count), np.nan)
    return BurstStatistics(
        intervals=interval[~broken],
        longest_interval=longest_interval,
        probability=share,
        probability_error=np.sqrt(share * (1 - share) / len(length)),
        pause=mean,
        pause_error=error,
        bursts=len(length),
    )
