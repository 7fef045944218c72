"""What a run leaves: spikes and states on the time grid, z(t) from spikes, and what is gathered from both."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from boltzspike.errors import require
from boltzspike.gathered import (
    MAX_JOINT_UNITS,
    Bins,
    Gathered,
    Intervals,
    JointOccupancy,
    Occupancy,
    PairCounts,
)

Array = np.ndarray
NEVER = -(2**39)
"""A last spike of this step or an earlier one stands for none."""
MOST_STEPS_A_PASS = 2**30
"""Steps within a pass are counted in 32 bits."""
PASS_BYTES = 2**25
"""What a pass may leave to be gathered, or to be put into its final form."""


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

    def of_units(self, units: tuple[int, ...]) -> Spikes:
        """Return the spikes of some of the units, numbered anew."""
        place = np.full(self.n_units, -1)
        place[list(units)] = np.arange(len(units))
        kept = place[self.unit] >= 0
        return dataclasses.replace(
            self,
            chain=self.chain[kept],
            unit=place[self.unit[kept]],
            step=self.step[kept],
            before=self.before[:, list(units)],
            refractory_steps=self.refractory_steps[list(units)],
            drawn=None if self.drawn is None else self.drawn[kept],
            drawn_before=None if self.drawn_before is None else self.drawn_before[:, list(units)],
        )

    def rates(self, dt: float) -> Array:
        """Return the rate of each unit of each chain in Hz, shape (chains, units)."""
        flat = np.bincount(self.chain * self.n_units + self.unit, minlength=self.n_chains * self.n_units)
        return flat.reshape(self.n_chains, self.n_units) / ((self.stop - self.start) * dt) * 1e3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PackedStates:
    """States of draws, a bit each."""

    bits: Array
    """uint8 (chains, draws, ceil(units / 8)), as ``np.packbits`` leaves them."""
    n_units: int

    @staticmethod
    def of(states: Array) -> PackedStates:
        """Pack int8 (chains, draws, units)."""
        return PackedStates(bits=np.packbits(states.view(np.uint8), axis=-1), n_units=states.shape[-1])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Chains, draws, units."""
        return (*self.bits.shape[:2], self.n_units)

    def at(self, draws: Array) -> PackedStates:
        """Return some draws, those of a mask."""
        return self if draws.all() else PackedStates(bits=self.bits[:, draws], n_units=self.n_units)

    def unpacked(self, chains: slice = slice(None), draws: slice = slice(None)) -> Array:
        """Return the states, or some of them, int8 (chains, draws, units)."""
        return np.unpackbits(self.bits[chains, draws], axis=-1, count=self.n_units).view(np.int8)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Energy:
    """The energy -(z W z / 2 + b z) of the recorded units, to be kept at draws."""

    every: int
    """Steps between draws."""
    weights: Array
    """Shape (units, units), symmetric, zero diagonal."""
    biases: Array

    def of(self, states: Array) -> Array:
        """Return the energies of states (chains, draws, units), shape (chains, draws)."""
        # state by state: a product over all would depend on how many there are
        energies = [
            -(self.weights[np.ix_(on, on)].sum() / 2 + self.biases[on].sum())
            for on in map(np.flatnonzero, states.reshape(-1, states.shape[-1]))
        ]
        return np.array(energies, dtype=np.float64).reshape(states.shape[:2])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Record:
    """What a run is to keep, and what it is to gather without keeping a raster.

    *Draws* are the states after the steps i with (i + 1) a multiple of ``..._every``.
    """

    states_every: int | None = None
    """Keep the states of draws so many steps apart, a bit each."""
    spikes: bool = False
    """Keep the spikes."""
    voltages: bool | tuple[int, ...] = False
    """Keep the membrane potentials after every step: of all units, or of these."""
    occupancy: bool = False
    """Count the steps with z = 1 for each chain and unit; every step counts."""
    pairs_every: int | None = None
    """Count the draws with z_k = z_j = 1, over all chains; only draws so many steps apart count."""
    joint: tuple[int, ...] = ()
    """Count the steps of each chain in each joint state of these units (at most 24); every step counts."""
    intervals: Bins | None = None
    """Count inter-spike intervals and burst lengths, over all chains; every spike counts."""
    energy: Energy | None = None
    """Keep the energy of draws."""

    @property
    def draws_every(self) -> int:
        """Steps between draws of which all that are asked for are some; 0: none are."""
        return math.gcd(
            self.states_every or 0, self.pairs_every or 0, self.energy.every if self.energy is not None else 0
        )

    @property
    def uses_spikes(self) -> bool:
        """Whether spikes are kept or gathered."""
        return self.spikes or self.occupancy or bool(self.joint) or self.intervals is not None

    @property
    def gathers(self) -> bool:
        """Whether anything is counted."""
        return self.occupancy or bool(self.joint) or self.intervals is not None or bool(self.pairs_every)

    def raw(self) -> Record:
        """Return what a pass must leave for ``gather`` to do the rest."""
        every = self.draws_every or None
        return Record(states_every=every, spikes=self.uses_spikes, voltages=bool(self.voltages))

    def check(self, n_units: int) -> None:
        """Raise if it can't be recorded of so many units."""
        for name in ("states_every", "pairs_every"):
            value = getattr(self, name)
            ok = value is None or (isinstance(value, int | np.integer) and value >= 1)
            require(bool(ok), f"Record.{name}", "None or a number of steps, at least 1", value)
        for name, units in (("joint", self.joint), ("voltages", self.voltages)):
            if not isinstance(units, bool):
                known = len(set(units)) == len(units) and all(0 <= k < n_units for k in units)
                require(known, f"Record.{name}", f"different units in 0 .. {n_units - 1}", units)
        require(len(self.joint) <= MAX_JOINT_UNITS, "Record.joint", f"at most {MAX_JOINT_UNITS} units", self.joint)
        if self.energy is not None:
            require(self.energy.every >= 1, "Energy.every", "a number of steps, at least 1", self.energy.every)
            shapes = self.energy.weights.shape, self.energy.biases.shape
            allowed = f"of shapes {(n_units, n_units)} and {(n_units,)}, those of the simulated units"
            require(shapes == ((n_units, n_units), (n_units,)), "Energy.weights, biases", allowed, shapes)

    def steps_a_pass(self, chains: int, units: int, shortest: int) -> int:
        """Return how many steps leave at most about ``PASS_BYTES`` before they are gathered.

        ``shortest`` is the shortest refractory period in steps.
        """
        a_step = 16 / shortest if self.uses_spikes else 0.0
        a_step += 1 / self.draws_every if self.draws_every else 0.0
        a_step += 8 if self.voltages else 0.0
        fitting = int(PASS_BYTES / (a_step * chains * units)) if a_step else MOST_STEPS_A_PASS
        return min(max(fitting, shortest), MOST_STEPS_A_PASS)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Samples:
    """What was kept and gathered of the steps ``start <= step < stop``."""

    start: int
    stop: int
    dt: float
    packed: PackedStates | None = None
    """States of draws, a bit each; ``states`` unpacks them."""
    spikes: Spikes | None = None
    voltages: Array | None = None
    """mV, (chains, steps, recorded units)."""
    energies: Array | None = None
    """Energy of draws, float64 (chains, draws)."""
    gathered: Gathered = field(default_factory=Gathered)
    """What was counted on the way."""

    @property
    def states(self) -> Array | None:
        """States of draws, int8 (chains, draws, units): unpacked anew at each call."""
        return None if self.packed is None else self.packed.unpacked()

    @staticmethod
    def join(parts: list[Samples]) -> Samples:
        """Return consecutive parts of one run as one."""
        joining = Joining()
        for part in parts:
            joining.add(part)
        return joining.joined()


