"""What a neuromorphic chip can hold of a network: a checker and a mapper, and the network that is left.

A chip has so many neurons, rows of synapses with weights of a few bits, digital-to-analogue converters of a few
bits for its parameters, ranges for these, and runs faster than biology by a factor. ``map_network`` says of every
quantity whether it fits, is rounded, or is clipped, and returns the network as the chip would hold it: an
ordinary one, so any engine simulates it and tells what the limits cost (``pipeline.export`` does).

Only limits are modelled: not the mismatch between circuits, nor what is left of it after calibration.

``BRAINSCALES_2``: 512 neurons, 256 rows of 6-bit synapses, a row excitatory or inhibitory, 10-bit parameters, 1000
times faster than biology: Pehle et al., Frontiers in Neuroscience 16, 795876 (2022). Its ranges of time
constants and event rates are nominal, working values of ours: a chip's own calibration decides, and
``dataclasses.replace(BRAINSCALES_2, ranges=...)`` takes them.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from boltzspike.errors import UnsupportedFeature, require
from boltzspike.export.folder import write_contents, writing_folder
from boltzspike.export.losses import Loss, refuse
from boltzspike.model.background import PoissonBackground
from boltzspike.model.description import Array, is_sparse
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import LIF

POTENTIALS = ("v_rest", "v_reset", "v_thresh", "e_rev_exc", "e_rev_inh")
TIMES = ("tau_m", "tau_refrac", "tau_syn_exc", "tau_syn_inh")


@dataclass(frozen=True, kw_only=True, slots=True)
class Chip:
    """The limits of a target."""

    name: str
    weight_bits: int
    """Bits of a weight, without its sign."""
    sign: Literal["row", "synapse"] = "synapse"
    """Whether a row of synapses has one sign, so that a source of both takes two rows, or each synapse its own."""
    neurons: int | None = None
    """How many there are; ``None``: no limit."""
    rows: int | None = None
    """Rows of synapses, so inputs of a neuron; ``None``: no limit."""
    labels: int = 64
    """Sources that may share a row, told apart by each synapse."""
    parameter_bits: int | None = None
    """Bits of potentials; ``None``: they are exact."""
    acceleration: float = 1.0
    """Biological time over that of the chip."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Least and greatest value of ``tau_m``, ``tau_refrac``, ``tau_syn_exc``, ``tau_syn_inh``, us on the chip."""
    event_rate: float | None = None
    """Events a second that its routing takes; ``None``: no limit."""

    def __post_init__(self) -> None:
        """Validate."""
        whole = isinstance(self.weight_bits, int) and 1 <= self.weight_bits <= 24
        require(whole, "Chip.weight_bits", "an integer in 1 .. 24", self.weight_bits)
        require(self.acceleration > 0, "Chip.acceleration", "> 0", self.acceleration)
        unknown = sorted(set(self.ranges) - set(TIMES))
        require(not unknown, "Chip.ranges", f"of {', '.join(TIMES)}", unknown)

    @property
    def levels(self) -> int:
        """The greatest weight, in units of the least."""
        return int(2**self.weight_bits - 1)


BRAINSCALES_2 = Chip(
    name="BrainScaleS-2", weight_bits=6, sign="row", neurons=512, rows=256, parameter_bits=10, acceleration=1000.0,
    ranges={
        "tau_m": (0.5, 60.0), "tau_syn_exc": (0.3, 30.0), "tau_syn_inh": (0.3, 30.0), "tau_refrac": (0.1, 32.0),
    },
    event_rate=2.5e8,
)  # fmt: skip


def n_bit(bits: int) -> Chip:
    """Return a target of signed weights of so many bits (without the sign) and no other limit."""
    return Chip(name=f"{bits}-bit weights", weight_bits=bits)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Mapped:
    """A network on a target."""

    hardware: Chip
    network: SpikingNetwork
    """As the target holds it, in biological units."""
    losses: tuple[Loss, ...]
    """What was rounded or clipped, with its error."""
    weight_unit: float
    """What a weight of 1 on the target is, uS or nA."""
    netlist: dict[str, Any]
    """All of it in the target's units, as plain JSON types."""


