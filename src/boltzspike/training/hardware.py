"""What a neuromorphic substrate does to the parameters that are written to it.

Weights and biases are the effective ones, in Boltzmann units, that a translation hands to the neurons. As on a
chip the range clips, the resolution rounds, the sign of a row drops what disagrees; then the fixed pattern of the
substrate distorts what was written, the same way at every writing.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from boltzspike.errors import require
from boltzspike.model.description import Array, description, set_number

_LARGEST_BITS = 16


@description
class Hardware:
    """Limits and imperfections of a substrate; the default is a perfect one."""

    weight_range: float = np.inf
    """Largest |effective weight|, > 0."""
    weight_bits: int | None = None
    """Bits of a weight's magnitude, beside its sign: ``2^bits - 1`` steps up to ``weight_range`` (where that is
    infinite, up to the largest weight); ``None``: continuous."""
    bias_range: float = np.inf
    """Largest |effective bias|, > 0."""
    bias_bits: int | None = None
    """The same for the biases."""
    signs: Literal["synapse", "row", "relay"] = "synapse"
    """``"row"``: all synapses of a source have one sign, that of the sum of its weights; others are left out. The
    two directions of a coupling then differ where their sources do. ``"relay"``: one sign a source too, but no
    weight is lost: each unit excites, and a relay neuron that fires with it inhibits (``with_relays``)."""
    weight_noise: float = 0.0
    """Fixed pattern: each weight is multiplied by 1 + this times a standard normal number, never below 0."""
    bias_noise: float = 0.0
    """Fixed pattern: this times a standard normal number is added to each bias."""
    spike_loss: float = 0.0
    """Chance, in [0, 1), that a spike does not get to a target; independent for each spike and synapse."""
    delay_spread: float = 0.0
    """ms: delays differ from synapse to synapse: the shortest, and an exponential of this mean on top."""
    spike_jitter: float = 0.0
    """ms: each spike is late by a time of its own, uniform from 0 to this; the same at all its targets
    (``Synapse.jitter``). Only the exact path of the engines draws it."""
    seed: int = 0
    """Of the fixed pattern: the number of the chip."""

    def __post_init__(self) -> None:
        """Validate."""
        for name in ("weight_range", "bias_range"):
            value = getattr(self, name)
            ok = isinstance(value, int | float) and bool(value > 0)
            require(ok, f"Hardware.{name}", "> 0", value)
        for name in ("weight_bits", "bias_bits"):
            value = getattr(self, name)
            fits = value is None or (isinstance(value, int | np.integer) and 1 <= value <= _LARGEST_BITS)
            require(bool(fits), f"Hardware.{name}", f"None or an integer in 1 .. {_LARGEST_BITS}", value)
        signs = ("synapse", "row", "relay")
        require(self.signs in signs, "Hardware.signs", "'synapse', 'row' or 'relay'", self.signs)
        for name in ("weight_noise", "bias_noise", "spike_loss", "delay_spread", "spike_jitter"):
            set_number(self, name)
            require(getattr(self, name) >= 0, f"Hardware.{name}", ">= 0", getattr(self, name))
        require(self.spike_loss < 1, "Hardware.spike_loss", "in [0, 1)", self.spike_loss)

    def written(self, weights: Array, biases: Array) -> tuple[Array, Array]:
        """Return what arrives of weights (n, n), [target, source], and biases (n,)."""
        weights = quantised(np.asarray(weights, dtype=float), self.weight_bits, self.weight_range)
        biases = quantised(np.asarray(biases, dtype=float), self.bias_bits, self.bias_range)
        if self.signs == "row":
            of_row = np.where(weights.sum(axis=0) >= 0, 1.0, -1.0)
            weights = np.where(weights * of_row >= 0, weights, 0.0)
        rng = np.random.default_rng([self.seed, 0x4AFD])
        factor = np.maximum(1 + self.weight_noise * rng.standard_normal(weights.shape), 0.0)
        return weights * factor, biases + self.bias_noise * rng.standard_normal(biases.shape)

    def delays(self, n: int, dt: float) -> Array | None:
        """Return the delays in ms, (n, n), or ``None`` where all are one step."""
        if self.delay_spread == 0:
            return None
        rng = np.random.default_rng([self.seed, 0xDE1A])
        return dt * (1 + np.round(rng.exponential(self.delay_spread, (n, n)) / dt))


_RELAY_WEIGHT, _RELAY_BIAS = 40.0, -30.0
"""In Boltzmann units. A PSP of weight W has the mean W over tau_refrac = tau_syn: it begins at 1.58 W and ends at
.58 W. So a spike of its unit drives a relay from 30 below the middle of its response to 33 above, and when the
relay could fire again, the drive is back at 7 below."""


def with_relays(weights: Array, biases: Array) -> tuple[Array, Array]:
    """Return weights (2n, 2n) and biases (2n,) of n units that only excite, then n relays that only inhibit.

    So every neuron keeps Dale's law, at twice the neurons: a relay fires once for each spike of its unit, about
    half of tau_eff later, and has the unit's negative weights.

    Examples
    --------
    >>> with_relays(np.array([[0.0, -1.0], [2.0, 0.0]]), np.zeros(2))[0]
    array([[ 0.,  0.,  0., -1.],
           [ 2.,  0.,  0.,  0.],
           [40.,  0.,  0.,  0.],
           [ 0., 40.,  0.,  0.]])
    """
    n = len(biases)
    drive = _RELAY_WEIGHT * np.eye(n)
    excite, inhibit = np.maximum(weights, 0.0), np.minimum(weights, 0.0)
    doubled = np.block([[excite, inhibit], [drive, np.zeros((n, n))]])
    return doubled, np.concatenate([biases, np.full(n, _RELAY_BIAS)])


def quantised(values: Array, bits: int | None, largest: float) -> Array:
    """Return values clipped to +-largest and rounded to ``2^bits - 1`` steps of magnitude.

    Examples
    --------
    >>> quantised(np.array([0.2, -0.9, 5.0]), 2, 1.5)
    array([ 0. , -1. ,  1.5])
    """
    clipped = np.clip(values, -largest, largest)
    if bits is None:
        return clipped
    top = largest if np.isfinite(largest) else float(np.abs(values).max(initial=0.0))
    if top == 0:
        return clipped
    step = top / (2**bits - 1)
    return np.asarray(np.round(clipped / step) * step)
