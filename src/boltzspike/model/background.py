"""The synaptic bombardment that makes a deterministic neuron stochastic."""

from __future__ import annotations

import numpy as np

from boltzspike.errors import require
from boltzspike.model.description import Given, description, frozen_array, frozen_matrix, set_field, set_number
from boltzspike.model.neuron import Control, Neuron, with_control
from boltzspike.units import ms


@description
class PoissonBackground:
    """Independent Poisson sources, private to each neuron.

    ``rates`` are in Hz, ``weights`` in uS for conductance-based and nA for current-based neurons; the
    sign of a weight says which synapse it drives (negative: inhibitory, with conductance ``|w|``).
    """

    rates: Given
    """Rate of each source, shape (sources,), Hz, >= 0."""
    weights: Given
    """Weight of each source, shape (sources,), uS or nA."""

    def __post_init__(self) -> None:
        """Validate."""
        rates = frozen_array(self.rates, "PoissonBackground.rates", ndim=1)
        weights = frozen_array(self.weights, "PoissonBackground.weights", ndim=1)
        for k in np.flatnonzero(rates < 0):
            require(False, f"PoissonBackground.rates[{k}]", ">= 0 Hz", float(rates[k]))
        require(
            len(rates) == len(weights),
            "PoissonBackground.weights",
            f"as many as rates ({len(rates)})",
            f"{len(weights)} weights",
        )
        set_field(self, "rates", rates)
        set_field(self, "weights", weights)


@description
class SharedBackground:
    """A pool of Poisson sources from which several units draw: units with a common source are correlated.

    It comes on top of the private background of each unit, which is the default.
    """

    rates: Given
    """Rate of each source, shape (sources,), Hz, >= 0."""
    weights: Given
    """Shape (units, sources), dense or one of scipy's sparse kinds, uS or nA; the sign says which synapse."""

    def __post_init__(self) -> None:
        """Validate."""
        rates = frozen_array(self.rates, "SharedBackground.rates", ndim=1)
        for k in np.flatnonzero(rates < 0):
            require(False, f"SharedBackground.rates[{k}]", ">= 0 Hz", float(rates[k]))
        weights = frozen_matrix(self.weights, "SharedBackground.weights")
        allowed = f"of shape (units, {len(rates)}), as many columns as rates"
        require(weights.shape[1] == len(rates), "SharedBackground.weights", allowed, weights.shape)
        set_field(self, "rates", rates)
        set_field(self, "weights", weights)


@description
class ReplayedBackground:
    """Recorded or simulated spike trains as background: event i comes from ``sources[i]`` at ``times[i]``.

    The recording starts again after ``duration``. Chain c is ``c * chain_shift`` ahead in it: with a shift of 0
    all chains hear the same and are not independent. An event falls into the time step that holds it.
    """

    times: Given
    """Time of each event, shape (events,), ms, in [0, duration)."""
    sources: Given
    """Source of each event, shape (events,), integers in 0 .. sources - 1."""
    duration: ms
    """Length of the recording, a multiple of dt."""
    weights: Given
    """Shape (units, sources), dense or one of scipy's sparse kinds, uS or nA; the sign says which synapse."""
    chain_shift: ms = 0.0
    """A multiple of dt, >= 0."""

    def __post_init__(self) -> None:
        """Validate."""
        set_number(self, "duration", above=0.0, unit="ms")
        set_number(self, "chain_shift", unit="ms")
        require(self.chain_shift >= 0, "ReplayedBackground.chain_shift", ">= 0 ms", self.chain_shift)
        times = frozen_array(self.times, "ReplayedBackground.times", ndim=1)
        sources = frozen_array(self.sources, "ReplayedBackground.sources", ndim=1)
        weights = frozen_matrix(self.weights, "ReplayedBackground.weights")
        count = weights.shape[1]
        require(
            len(sources) == len(times), "ReplayedBackground.sources", f"one a time ({len(times)})", len(sources)
        )
        for k in np.flatnonzero((times < 0) | (times >= self.duration))[:1]:
            allowed = f"in [0, duration = {self.duration:g} ms)"
            require(False, f"ReplayedBackground.times[{k}]", allowed, float(times[k]))
        wrong = (sources < 0) | (sources >= count) | (sources != np.round(sources))
        for k in np.flatnonzero(wrong)[:1]:
            allowed = f"an integer in 0 .. {count - 1}, a column of weights"
            require(False, f"ReplayedBackground.sources[{k}]", allowed, float(sources[k]))
        set_field(self, "times", times)
        set_field(self, "sources", frozen_array(sources, "ReplayedBackground.sources", ndim=1, dtype=np.int64))
        set_field(self, "weights", weights)


def synaptic_shares(neuron: Neuron, background: PoissonBackground) -> tuple[float, float]:
    """Return the shares of excitation and inhibition in the mean synaptic conductance (or absolute current)."""
    weights = np.asarray(background.weights)
    tau = np.where(weights >= 0, neuron.tau_syn_exc, neuron.tau_syn_inh)
    mean = np.asarray(background.rates) * np.abs(weights) * tau
    excitation, inhibition = float(np.sum(mean[weights > 0])), float(np.sum(mean[weights < 0]))
    balanced = excitation > 0 and inhibition > 0
    require(balanced, "balance", "of a background with excitation and inhibition", background.weights.tolist())
    return excitation / (excitation + inhibition), inhibition / (excitation + inhibition)


def with_balance(neuron: Neuron, background: PoissonBackground, balance: float) -> PoissonBackground:
    """Return the background with the share ``balance`` of its input moved from inhibition to excitation.

    The input is the mean synaptic conductance g_e + g_i (current-based: I_e + |I_i|). The rates of all
    excitatory sources grow by one factor, those of all inhibitory ones shrink by another, such that g_e grows by
    ``balance (g_e + g_i)`` and g_i shrinks by as much. So <G>, and with it tau_eff, stays as it is, and the mean
    potential is linear in ``balance``. The variance of S changes by ``balance (g_e + g_i) (w_e F_e^2 - w_i
    F_i^2)/2``, F the driving forces at threshold: by nothing where the two terms are equal, as in preset S1.

    Examples
    --------
    >>> from boltzspike.model.presets import S1
    >>> with_balance(S1.neuron, S1.background, 0.1).rates.round(1).tolist()
    [3600.0, 2400.0]
    """
    excitatory, inhibitory = synaptic_shares(neuron, background)
    allowed = f"between {-excitatory:.4g} (no excitation) and {inhibitory:.4g} (no inhibition)"
    require(-excitatory <= balance <= inhibitory, "balance", allowed, balance)
    factor = np.where(np.asarray(background.weights) >= 0, 1 + balance / excitatory, 1 - balance / inhibitory)
    # at the end of the range one of the factors is a rounding error away from 0
    return PoissonBackground(rates=background.rates * np.maximum(factor, 0.0), weights=background.weights)


def at_control(
    neuron: Neuron, background: PoissonBackground, control: Control, value: float
) -> tuple[Neuron, PoissonBackground]:
    """Return the neuron and its background with the bias variable set."""
    if control == "balance":
        return neuron, with_balance(neuron, background, float(value))
    return with_control(neuron, control, value), background