def map_network(network: SpikingNetwork, hardware: Chip) -> Mapped:
    """Map a network to a target.

    Weights are whole multiples of a unit, one for the network, recurrent and background: that which loses least
    in the squared error of the recurrent weights, relative to their mean square, and of the background's, relative
    to theirs. Larger weights are clipped.

    Raises
    ------
    UnsupportedFeature
        If there are too few neurons or rows, events come too fast, or the network has what such a target does not:
        delays of each synapse, jitter, parallel synapses, schedules, shared sources, alpha-shaped synapses, drawn
        refractory periods.
    """
    name, neurons = hardware.name, network.neurons
    unheld = {
        "delays": network.delays is not None,
        "jitter": network.synapse.jitter > 0,
        "parallel-synapses": network.synapse.teeth is not None,
        "varying inputs": bool(network.schedule),
        "shared-background": bool(network.shared),
        "tsodyks-markram": network.synapse.plasticity == "tsodyks-markram",
        "alpha": neurons[0].kernel != "exponential",
        "random-refractory": any(neuron.refractory is not None for neuron in neurons),
    }
    refuse(name, (feature for feature, used in unheld.items() if used))
    n = network.n_units
    if hardware.neurons is not None and n > hardware.neurons:
        raise UnsupportedFeature(f"{name}: has {hardware.neurons} neurons, the network {n}")
    weights = network.weights.toarray() if is_sparse(network.weights) else np.asarray(network.weights)
    unit, quantised, backgrounds, losses = _quantise_weights(network, weights, hardware)
    rows = _rows(quantised, backgrounds, unit, hardware)
    _check_events(network, hardware)
    held, moved, grid = _quantise_neurons(network, hardware)
    losses += moved
    if hardware.acceleration != 1 and network.synapse.plasticity == "renewing":
        text = "short-term plasticity is a row's, with the spread of its circuits; taken for exact here"
        losses.append(Loss(feature="renewing", text=text))
    mapped = dataclasses.replace(network, neurons=held, backgrounds=backgrounds, weights=quantised)
    netlist = _netlist(mapped, hardware, unit, rows, grid)
    return Mapped(
        hardware=hardware, network=mapped, losses=tuple(losses), weight_unit=unit, netlist=netlist
    )  # fmt: skip


def _quantise_weights(
    network: SpikingNetwork, weights: Array, hardware: Chip
) -> tuple[float, Array, list[PoissonBackground], list[Loss]]:
    sources = [np.asarray(background.weights) for background in network.backgrounds]
    groups = {"recurrent weights": weights[weights != 0], "background weights": np.concatenate(sources)}
    groups = {name: values for name, values in groups.items() if np.any(values)}
    largest = max((float(np.abs(values).max()) for values in groups.values()), default=1.0)

    def rounded(values: Array, unit: float) -> Array:
        return np.clip(np.rint(values / unit), -hardware.levels, hardware.levels) * unit

    def error(unit: float) -> float:
        return sum(
            float(np.mean((rounded(values, unit) - values) ** 2) / np.mean(values**2))
            for values in groups.values()
        )

    units = largest / hardware.levels * np.linspace(0.2, 1.5, 651)
    unit = float(units[np.argmin([error(candidate) for candidate in units])]) if groups else largest
    losses = []
    for name, values in groups.items():
        difference = np.abs(rounded(values, unit) - values)
        clipped = int(np.count_nonzero(np.abs(values) > (hardware.levels + 0.5) * unit))
        lost = int(np.count_nonzero(rounded(values, unit) == 0))
        if difference.max() > 1e-9 * largest:
            text = f"RMS error {np.sqrt(np.mean(difference**2) / np.mean(values**2)):.2g} of their size"
            text += f", {clipped} of {len(values)} clipped" if clipped else ""
            text += f", {lost} of {len(values)} rounded to 0" if lost else ""
            losses.append(Loss(feature=name, text=f"multiples of {unit:.3g}: {text}"))
    backgrounds = [
        PoissonBackground(rates=background.rates, weights=rounded(np.asarray(background.weights), unit))
        for background in network.backgrounds
    ]
    return unit, rounded(weights, unit), backgrounds, losses


