"""What of a result grows with its duration, a piece at a time: no more of it need be in memory to be written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from boltzspike.draws import Draws
from boltzspike.recorded import variables_of

Array = np.ndarray
CHUNK = 2**20
"""Bytes of a variable that are compressed, and read, together."""
_GROWING = ("draw", "energy_draw", "step", "spike")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Large:
    """A variable of the file."""

    group: str
    name: str
    dimensions: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    part: Callable[[tuple[slice, ...]], Array]
    """Returns what is selected; slices have numbers as ends."""
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of what is compressed together: of one chain, all units, some draws."""
        *before, growing = [k for k, name in enumerate(self.dimensions) if name in _GROWING]
        assert not before
        inner = self.shape[growing + 1 :]
        at_once = max(CHUNK // (self.dtype.itemsize * int(np.prod(inner))), 1)
        return (*(1 for _ in self.shape[:growing]), min(self.shape[growing], at_once), *inner)

    def pieces(self) -> Iterator[tuple[tuple[slice, ...], Array]]:
        """Go through the chunks: where each belongs, and what is in it."""
        counts = [-(-size // chunk) for size, chunk in zip(self.shape, self.chunks)]
        for place in np.ndindex(*counts):
            where = tuple(
                slice(k * chunk, min((k + 1) * chunk, size))
                for k, chunk, size in zip(place, self.chunks, self.shape)
            )
            yield where, self.part(where)

    def whole(self) -> Array:
        """Return all of it."""
        found = np.empty(self.shape, dtype=self.dtype)
        for where, piece in self.pieces():
            found[where] = piece
        return found


def large_of(result: Any) -> list[Large]:
    """Return what of a ``Result`` grows with its duration."""
    found: list[Large] = []
    if result.samples.packed is not None:
        draws = result.draws
        chains, number, _ = draws.shape
        number_of = lambda where: np.arange(where[0].start, where[0].stop)
        machine = result.machine
        energy = lambda where: energies(machine, draws, *where)
        about = {"long_name": "z(t): 1 while the neuron is refractory"}, {"long_name": "-(z W z / 2 + b z)"}
        variables: list[tuple[Any, ...]] = [
            ("posterior", "draw", ("draw",), (number,), np.int64, number_of, {}),
            ("posterior", "states", ("chain", "draw", "unit"), draws.shape, np.int8, draws.__getitem__, about[0]),
            ("sample_stats", "draw", ("draw",), (number,), np.int64, number_of, {}),
        ]
        if machine is not None:
            variables.append(
                ("sample_stats", "energy", ("chain", "draw"), (chains, number), np.float64, energy, about[1])
            )
        for group, name, dimensions, shape, dtype, part, attributes in variables:
            found.append(
                Large(
                    group=group, name=name, dimensions=dimensions, shape=shape, dtype=np.dtype(dtype), part=part,
                    attributes=attributes,
                )
            )  # fmt: skip
    for name, (dimensions, array) in variables_of(result.samples).items():
        if is_large(dimensions, array):
            found.append(
                Large(
                    group=group_of(name), name=name, dimensions=dimensions, shape=array.shape, dtype=array.dtype,
                    part=array.__getitem__,
                )
            )  # fmt: skip
    return [large for large in found if 0 not in large.shape]


def energies(machine: Any, draws: Draws, chains: slice, some: slice) -> Array:
    """Return the energies of some draws, (chains, draws), few at a time: states as float64 are large."""
    plain = machine.to_boltzmann()
    found = np.empty((chains.stop - chains.start, some.stop - some.start))
    at_once = max(_ENTRIES // (len(found) * draws.shape[2]), 1)
    for first in range(some.start, some.stop, at_once):
        last = min(first + at_once, some.stop)
        found[:, first - some.start : last - some.start] = plain.energy(draws[chains, first:last])
    return found


_ENTRIES = 2**20


def is_large(dimensions: tuple[str, ...], array: Array) -> bool:
    """Tell whether a variable of ``recorded.variables_of`` grows with the duration."""
    return array.size > 0 and any(name in _GROWING for name in dimensions)


def group_of(name: str) -> str:
    """Return the group of such a variable."""
    return "spikes" if name.startswith("spike_") else "recorded"