def of_chains(parts: Sequence[Samples]) -> Samples:
    """Return a run from the samples of its chains, some at a time and in their order."""
    first = parts[0]

    def together(arrays: Iterable[Array | None]) -> Array | None:
        given = [array for array in arrays if array is not None]
        return np.concatenate(given) if given else None

    bits = together(None if part.packed is None else part.packed.bits for part in parts)
    spikes = first.spikes
    if spikes is not None:
        pieces = [part.spikes for part in parts if part.spikes is not None]
        earlier = np.cumsum([0, *(piece.n_chains for piece in pieces[:-1])])
        arrays: dict[str, Any] = {n: together(getattr(p, n) for p in pieces) for n in _BY_SPIKE_OR_CHAIN}
        arrays["chain"] = np.concatenate([piece.chain + before for piece, before in zip(pieces, earlier)])
        spikes = dataclasses.replace(spikes, **arrays)
    return dataclasses.replace(
        first,
        packed=None if first.packed is None or bits is None else dataclasses.replace(first.packed, bits=bits),
        spikes=spikes,
        voltages=together(part.voltages for part in parts),
        energies=together(part.energies for part in parts),
        gathered=Gathered.of_chains([part.gathered for part in parts]),
    )


_BY_SPIKE_OR_CHAIN = ("unit", "step", "before", "drawn", "drawn_before")


