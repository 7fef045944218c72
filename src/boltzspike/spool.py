"""A run's rasters on disk while it goes on, so that its memory does not grow with its duration.

What is kept of each part is written by ordinary calls, which a full disk makes fail as an exception, to files
without a name: they are gone when nobody uses them any more, also after ``kill -9``. The run is then arrays that
are mapped from these files: what is read of them is in memory as long as there is room.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from boltzspike.errors import ValidationError
from boltzspike.samples import Joining, Record, Samples, Spikes

Array = np.ndarray
_PER_SPIKE = ("chain", "unit", "step", "drawn")


class Spool(Joining):
    """Consecutive parts of one run, kept in a folder; ``joined`` may be asked for in between."""

    def __init__(self, folder: Path, record: Record, steps: int) -> None:
        """Take what is recorded, and the most steps that may come."""
        super().__init__()
        self._folder, self._steps = folder, steps
        energy = None if record.energy is None else record.energy.every
        self._every = {"bits": record.states_every, "energies": energy, "voltages": 1}
        self._rows: dict[str, _Rows] = {}
        self._columns: dict[str, _Column] = {}
        self._bounds: list[Array] = []
        """Where the spikes of each chain begin in each part, and where those of the last end, (chains + 1,)."""

    def add(self, part: Samples, *, apart: bool = False) -> None:
        """Take the next part."""
        super().add(part, apart=apart)
        bits = None if part.packed is None else part.packed.bits
        for name, rows in (("bits", bits), ("energies", part.energies), ("voltages", part.voltages)):
            if rows is not None:
                self._append_rows(name, rows)
        if part.spikes is not None:
            self._append_spikes(part.spikes)
        del self.parts[1:-1]
        if len(self.parts) > 1:
            self.parts[1] = Samples(start=part.start, stop=part.stop, dt=part.dt)

    def _append_rows(self, name: str, rows: Array) -> None:
        if name not in self._rows:
            every, start = self._every[name], self.parts[0].start
            assert every is not None
            self._rows[name] = _Rows(self._folder, rows, (start + self._steps) // every - start // every)
        self._rows[name].append(rows)

    def _append_spikes(self, spikes: Spikes) -> None:
        before = self._columns["chain"].length if self._columns else 0
        for name in _PER_SPIKE:
            values = getattr(spikes, name)
            if values is not None:
                self._columns.setdefault(name, _Column(self._folder, values.dtype)).append(values)
        self._bounds.append(before + np.searchsorted(spikes.chain, np.arange(spikes.n_chains + 1)))

    def joined(self) -> Samples:
        """Return the run so far."""
        first, last = self.parts[0], self.parts[-1]
        rows = {name: found.array() for name, found in self._rows.items()}
        return Samples(
            start=first.start,
            stop=last.stop,
            dt=first.dt,
            packed=None if first.packed is None else dataclasses.replace(first.packed, bits=rows["bits"]),
            voltages=rows.get("voltages"),
            energies=rows.get("energies"),
            spikes=None if first.spikes is None else self._spikes(first.spikes, last.stop),
            gathered=self.gathered,
        )

    def _spikes(self, first: Spikes, stop: int) -> Spikes:
        """Return all spikes in the order of chains: in each part they are, and the parts follow each other."""
        ordered: dict[str, Any] = {}
        for name, column in self._columns.items():
            values, by_chain = column.array(), _Column(self._folder, column.dtype)
            for chain in range(first.n_chains):
                for bounds in self._bounds:
                    by_chain.append(values[bounds[chain] : bounds[chain + 1]])
            ordered[name] = by_chain.array()
        return dataclasses.replace(first, stop=stop, **ordered)


class _File:
    """A file without a name, in a folder, that grows by what is appended."""

    def __init__(self, folder: Path, dtype: np.dtype) -> None:
        self._folder, self.dtype = folder, dtype
        with self._failing(), tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)

    def _write(self, values: Array, place: int) -> None:
        """Write values at that place, in bytes."""
        left = np.ascontiguousarray(values, dtype=self.dtype).tobytes()
        with self._failing():
            while left:
                done = os.pwrite(self._descriptor, left, place)
                left, place = left[done:], place + done

    def _mapped(self, shape: tuple[int, ...]) -> Array:
        """Return what was written, of that shape, read from the file where it is used."""
        if 0 in shape:
            return np.empty(shape, dtype=self.dtype)
        length = self.dtype.itemsize * math.prod(shape)
        return np.frombuffer(mmap.mmap(self._descriptor, length, access=mmap.ACCESS_READ), self.dtype).reshape(
            shape
        )

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = f"{self._folder}: what is recorded can't be kept here during the run"
            raise ValidationError(f"{where}: {error.strerror or error}") from None


class _Rows(_File):
    """An array (chains, length, ...) that grows along its second axis."""

    def __init__(self, folder: Path, like: Array, length: int) -> None:
        super().__init__(folder, like.dtype)
        self._shape, self._length = (len(like), length, *like.shape[2:]), 0
        with self._failing():
            # the file is mapped as a whole; what is not yet written takes no room
            os.ftruncate(self._descriptor, self.dtype.itemsize * math.prod(self._shape))

    def append(self, rows: Array) -> None:
        _, length, *inner = self._shape
        a_row = self.dtype.itemsize * math.prod(inner)
        for chain, values in enumerate(rows):
            self._write(values, (chain * length + self._length) * a_row)
        self._length += rows.shape[1]

    def array(self) -> Array:
        return self._mapped(self._shape)[:, : self._length]


class _Column(_File):
    """An array (length,) that grows."""

    length = 0

    def append(self, values: Array) -> None:
        self._write(values, self.length * self.dtype.itemsize)
        self.length += len(values)

    def array(self) -> Array:
        return self._mapped((self.length,))
