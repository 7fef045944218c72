"""Spikes as a Neo block: for Elephant, Viziphant and whatever else reads Neo."""

from __future__ import annotations

from typing import Any

from boltzspike.errors import MissingDependency
from boltzspike.export.trains import recorded_ms, trains
from boltzspike.result import Result


def block(result: Result) -> Any:
    """Return a ``neo.Block``: a segment for each chain, a spike train in ms for each unit.

    Trains are named after their units; ``annotations`` has the chain. Neo's own writers save it.

    Raises
    ------
    ValidationError
        Where spikes were not recorded.
    MissingDependency
        Without the package ``neo``.
    """
    try:
        import neo
    except ImportError:
        raise MissingDependency('spikes as Neo need neo: pip install "boltzspike[neo]"') from None
    stop = recorded_ms(result)
    made = neo.Block(name="boltzspike", engine=result.configuration["engine"], seed=result.configuration["seed"])
    for chain, name, times in trains(result):
        if chain == len(made.segments):
            made.segments.append(neo.Segment(name=f"chain {chain}", index=chain))
        train = neo.SpikeTrain(times, units="ms", t_start=0.0, t_stop=stop, name=name, chain=chain)
        made.segments[chain].spiketrains.append(train)
    return made
