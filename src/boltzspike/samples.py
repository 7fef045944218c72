"""What a run leaves: spikes and states on the time grid, and z(t) from spikes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from boltzspike.errors import require

Array = np.ndarray
MAX_JOINT_UNITS = 24


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Spikes:
    """Spikes of ``chains`` runs over the steps ``start <= step < stop``, ordered by (chain, step, unit).

    A spike of step s is stamped (s + 1) dt. ``before`` holds the step of each unit's last spike before
    ``start`` (chains, units), so that z is known from the first step on.
    """

    chain: Array
    unit: Array
    step: Array
    before: Array
    refractory_steps: Array
    start: int
    stop: int
    drawn: Array | None = None
    """Steps of the refractory period after each spike, where they are drawn; None: ``refractory_steps``."""
    drawn_before: Array | None = None
    """The same after the spikes of ``before``."""

    @property
    def lasting(self) -> Array:
        """For how many steps each spike keeps z = 1, shape (spikes,)."""
        return self.refractory_steps[self.unit] if self.drawn is None else self.drawn

    @property
    def lasting_before(self) -> Array:
        """For how many steps the spikes of ``before`` do, shape (chains, units)."""
        if self.drawn_before is None:
            return np.broadcast_to(self.refractory_steps, self.before.shape)
        return self.drawn_before

    @property
    def n_chains(self) -> int:
        """Number of chains."""
        return self.before.shape[0]

    @property
    def n_units(self) -> int:
        """Number of units."""
        return self.before.shape[1]

    def states(self, every: int = 1) -> Array:
        """Return z after each step i with (i + 1) a multiple of ``every``: int8 (chains, draws, units)."""
        ends = np.arange(self.start, self.stop)
        ends = ends[(ends + 1) % every == 0]
        z = np.zeros((self.n_chains, len(ends), self.n_units), dtype=np.int8)
        lasting, lasting_before = self.lasting, self.lasting_before
        for c in range(self.n_chains):
            of_chain = self.chain == c
            unit, step, held = self.unit[of_chain], self.step[of_chain], lasting[of_chain]
            for k in range(self.n_units):
                spikes = np.concatenate([[self.before[c, k]], step[unit == k]])
                off = spikes + np.concatenate([[lasting_before[c, k]], held[unit == k]])
                z[c, :, k] = ends < off[np.searchsorted(spikes, ends, side="right") - 1]
        return z

    def marginals(self) -> Array:
        """Return the share of time that each unit of each chain spent with z = 1, shape (chains, units)."""
        before = np.minimum(self.before + self.lasting_before, self.stop)
        on = np.maximum(before - self.start, 0).astype(np.float64)
        lasting = np.minimum(self.lasting, self.stop - self.step)
        on += np.bincount(self.chain * self.n_units + self.unit, lasting, self.before.size).reshape(on.shape)
        return on / (self.stop - self.start)

    def joint(self) -> Array:
        """Return the share of time that each chain spent in each joint state, shape (chains, 2^n).

        Unit 0 is the most significant bit. Every step counts; nothing is thinned.
        """
        n = self.n_units
        require(n <= MAX_JOINT_UNITS, "Spikes.joint", f"of at most {MAX_JOINT_UNITS} units", n)
        bit = 1 << np.arange(n - 1, -1, -1, dtype=np.int64)
        occupancy = np.zeros((self.n_chains, 2**n))
        for c in range(self.n_chains):
            of_chain = self.chain == c
            unit = np.concatenate([np.arange(n), self.unit[of_chain]])
            step = np.concatenate([self.before[c], self.step[of_chain]])
            held = np.concatenate([self.lasting_before[c], self.lasting[of_chain]])
            order = np.lexsort((step, unit))
            unit, step, held = unit[order], step[order], held[order]
            following = np.append(step[1:], self.stop)
            following[np.append(unit[1:] != unit[:-1], True)] = self.stop
            on = np.maximum(step, self.start)
            off = np.clip(np.minimum(step + held, following), self.start, self.stop)
            alive = off > on
            # a unit that fires again as it leaves the refractory state goes off before it goes on
            when = np.concatenate([off[alive], on[alive], [self.start, self.stop]])
            change = np.concatenate([-bit[unit[alive]], bit[unit[alive]], [0, 0]])
            by_time = np.argsort(when, kind="stable")
            when, code = when[by_time], np.cumsum(change[by_time])
            occupancy[c] = np.bincount(code[:-1], weights=np.diff(when), minlength=2**n)
        return occupancy / (self.stop - self.start)

    def rates(self, dt: float) -> Array:
        """Return the rate of each unit of each chain in Hz, shape (chains, units)."""
        flat = np.bincount(self.chain * self.n_units + self.unit, minlength=self.n_chains * self.n_units)
        return flat.reshape(self.n_chains, self.n_units) / ((self.stop - self.start) * dt) * 1e3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Record:
    """What a run is to keep."""

    states_every: int | None = None
    """Keep the states after every so many steps (grid points that are multiples of it)."""
    spikes: bool = False
    """Keep the spikes."""
    voltages: bool = False
    """Keep the membrane potentials after every step (small runs)."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Samples:
    """What was kept of the steps ``start <= step < stop``."""

    start: int
    stop: int
    dt: float
    states: Array | None = None
    """int8 (chains, draws, units)."""
    spikes: Spikes | None = None
    voltages: Array | None = None
    """mV, (chains, steps, units)."""

    @staticmethod
    def join(parts: list[Samples]) -> Samples:
        """Return consecutive parts of one run as one."""
        first, last = parts[0], parts[-1]
        for before, after in itertools.pairwise(parts):
            assert before.stop == after.start, "parts of a run must follow each other"

        def together(field: str) -> Array | None:
            kept = [getattr(part, field) for part in parts]
            return None if kept[0] is None else np.concatenate(kept, axis=1)

        spikes = None
        if first.spikes is not None:
            pieces = [part.spikes for part in parts if part.spikes is not None]
            chain, unit, step = (
                np.concatenate([getattr(p, f) for p in pieces]) for f in ("chain", "unit", "step")
            )
            # each part is ordered by chain, step and unit, and the parts follow each other: chains alone are mixed
            order = np.argsort(chain, kind="stable")
            spikes = Spikes(
                chain=chain[order],
                unit=unit[order],
                step=step[order],
                before=first.spikes.before,
                refractory_steps=first.spikes.refractory_steps,
                start=first.start,
                stop=last.stop,
                drawn=_joined([p.drawn for p in pieces], order),
                drawn_before=first.spikes.drawn_before,
            )
        return Samples(
            start=first.start,
            stop=last.stop,
            dt=first.dt,
            states=together("states"),
            voltages=together("voltages"),
            spikes=spikes,
        )


def _joined(parts: list[Array | None], order: Array) -> Array | None:
    given = [part for part in parts if part is not None]
    return np.concatenate(given)[order] if given else None


State = TypeVar("State")


def in_passes(
    run_pass: Callable[[State, int, Record], tuple[Samples, State]],
    state: State,
    steps: int,
    record: Record,
    per_pass: int,
) -> tuple[Samples, State]:
    """Run ``steps`` in passes of at most ``per_pass`` (at least one, which may be of no steps), and join them."""
    parts: list[Samples] = []
    left = steps
    while left > 0 or not parts:
        part, state = run_pass(state, min(max(per_pass, 1), left), record)
        parts.append(part)
        left -= max(per_pass, 1)
    return Samples.join(parts), state


def joint_counts(states: Array) -> Array:
    """Return how often each joint state occurs in states (chains, draws, n), shape (chains, 2^n), unit 0 first."""
    n = states.shape[-1]
    require(n <= MAX_JOINT_UNITS, "joint", f"of at most {MAX_JOINT_UNITS} units", n)
    codes = states @ (1 << np.arange(n - 1, -1, -1, dtype=np.int64))
    return np.stack([np.bincount(chain, minlength=2**n) for chain in codes])