def _rows(
    weights: Array, backgrounds: list[PoissonBackground], unit: float, hardware: Chip
) -> list[dict[str, Any]]:
    """Return the rows of synapses: for each its sign, and [neuron, weight, source] of each synapse."""
    rows: list[dict[str, Any]] = []
    signs = (1, -1) if hardware.sign == "row" else (0,)

    def add(sign: int, kind: str, synapses: list[list[int]]) -> None:
        if synapses:
            rows.append({"sign": sign, "kind": kind, "synapses": synapses})

    whole = np.rint(weights / unit).astype(int)
    for source in range(len(whole)):
        for sign in signs:
            chosen = np.flatnonzero(whole[:, source] * sign > 0 if sign else whole[:, source])
            value = np.abs(whole[:, source]) if sign else whole[:, source]
            add(sign, "recurrent", [[int(k), int(value[k]), source] for k in chosen])
    for column in range(max((len(background.weights) for background in backgrounds), default=0)):
        for sign in signs:
            synapses = []
            for k, background in enumerate(backgrounds):
                level = int(np.rint(background.weights[column] / unit)) if column < len(background.weights) else 0
                if level * sign > 0 or (not sign and level):
                    synapses.append([k, abs(level) if sign else level, column])
            # private sources share a row as far as its labels tell them apart
            for first in range(0, len(synapses), hardware.labels):
                add(sign, "background", synapses[first : first + hardware.labels])
    if hardware.rows is not None and len(rows) > hardware.rows:
        recurrent = sum(row["kind"] == "recurrent" for row in rows)
        doubled = " (two for both signs)" if hardware.sign == "row" else ""
        raise UnsupportedFeature(
            f"{hardware.name}: has {hardware.rows} rows of synapses, the network needs {len(rows)}: {recurrent} "
            f"for its {len(weights)} units{doubled}, {len(rows) - recurrent} for the background"
        )
    return rows


def _check_events(network: SpikingNetwork, hardware: Chip) -> None:
    if hardware.event_rate is None:
        return
    background = sum(float(np.sum(background.rates)) for background in network.backgrounds)
    spikes = sum(1e3 / neuron.tau_refrac for neuron in network.neurons)
    rate = (background + spikes) * hardware.acceleration
    if rate > hardware.event_rate:
        raise UnsupportedFeature(
            f"{hardware.name}: routes {hardware.event_rate:.3g} events/s, the network may have {rate:.3g} "
            f"(background {background * hardware.acceleration:.3g})"
        )


