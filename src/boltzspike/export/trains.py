"""The spikes of a result as trains: what every format of spikes is made of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from boltzspike.errors import ValidationError
from boltzspike.model.description import Array
from boltzspike.result import Result


def trains(result: Result) -> Iterator[tuple[int, str, Array]]:
    """Yield (chain, unit's name, times in ms) of every simulated unit of every chain, silent ones included.

    Times count from the beginning of the recording; a spike of a time step is stamped at its end.

    Raises
    ------
    ValidationError
        Where spikes were not recorded.
    """
    spikes = result.samples.spikes
    if spikes is None:
        raise ValidationError(
            "spikes: were not recorded; sample(..., record=boltzspike.Record(spikes=True)) keeps them"
        )
    times = (spikes.step + 1 - spikes.start) * result.samples.dt
    place = spikes.chain * spikes.n_units + spikes.unit
    order = np.argsort(place, kind="stable")
    ends = np.cumsum(np.bincount(place, minlength=spikes.n_chains * spikes.n_units))
    for k, train in enumerate(np.split(times[order], ends[:-1])):
        chain, unit = divmod(k, spikes.n_units)
        yield chain, result.names[int(result.simulated[unit])], train


def recorded_ms(result: Result) -> float:
    """Return the length of the recording of each chain, ms."""
    return (result.samples.stop - result.samples.start) * result.samples.dt