class Joining:
    """Consecutive parts of one run on their way to be joined; what is counted is added up at once."""

    def __init__(self) -> None:
        """Begin with no part."""
        self.parts: list[Samples] = []
        self.gathered = Gathered()

    @property
    def steps(self) -> int:
        """Number of steps in the parts so far."""
        return self.parts[-1].stop - self.parts[0].start if self.parts else 0

    def draws(self, every: int) -> int:
        """Return the number of draws, ``every`` so many steps, in the parts so far."""
        return self.parts[-1].stop // every - self.parts[0].start // every if self.parts else 0

    def add(self, part: Samples, *, apart: bool = False) -> None:
        """Take the next part; ``apart``: ``Occupancy`` keeps it apart from those before."""
        earlier, later = self.gathered, part.gathered
        if self.parts:
            assert self.parts[-1].stop == part.start, "parts of a run must follow each other"
            self.gathered = earlier + later
            if apart and earlier.occupancy is not None and later.occupancy is not None:
                occupancy = earlier.occupancy.beside(later.occupancy)
                self.gathered = dataclasses.replace(self.gathered, occupancy=occupancy)
        else:
            self.gathered = later
        self.parts.append(dataclasses.replace(part, gathered=Gathered()))

    def joined(self) -> Samples:
        """Return the run."""
        first, last = self.parts[0], self.parts[-1]

        def together(kept: list[Array | None]) -> Array | None:
            arrays = [array for array in kept if array is not None]
            if len(arrays) < 2:
                return arrays[0] if arrays else None
            return np.concatenate(arrays, axis=1)

        spikes = first.spikes
        if spikes is not None and len(self.parts) > 1:
            pieces = [part.spikes for part in self.parts if part.spikes is not None]
            chain, unit, step = (
                np.concatenate([getattr(p, f) for p in pieces]) for f in ("chain", "unit", "step")
            )
            # each part is ordered by chain, step and unit, and the parts follow each other: chains alone are mixed
            order = np.argsort(chain, kind="stable")
            spikes = Spikes(
                chain=chain[order],
                unit=unit[order],
                step=step[order],
                before=spikes.before,
                refractory_steps=spikes.refractory_steps,
                start=first.start,
                stop=last.stop,
                drawn=_joined([p.drawn for p in pieces], order),
                drawn_before=spikes.drawn_before,
            )
        bits = together([None if part.packed is None else part.packed.bits for part in self.parts])
        return Samples(
            start=first.start,
            stop=last.stop,
            dt=first.dt,
            packed=None if first.packed is None or bits is None else dataclasses.replace(first.packed, bits=bits),
            voltages=together([part.voltages for part in self.parts]),
            energies=together([part.energies for part in self.parts]),
            spikes=spikes,
            gathered=self.gathered,
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
    joining = Joining()
    left = steps
    while left > 0 or not joining.parts:
        part, state = run_pass(state, min(max(per_pass, 1), left), record)
        joining.add(part)
        left -= max(per_pass, 1)
    return joining.joined(), state


def gathering(
    run_pass: Callable[[State, int, Record], tuple[Samples, State]],
) -> Callable[[State, int, Record], tuple[Samples, State]]:
    """Return a pass that keeps only what is asked for, made of one that keeps states and spikes."""

    def run_and_gather(state: State, steps: int, record: Record) -> tuple[Samples, State]:
        raw, state = run_pass(state, steps, record.raw())
        return gather(raw, record), state

    return run_and_gather


def gather(raw: Samples, record: Record) -> Samples:
    """Return what a record asks for from a part of a run recorded as ``record.raw()``: this defines it all."""
    spikes = raw.spikes

    def drawn(every: int) -> PackedStates:
        assert raw.packed is not None
        return raw.packed.at(at_draws(raw.start, raw.stop, record.draws_every, every))

    occupancy = pairs = joint = intervals = None
    steps = raw.stop - raw.start
    if record.occupancy:
        assert spikes is not None
        on = np.rint(spikes.marginals() * steps).astype(np.int64) if steps else np.zeros_like(spikes.before)
        occupancy = Occupancy(on=on[:, None], steps=np.array([steps]))
    if record.pairs_every:
        z = drawn(record.pairs_every).unpacked()
        z = z.reshape(-1, z.shape[-1]).astype(np.float64)
        pairs = PairCounts(counts=np.rint(z.T @ z).astype(np.int64), draws=len(z))
    if record.joint:
        assert spikes is not None
        counts = np.zeros((spikes.n_chains, 2 ** len(record.joint)), dtype=np.int64)
        if steps:
            counts = np.rint(spikes.of_units(record.joint).joint() * steps).astype(np.int64)
        joint = JointOccupancy(units=tuple(record.joint), steps=counts)
    if record.intervals is not None:
        assert spikes is not None
        intervals = count_intervals(spikes, record.intervals)
    voltages = raw.voltages
    if voltages is not None and not isinstance(record.voltages, bool):
        voltages = voltages[..., list(record.voltages)]
    return Samples(
        start=raw.start,
        stop=raw.stop,
        dt=raw.dt,
        packed=drawn(record.states_every) if record.states_every else None,
        spikes=spikes if record.spikes else None,
        voltages=voltages,
        energies=None if record.energy is None else record.energy.of(drawn(record.energy.every).unpacked()),
        gathered=Gathered(occupancy=occupancy, pairs=pairs, joint=joint, intervals=intervals),
    )


def at_draws(start: int, stop: int, every: int, wanted: int) -> Array:
    """Return which of the draws ``every`` so many steps of start .. stop are draws ``wanted`` steps apart."""
    after = (np.arange(start // every, stop // every) + 1) * every
    return np.asarray(after % wanted == 0)


def count_intervals(spikes: Spikes, bins: Bins) -> Intervals:
    """Return the intervals that end, and the bursts that are complete, in a part of a run."""
    n, shape = spikes.n_units, spikes.before.shape
    intervals = np.zeros((n, bins.number), dtype=np.int64)
    bursts = np.zeros((n, bins.longest), dtype=np.int64)
    carried_on, last_burst = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    lasting, lasting_before = spikes.lasting, spikes.lasting_before
    for c, k in np.ndindex(shape):
        of_neuron = (spikes.chain == c) & (spikes.unit == k)
        steps = spikes.step[of_neuron]
        before = np.concatenate([spikes.before[c, k : k + 1], steps])[: len(steps)]
        held = np.concatenate([lasting_before[c, k : k + 1], lasting[of_neuron]])[: len(steps)]
        interval, first = steps - before, before <= NEVER
        np.add.at(intervals[k], np.minimum(interval[~first] // bins.width, bins.number - 1), 1)
        begins = np.flatnonzero(first | (interval > held + bins.gap))
        carried_on[c, k] = begins[0] if len(begins) else len(steps)
        lengths = np.diff(np.append(begins, len(steps)))
        np.add.at(bursts[k], np.minimum(lengths[:-1], bins.longest) - 1, 1)
        last_burst[c, k] = lengths[-1] if len(lengths) else 0
    return Intervals(bins=bins, intervals=intervals, bursts=bursts, carried_on=carried_on, last_burst=last_burst)


def joint_counts(states: Array) -> Array:
    """Return how often each joint state occurs in states (chains, draws, n), shape (chains, 2^n), unit 0 first."""
    n = states.shape[-1]
    require(n <= MAX_JOINT_UNITS, "joint", f"of at most {MAX_JOINT_UNITS} units", n)
    # packed, a state is a number of at most three bytes, left-aligned
    packed = np.packbits(states.view(np.uint8), axis=-1)
    codes = np.zeros(packed.shape[:2], dtype=np.uint32)
    for byte in range(packed.shape[-1]):
        codes <<= 8
        codes |= packed[..., byte]
    codes >>= -n % 8
    return np.stack([np.bincount(chain, minlength=2**n) for chain in codes])
