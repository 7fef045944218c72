"""What is counted while a run goes on, so that nothing of the run itself need be kept.

Counts of consecutive parts of a run add up to those of the whole, bit for bit: ``whole = first + later``.
``samples.gather`` computes each of them from the states and spikes of a part, which defines them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from boltzspike.errors import require

Array = np.ndarray
MAX_JOINT_UNITS = 24


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Occupancy:
    """For how many steps each unit was at z = 1. Every step counts."""

    on: Array
    """int64 (chains, parts, units)."""
    steps: Array
    """Length of each part, int64 (parts,). An engine leaves one part a run."""

    def __add__(self, later: Occupancy) -> Occupancy:
        """Let the first part of ``later`` go on with the last part of this."""
        bridge = self.on[:, -1:] + later.on[:, :1]
        steps = self.steps[-1:] + later.steps[:1]
        return Occupancy(
            on=np.concatenate([self.on[:, :-1], bridge, later.on[:, 1:]], axis=1),
            steps=np.concatenate([self.steps[:-1], steps, later.steps[1:]]),
        )

    def beside(self, later: Occupancy) -> Occupancy:
        """Keep the parts of ``later`` apart, for the errors of runs of few chains."""
        return Occupancy(
            on=np.concatenate([self.on, later.on], axis=1), steps=np.concatenate([self.steps, later.steps])
        )

    def shares(self, parts: int) -> Array:
        """Return the share of time with z = 1 in about so many parts of each chain, (chains, parts, units).

        Parts that follow each other are put together; what is left over at the end is not used.
        """
        chains, there, units = self.on.shape
        together = max(there // parts, 1)
        groups = there // together
        on = self.on[:, : groups * together].reshape(chains, groups, together, units).sum(axis=2)
        return np.asarray(on / self.steps[: groups * together].reshape(groups, together).sum(axis=1)[:, None])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairCounts:
    """In how many draws two units were both at z = 1, over all chains. Draws count, not every step."""

    counts: Array
    """int64 (units, units); on the diagonal, the draws with z = 1."""
    draws: int
    """Number of draws, over all chains."""

    def __add__(self, later: PairCounts) -> PairCounts:
        """Return the counts of both."""
        return PairCounts(counts=self.counts + later.counts, draws=self.draws + later.draws)

    def probabilities(self) -> Array:
        """Return p(z_k = z_j = 1), shape (units, units)."""
        return np.asarray(self.counts / self.draws)

    def correlations(self) -> Array:
        """Return the correlation coefficient of each two units; NaN with a unit that never changed."""
        return correlations(self.probabilities())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JointOccupancy:
    """For how many steps chosen units were in each of their joint states. Every step counts."""

    units: tuple[int, ...]
    """The first is the most significant bit."""
    steps: Array
    """int64 (chains, 2^n)."""

    def __add__(self, later: JointOccupancy) -> JointOccupancy:
        """Return the steps of both."""
        return JointOccupancy(units=self.units, steps=self.steps + later.steps)

    def shares(self) -> Array:
        """Return the share of time of each joint state, shape (chains, 2^n)."""
        return np.asarray(self.steps / self.steps.sum(axis=1, keepdims=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class Bins:
    """How inter-spike intervals and bursts are counted. Times in steps."""

    width: int = 10
    """Of a bin of intervals."""
    number: int = 200
    """Of bins of intervals; the last one takes all longer intervals too."""
    gap: int = 10
    """A spike carries a burst on if it comes at most so much later than it could at the earliest."""
    longest: int = 100
    """Spikes of the longest burst that is told apart; its bin takes all longer ones too."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        for field, least in (("width", 1), ("number", 1), ("gap", 0), ("longest", 1)):
            value = getattr(self, field)
            ok = isinstance(value, int | np.integer) and least <= value <= 2**31
            require(bool(ok), f"Bins.{field}", f"an integer in {least} .. 2^31", value)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Intervals:
    """Inter-spike intervals and lengths of bursts, over all chains. Every spike counts.

    Bursts are counted when the next one begins: one under way at the start or end of a run is not.
    """

    bins: Bins
    intervals: Array
    """int64 (units, bins): bin i holds the intervals of i width to (i + 1) width - 1 steps."""
    bursts: Array
    """int64 (units, longest): how many bursts had 1, 2, ... spikes."""
    carried_on: Array
    """int64 (chains, units): spikes that carry on the burst that was under way at the start."""
    last_burst: Array
    """int64 (chains, units): spikes of the burst that began last; 0 if none began."""

    def __add__(self, later: Intervals) -> Intervals:
        """Return the counts of both; the burst under way in between is put together."""
        begun, begun_later = self.last_burst > 0, later.last_burst > 0
        together = self.last_burst + later.carried_on
        bursts = self.bursts + later.bursts
        complete = begun & begun_later
        unit = np.nonzero(complete)[1]
        np.add.at(bursts, (unit, np.minimum(together[complete], self.bins.longest) - 1), 1)
        return Intervals(
            bins=self.bins,
            intervals=self.intervals + later.intervals,
            bursts=bursts,
            carried_on=self.carried_on + np.where(begun, 0, later.carried_on),
            last_burst=np.where(begun_later, later.last_burst, np.where(begun, together, 0)),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Gathered:
    """All that was counted; what was not asked for is None."""

    occupancy: Occupancy | None = None
    pairs: PairCounts | None = None
    joint: JointOccupancy | None = None
    intervals: Intervals | None = None

    def __add__(self, later: Gathered) -> Gathered:
        """Return the counts of two consecutive parts of a run."""
        both = {f.name: (getattr(self, f.name), getattr(later, f.name)) for f in fields(self)}
        return Gathered(**{name: None if a is None else a + b for name, (a, b) in both.items()})

    @staticmethod
    def of_chains(parts: Sequence[Gathered]) -> Gathered:
        """Return the counts of one run from those of its chains, some at a time and in their order."""
        first = parts[0]
        occupancy, joint, intervals, pairs = (
            [part for part in found if part is not None]
            for found in zip(*((p.occupancy, p.joint, p.intervals, p.pairs) for p in parts))
        )
        chains = lambda found, *names: {n: np.concatenate([getattr(one, n) for one in found]) for n in names}
        total = lambda found, *names: {n: np.sum([getattr(one, n) for one in found], axis=0) for n in names}
        if first.intervals is not None:
            counted = total(intervals, "intervals", "bursts") | chains(intervals, "carried_on", "last_burst")
        return Gathered(
            occupancy=replace(first.occupancy, **chains(occupancy, "on")) if first.occupancy else None,
            joint=replace(first.joint, **chains(joint, "steps")) if first.joint else None,
            pairs=PairCounts(**total(pairs, "counts"), draws=sum(one.draws for one in pairs)) if pairs else None,
            intervals=replace(first.intervals, **counted) if first.intervals else None,
        )


def correlations(second: Array) -> Array:
    """Return the correlation coefficients of binary units from p(z_k = z_j = 1), shape (units, units).

    NaN with a unit that never changed.
    """
    mean = np.diagonal(second)
    covariance = second - np.outer(mean, mean)
    deviation = np.sqrt(np.diagonal(covariance))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(covariance / np.outer(deviation, deviation))
