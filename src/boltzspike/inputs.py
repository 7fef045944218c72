"""What a network may have beyond constant, private, Poisson input, on the time grid: courses, a pool, drawn times.

``Initial``: where a run starts. ``Courses``: inputs that change in time. ``Pool``: background sources that units
share, drawn or replayed.
``RefractoryLaw``: refractory periods that are drawn. All arrays are read-only and in fixed units (ms, mV, uS, nA).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from boltzspike.errors import require
from boltzspike.model.background import ReplayedBackground
from boltzspike.model.description import Array, frozen_matrix, is_sparse
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import Neuron
from boltzspike.model.schedule import Piecewise
from boltzspike.units import hz, per_ms

FREE = -1
MAX_CHANGING_EVENTS = 500.0
"""Events a step of a source whose rate changes: its counts are drawn by summing the Poisson law from 0."""
NORMAL_REACH = 6.0
"""Standard deviations within which a normal refractory period is drawn."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Initial:
    """Where a run starts. Shapes: (units,) for all chains alike, or (chains, units).

    A last spike has the effect that it would have had in a run: its unit is refractory for the rest of its period
    (the mean one, where periods are drawn), its trace is in the synaptic variables of its targets, and what is
    still under way arrives. Spikes before that one are taken to be long ago.
    """

    v: Array | None = None
    """Membrane potentials, mV; None: v_reset."""
    last_spike: Array | None = None
    """Step of each unit's last spike, -1 or less (-1: z has just become 1); None: no unit has spiked."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Courses:
    """Inputs that change in time. Shapes: m segments, w waves, n units, s private sources.

    In step i, of segment ``segment(i)``, the current ``current[segment] + swing(i) @ current_wave`` is added to
    the bias current, likewise to the rates, and ``clamp[segment]`` holds.
    """

    dt: float
    starts: Array
    """Shape (m,), int64: the first step of each segment, rising from 0."""
    current: Array
    """Shape (m, n), nA; an offset of v_rest is the current g_l times it."""
    clamp: Array
    """Shape (m, n), int8, as ``Program.clamp``."""
    rates: Array
    """Shape (m, n, s), 1/ms; (0, n, s) where no rate changes."""
    frequency: Array
    """Shape (w,), cycles per ms."""
    phase: Array
    """Shape (w,), radian."""
    current_wave: Array
    """Shape (w, n), nA: amplitude."""
    rates_wave: Array
    """Shape (w, n, s), 1/ms: amplitude; (0, n, s) where no rate changes."""

    @property
    def change_rates(self) -> bool:
        """Whether a background rate changes."""
        return len(self.rates) > 0

    def segment(self, step: int) -> int:
        """Return the segment of a step."""
        return int(np.searchsorted(self.starts, step, side="right")) - 1

    def swing(self, step: int) -> Array:
        """Return the sine of each wave in the middle of a step, shape (w,)."""
        return np.sin(2 * np.pi * self.frequency * ((step + 0.5) * self.dt) + self.phase)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pool:
    """Background sources from which several units draw, m in all; the first are drawn, the others replayed."""

    rates: Array
    """Shape (m,), 1/ms; of a replayed source its mean."""
    weights: Any
    """Shape (n, m), uS or nA, dense or CSR; the sign says which synapse."""
    length: Array
    """Shape (m,), int64: steps after which a replay starts again; 0 for a drawn source."""
    shift: Array
    """Shape (m,), int64: steps by which each chain is ahead of the one before."""
    events: Array
    """Shape (events,), int64, sorted: ``source * stride + step`` of each replayed event."""
    stride: int

    @property
    def drawn(self) -> int:
        """How many sources are drawn."""
        return int(np.count_nonzero(self.length == 0))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RefractoryLaw:
    """Law of the refractory periods.

    A random word w gives unit k ``shortest[k]`` steps and one more for each of its thresholds,
    ``thresholds[first[k]:first[k + 1]]``, that does not exceed w.
    """

    shortest: Array
    """Shape (n,), int64, steps."""
    thresholds: Array
    """uint64."""
    first: Array
    """Shape (n + 1,), int64."""

    def periods(self, words: Array, units: Array) -> Array:
        """Return the refractory period in steps of each unit for its random word; arrays broadcast."""
        words, units = np.broadcast_arrays(words, units)
        steps = self.shortest[units]
        for unit in np.unique(units):
            table = self.thresholds[self.first[unit] : self.first[unit + 1]]
            steps[units == unit] += np.searchsorted(table, words[units == unit], side="right")
        return steps


def compile_courses(
    network: SpikingNetwork, dt: float, clamp: Array, rates: Array, grid: Callable[[float, str], int]
) -> Courses | None:
    """Compile the schedule of a network; ``grid`` turns a time into steps or raises. None: nothing changes."""
    if not network.schedule:
        return None
    n, sources = rates.shape
    pieces = [course for course in network.schedule if isinstance(course, Piecewise)]
    waves = [course for course in network.schedule if not isinstance(course, Piecewise)]
    steps = [
        np.array([grid(time, "Piecewise.times") if time else 0 for time in course.times]) for course in pieces
    ]
    starts = np.unique(np.concatenate([np.zeros(1, dtype=np.int64), *steps]))
    change_rates = any(course.quantity == "rate" for course in network.schedule)
    current, held = np.zeros((len(starts), n)), np.tile(clamp, (len(starts), 1))
    added = np.zeros((len(starts) if change_rates else 0, n, sources))
    current_wave = np.zeros((len(waves), n))
    rates_wave = np.zeros((len(waves) if change_rates else 0, n, sources))

    for course, own in zip(pieces, steps):
        units = network.units_of(course)
        which = np.searchsorted(own, starts, side="right") - 1
        begun = np.flatnonzero(which >= 0)
        values = (
            course.values if course.values.ndim == 2 else np.repeat(course.values[:, None], len(units), axis=1)
        )
        values = values[which[begun]]
        if course.quantity == "clamp":
            held[np.ix_(begun, units)] = values
        elif course.quantity == "rate":
            driven = _driven(network, course, units, sources)
            added[np.ix_(begun, units)] += per_ms(values)[..., None] * driven
        else:
            current[np.ix_(begun, units)] += values * _per_value(network, course, units)
    for k, course in enumerate(waves):
        units = network.units_of(course)
        amplitude = np.broadcast_to(course.amplitude, units.shape)
        if course.quantity == "rate":
            rates_wave[k, units] = per_ms(amplitude)[:, None] * _driven(network, course, units, sources)
        else:
            current_wave[k, units] = amplitude * _per_value(network, course, units)

    if change_rates:
        swing = np.abs(rates_wave).sum(axis=0)
        lowest, highest = (rates + added - swing).min(initial=0.0), (rates + added + swing).max(initial=0.0) * dt
        allowed = "such that no rate ever falls below 0 Hz"
        require(lowest >= -1e-12, "SpikingNetwork.schedule (rate)", allowed, f"{hz(float(lowest)):g} Hz")
        allowed = f"such that no source has more than {MAX_CHANGING_EVENTS:g} events a step"
        require(highest <= MAX_CHANGING_EVENTS, "SpikingNetwork.schedule (rate)", allowed, f"{highest:g}")
    return Courses(
        dt=dt,
        starts=frozen(starts),
        current=frozen(current),
        clamp=frozen(held),
        rates=frozen(added),
        frequency=frozen([per_ms(course.frequency) for course in waves]),
        phase=frozen([course.phase for course in waves]),
        current_wave=frozen(current_wave),
        rates_wave=frozen(rates_wave),
    )


def _per_value(network: SpikingNetwork, course: Any, units: Array) -> Array:
    """Return the bias current of one unit of the quantity."""
    if course.quantity == "i_offset":
        return np.ones(len(units))
    return np.array([network.neurons[k].g_l for k in units])


def _driven(network: SpikingNetwork, course: Any, units: Array, sources: int) -> Array:
    """Return which sources a rate course drives, shape (units, sources), 0 or 1."""
    driven = np.zeros((len(units), sources))
    for row, unit in enumerate(units):
        has = len(network.backgrounds[unit].rates)
        for source in range(has) if course.sources is None else course.sources:
            where = f"{type(course).__name__}.sources"
            require(0 <= source < has, where, f"a source of unit {unit}, in 0 .. {has - 1}", source)
            driven[row, source] = 1
    return driven


def compile_pool(network: SpikingNetwork, grid: Callable[[float, str], int], dt: float) -> Pool | None:
    """Compile the shared background; None: there is none."""
    drawn = [pool for pool in network.shared if not isinstance(pool, ReplayedBackground)]
    replayed = [pool for pool in network.shared if isinstance(pool, ReplayedBackground)]
    if not network.shared:
        return None
    rates = [per_ms(pool.rates) for pool in drawn]
    length, shift = ([np.zeros(len(pool.rates), dtype=np.int64) for pool in drawn] for _ in range(2))
    count = sum(map(len, rates))
    longest = [grid(pool.duration, "ReplayedBackground.duration") for pool in replayed]
    stride = max(longest, default=1)
    keys = [np.zeros(0, dtype=np.int64)]
    for pool, steps in zip(replayed, longest):
        sources = pool.weights.shape[1]
        ahead = grid(pool.chain_shift, "ReplayedBackground.chain_shift") if pool.chain_shift else 0
        rates.append(np.bincount(pool.sources, minlength=sources) / pool.duration)
        length.append(np.full(sources, steps))
        shift.append(np.full(sources, ahead))
        # a time that is a multiple of dt but for rounding belongs to the step that begins there
        step = np.minimum(np.floor(pool.times / dt + 1e-6).astype(np.int64), steps - 1)
        keys.append((count + pool.sources) * stride + step)
        count += sources
    weights = [pool.weights for pool in (*drawn, *replayed)]
    if any(map(is_sparse, weights)):
        from scipy.sparse import hstack

        together: Any = hstack(weights, format="csr")
    else:
        together = np.hstack(weights)
    return Pool(
        rates=frozen(np.concatenate(rates)),
        weights=frozen_matrix(together, "SpikingNetwork.shared.weights"),
        length=frozen(np.concatenate(length)),
        shift=frozen(np.concatenate(shift)),
        events=frozen(np.sort(np.concatenate(keys))),
        stride=stride,
    )


def refractory_law(neurons: tuple[Neuron, ...], steps: Array, dt: float) -> RefractoryLaw | None:
    """Return the law of the refractory periods, None where none is drawn; ``steps`` are their means."""
    if all(neuron.refractory is None for neuron in neurons):
        return None
    shortest, tables = [], []
    for neuron, mean in zip(neurons, steps.tolist()):
        law = neuron.refractory
        if law is None:
            shortest.append(mean)
            tables.append(np.zeros(0))
            continue
        sd = law.sd / dt
        reach = np.sqrt(3) * sd if law.law == "uniform" else NORMAL_REACH * sd
        low = max(1, round(mean - reach))
        # symmetric about the mean, so clipping and rounding keep it
        ends = np.arange(low, 2 * mean - low) + 0.5 - mean
        below = ndtr(ends / sd) if law.law == "normal" else np.clip(ends / (2 * reach) + 0.5, 0, 1)
        shortest.append(low)
        tables.append(np.round(below * 2.0**32))
    return RefractoryLaw(
        shortest=frozen(np.array(shortest, dtype=np.int64)),
        thresholds=frozen(np.concatenate(tables).astype(np.uint64)),
        first=frozen(np.cumsum([0, *map(len, tables)])),
    )


def frozen(values: Any) -> Array:
    """Return a read-only copy."""
    array = np.array(values)
    array.setflags(write=False)
    return array
