"""What was recorded as named arrays with dimensions, for files, and back; states aside."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from boltzspike.gathered import Bins, Gathered, Intervals, JointOccupancy, Occupancy, PairCounts
from boltzspike.samples import Samples, Spikes

Array = np.ndarray
Variables = dict[str, tuple[tuple[str, ...], Array]]

_SPIKES = {
    "chain": ("spike",),
    "unit": ("spike",),
    "step": ("spike",),
    "before": ("chain", "simulated_unit"),
    "refractory_steps": ("simulated_unit",),
    "drawn": ("spike",),
    "drawn_before": ("chain", "simulated_unit"),
}
"""Fields of ``Spikes``; what was not drawn is left out."""


def variables_of(samples: Samples) -> Variables:
    """Return all but the states: name -> (dimensions, array)."""
    found: Variables = {}
    counted = samples.gathered
    if counted.occupancy is not None:
        found["occupancy"] = ("chain", "part", "simulated_unit"), counted.occupancy.on
        found["occupancy_steps"] = ("part",), counted.occupancy.steps
    if counted.pairs is not None:
        found["pair_counts"] = ("simulated_unit", "simulated_unit_2"), counted.pairs.counts
        found["pair_draws"] = (), np.array(counted.pairs.draws)
    if counted.joint is not None:
        found["joint_steps"] = ("chain", "joint_state"), counted.joint.steps
        found["joint_units"] = ("joint_unit",), np.array(counted.joint.units, dtype=np.int64)
    if counted.intervals is not None:
        intervals = counted.intervals
        found["interval_counts"] = ("simulated_unit", "interval_bin"), intervals.intervals
        found["burst_counts"] = ("simulated_unit", "burst_spikes"), intervals.bursts
        found["burst_carried_on"] = ("chain", "simulated_unit"), intervals.carried_on
        found["burst_last"] = ("chain", "simulated_unit"), intervals.last_burst
        found["interval_bins"] = ("bins_field",), np.array(dataclasses.astuple(intervals.bins))
    if samples.energies is not None:
        found["energies"] = ("chain", "energy_draw"), samples.energies
    if samples.voltages is not None:
        found["voltages"] = ("chain", "step", "recorded_unit"), samples.voltages
    if samples.spikes is not None:
        for name, dimensions in _SPIKES.items():
            values = getattr(samples.spikes, name)
            if values is not None:
                found[f"spike_{name}"] = dimensions, values
    return found


def samples_from(arrays: Mapping[str, Array], *, start: int, stop: int, dt: float) -> Samples:
    """Return samples from the arrays of ``variables_of``."""
    occupancy = pairs = joint = intervals = spikes = None
    if "occupancy" in arrays:
        occupancy = Occupancy(on=arrays["occupancy"], steps=arrays["occupancy_steps"])
    if "pair_counts" in arrays:
        pairs = PairCounts(counts=arrays["pair_counts"], draws=int(arrays["pair_draws"]))
    if "joint_steps" in arrays:
        joint = JointOccupancy(units=tuple(arrays["joint_units"].tolist()), steps=arrays["joint_steps"])
    if "interval_counts" in arrays:
        intervals = Intervals(
            bins=_bins(arrays["interval_bins"]),
            intervals=arrays["interval_counts"],
            bursts=arrays["burst_counts"],
            carried_on=arrays["burst_carried_on"],
            last_burst=arrays["burst_last"],
        )
    if "spike_step" in arrays:
        spikes = Spikes(
            **{name: arrays[f"spike_{name}"] for name in _SPIKES if f"spike_{name}" in arrays},
            start=start,
            stop=stop,
        )
    return Samples(
        start=start,
        stop=stop,
        dt=dt,
        spikes=spikes,
        voltages=arrays.get("voltages"),
        energies=arrays.get("energies"),
        gathered=Gathered(occupancy=occupancy, pairs=pairs, joint=joint, intervals=intervals),
    )


def _bins(values: Array) -> Bins:
    names = [field.name for field in dataclasses.fields(Bins)]
    return Bins(**dict(zip(names, values.tolist())))
