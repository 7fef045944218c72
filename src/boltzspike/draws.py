"""The states of all units at all draws, without ever being there all at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray


class Draws:
    """States 0 and 1, (chains, draws, units), kept a bit each and unpacked as far as they are selected.

    To the functions of ``diagnostics`` it is an array; they select a block, or a unit, at a time.
    """

    ndim = 3
    dtype = np.dtype(np.int8)

    def __init__(self, bits: Array, column: Array, held: Array) -> None:
        """Take the bits, and for each unit its number in them.

        Parameters
        ----------
        bits
            uint8 (chains, draws, bytes), as ``samples.PackedStates`` has them.
        column
            Number of each unit among those in ``bits``; -1 for one that was held, shape (units,).
        held
            Values of the units that were, shape (units,).
        """
        self._bits, self._column, self._held = bits, column, held

    @staticmethod
    def of(bits: Array, simulated: Array, n_units: int, clamp: Mapping[int, int]) -> Draws:
        """Return the states of ``n_units``, of which some are in ``bits`` and the others clamped."""
        column, held = np.full(n_units, -1), np.zeros(n_units, dtype=np.int8)
        held[list(clamp)] = list(clamp.values())
        column[simulated] = np.arange(len(simulated))
        return Draws(bits, column, held)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Chains, draws, units."""
        return (*self._bits.shape[:2], len(self._column))

    def __len__(self) -> int:
        """Return the number of chains."""
        return len(self._bits)

    def only(self, units: Array) -> Draws:
        """Return the states of some of the units."""
        return Draws(self._bits, self._column[units], self._held[units])

    def __getitem__(self, key: Any) -> Array:
        """Return the selected states as an array; numbers and slices select."""
        key = key if isinstance(key, tuple) else (key,)
        if key[0] is Ellipsis:
            key = (slice(None),) * (4 - len(key)) + key[1:]
        chains, draws, units = key + (slice(None),) * (3 - len(key))
        packed = self._bits[chains, draws]
        if isinstance(units, int | np.integer):
            column = int(self._column[units])
            if column < 0:
                return np.full(packed.shape[:-1], self._held[units])
            return np.asarray((packed[..., column // 8] >> (7 - column % 8)) & 1, dtype=np.int8)
        column, held = self._column[units], self._held[units]
        recorded = int(column.max(initial=-1)) + 1
        states = np.unpackbits(packed, axis=-1, count=recorded).view(np.int8)
        if np.array_equal(column, np.arange(recorded)):
            return states
        if (column >= 0).all():
            return states[..., column]
        whole = np.empty((*states.shape[:-1], len(column)), dtype=np.int8)
        whole[:] = held
        whole[..., column >= 0] = states[..., column[column >= 0]]
        return whole