def _quantise_neurons(network: SpikingNetwork, hardware: Chip) -> tuple[list[Any], list[Loss], dict[str, float]]:
    """Return the neurons as they are held, what was lost, and the grid of potentials."""
    neurons: list[Any] = list(network.neurons)
    losses = []
    for name in TIMES:
        values = np.array([getattr(neuron, name) for neuron in neurons])
        low, high = hardware.ranges.get(name, (0.0, np.inf))
        on_chip = values * 1e3 / hardware.acceleration
        held = np.clip(on_chip, low, high)
        if np.any(held != on_chip):
            k = int(np.argmax(np.abs(np.log(held / on_chip))))
            text = f"clipped from {on_chip[k]:g} to {held[k]:g} us, the range is {low:g} .. {high:g} us"
            losses.append(Loss(feature=name, text=text))
            neurons = [
                dataclasses.replace(neuron, **{name: float(value * hardware.acceleration / 1e3)})
                for neuron, value in zip(neurons, held)
            ]
    grid: dict[str, float] = {}
    if hardware.parameter_bits is None:
        return neurons, losses, grid
    used = [name for name in POTENTIALS if isinstance(neurons[0], LIF) or not name.startswith("e_rev")]
    values = np.array([[getattr(neuron, name) for name in used] for neuron in neurons])
    # a step is left free at the lower end, for a reset that has to make way
    step = np.ptp(values) / (2**hardware.parameter_bits - 2)
    low = values.min() - step
    grid = {"mv_at_0": float(low), "mv_per_step": float(step)}
    held = low + np.rint((values - low) / step) * step
    # a reset that falls onto the threshold goes a step below
    reset, threshold = used.index("v_reset"), used.index("v_thresh")
    onto = held[:, reset] > held[:, threshold] - step / 2
    held[onto, reset] = held[onto, threshold] - step
    worst = {name: float(np.abs(held - values)[:, k].max()) for k, name in enumerate(used)}
    text = ", ".join(f"{name} by {value:.2g}" for name, value in worst.items() if value > 1e-9)
    if text:
        losses.append(Loss(feature="potentials", text=f"rounded to multiples of {step:.3g} mV: {text} mV at most"))
    neurons = [dataclasses.replace(neuron, **dict(zip(used, row.tolist()))) for neuron, row in zip(neurons, held)]
    return neurons, losses, grid


def _netlist(
    network: SpikingNetwork, hardware: Chip, unit: float, rows: list[dict[str, Any]], grid: dict[str, float]
) -> dict[str, Any]:
    per_us = 1e3 / hardware.acceleration

    def potential(value: float) -> float | int:
        return round((value - grid["mv_at_0"]) / grid["mv_per_step"]) if grid else value

    names = [name for name in POTENTIALS if hasattr(network.neurons[0], name)]
    return {
        "format": "boltzspike-netlist",
        "schema": 1,
        "hardware": {"name": hardware.name, "weight_bits": hardware.weight_bits, "sign": hardware.sign,
                     "acceleration": hardware.acceleration},
        "units": {"times": "us on the chip", "rates": "1/s on the chip", "potentials": "steps" if grid else "mV",
                  "weights": "steps", "weight_step": unit,
                  "weight_step_unit": "uS" if isinstance(network.neurons[0], LIF) else "nA", **grid},
        "neurons": [
            {
                "circuit": k,
                "name": network.names[k],
                **{name: getattr(neuron, name) * per_us for name in TIMES},
                **{name: potential(getattr(neuron, name)) for name in names},
                "c_m_nF": neuron.c_m,
                "i_offset_nA": neuron.i_offset,
                "background_rates": [float(rate) * hardware.acceleration for rate in network.backgrounds[k].rates],
            }
            for k, neuron in enumerate(network.neurons)
        ],
        "rows": [{"row": k, **row} for k, row in enumerate(rows)],
        "synapse": {"plasticity": network.synapse.plasticity, "delay_us": None if network.synapse.delay is None
                    else network.synapse.delay * per_us},
    }  # fmt: skip


def write_netlist(
    mapped: Mapped,
    losses: Sequence[Loss],
    folder: str | os.PathLike[str],
    *,
    about: Mapping[str, Any],
    documents: Mapping[str, bytes],
    force: bool,
) -> list[str]:
    """Write ``netlist.json``, ``losses.txt`` and ``documents``; return the names of the files."""
    with writing_folder(folder, force=force) as partial:
        (partial / "netlist.json").write_text(json.dumps(mapped.netlist, indent=1) + "\n")
        (partial / "losses.txt").write_text("".join(f"{loss}\n" for loss in losses))
        write_contents(partial, mapped.hardware.name, about, documents)
    return sorted(path.name for path in Path(folder).iterdir())
