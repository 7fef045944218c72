"""Spikes as Neurodata Without Borders: a table of units with their spike times."""

from __future__ import annotations

import io
import uuid
from datetime import datetime
from os import PathLike
from pathlib import Path

from boltzspike.errors import MissingDependency, require
from boltzspike.export.trains import recorded_ms, trains
from boltzspike.files import writing
from boltzspike.result import Result


def save(result: Result, path: str | PathLike[str], *, started: datetime, force: bool = False) -> None:
    """Write a unit for each neuron of each chain, spike times in seconds from the beginning of the recording.

    Parameters
    ----------
    started
        When the simulation ran, with a time zone: the format wants it, and a result does not know it.

    Raises
    ------
    ValidationError
        Where spikes were not recorded, or the file can't be written.
    MissingDependency
        Without the package ``pynwb``.
    """
    try:
        import h5py
        import pynwb
    except ImportError:
        raise MissingDependency('spikes as NWB need pynwb: pip install "boltzspike[nwb]"') from None
    require(started.tzinfo is not None, "started", "a time with a time zone", started)
    how = result.configuration
    file = pynwb.NWBFile(
        session_description=f"spikes of a neural sampler, engine {how['engine']}, seed {how['seed']}",
        identifier=str(uuid.uuid4()),
        session_start_time=started,
    )
    file.add_unit_column("unit_name", "name of the unit in its Boltzmann machine")
    file.add_unit_column("chain", "number of the independent copy of the network")
    end = recorded_ms(result) * 1e-3
    for chain, name, times in trains(result):
        file.add_unit(spike_times=times * 1e-3, obs_intervals=[[0.0, end]], unit_name=name, chain=chain)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as store, pynwb.NWBHDF5IO(file=store, mode="w") as out:
        out.write(file)
    with writing(Path(path), force=force) as partial:
        partial.write_bytes(buffer.getbuffer())
