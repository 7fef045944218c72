"""Spikes in the SONATA format: HDF5 that BMTK, PyNN, NEST and libsonata read.

K. Dai et al., PLoS Comput. Biol. 16 (2020) e1007696; github.com/AllenInstitute/sonata.
"""

from __future__ import annotations

import io
from os import PathLike
from pathlib import Path

import numpy as np

from boltzspike.export.trains import trains
from boltzspike.files import writing
from boltzspike.result import Result

_MAGIC, _VERSION = 0x0A7A, (0, 1)
_BY_TIME = 2
"""Of the enumeration none, by_id, by_time."""


def save(result: Result, path: str | PathLike[str], *, force: bool = False) -> None:
    """Write the spikes: a population for each chain, ``chain0`` and so on; nodes are units by number.

    ``node_names`` beside the spikes has the names of the units, which SONATA leaves to the circuit's files.

    Raises
    ------
    ValidationError
        Where spikes were not recorded, or the file can't be written.
    """
    import h5py

    by_chain: dict[int, list[np.ndarray]] = {}
    for chain, name, times in trains(result):
        by_chain.setdefault(chain, []).append(np.stack([times, np.full(len(times), result.names.index(name))]))
    buffer = io.BytesIO()
    sorting = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": _BY_TIME}, basetype=np.uint8)
    with h5py.File(buffer, "w") as file:
        file.attrs["magic"] = np.uint32(_MAGIC)
        file.attrs["version"] = np.array(_VERSION, dtype=np.uint32)
        for chain, parts in by_chain.items():
            times, nodes = np.concatenate(parts, axis=1)
            order = np.lexsort((nodes, times))
            group = file.create_group(f"spikes/chain{chain}")
            group.attrs.create("sorting", _BY_TIME, dtype=sorting)
            group.create_dataset("timestamps", data=times[order]).attrs["units"] = "milliseconds"
            group.create_dataset("node_ids", data=nodes[order].astype(np.uint64))
            group.create_dataset("node_names", data=list(result.names), dtype=h5py.string_dtype())
    with writing(Path(path), force=force) as partial:
        partial.write_bytes(buffer.getbuffer())
