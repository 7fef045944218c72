"""A network made ready for an engine: read-only arrays in fixed units (ms, mV, nF, uS, nA), and the time grid.

The grid defines what every engine must do in step i, which leads from time i dt to (i + 1) dt:

1. *Arrivals.* Background events of the step, and the spikes emitted ``delay_steps`` + 1 steps before, raise
   the synaptic variables at time i dt. A spike is stamped with the end of its step, so a target feels it
   ``delay_steps`` steps after its stamp.
2. *Membrane.* A free neuron's potential follows its equation exactly for one step, with the synaptic
   variables at their mean over the step (they follow their own equation exactly within it).
3. *Threshold.* A free neuron at or above threshold emits a spike stamped (i + 1) dt and goes to v_reset.
   After a spike in step s it is held for ``refractory_steps`` - 1 steps and is free again in step
   s + ``refractory_steps``: the shortest interval between two spikes is exactly ``refractory_steps`` steps.
4. *Decay.* The synaptic variables advance by one step.

The *state* recorded after step i (at time (i + 1) dt) is z = 1 for every unit that spiked in the last
``refractory_steps`` steps, step i included. So z is 1 for exactly ``refractory_steps`` steps a spike, and a
neuron that fires at every chance has p(z=1) = 1 without gaps.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from boltzspike.errors import require
from boltzspike.model.boltzmann import Array
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import LIF
from boltzspike.theory.membrane import membrane_statistics
from boltzspike.units import per_ms

FREE = -1
MAX_EVENTS_PER_STEP = 1e4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Program:
    """A compiled network; all arrays are read-only. Shapes: n units, s background sources."""

    names: tuple[str, ...]
    dt: float
    features: frozenset[str]
    refractory_steps: Array
    """Shape (n,), int64."""
    delay_steps: int
    c_m: Array
    g_l: Array
    v_rest: Array
    v_reset: Array
    v_thresh: Array
    i_offset: Array
    e_rev_exc: Array
    """Shape (n,), mV; NaN for current-based synapses."""
    e_rev_inh: Array
    tau_syn_exc: Array
    tau_syn_inh: Array
    weights: Array
    """Shape (n, n), [target, source], uS or nA, the sign says which synapse."""
    background_rates: Array
    """Shape (n, s), 1/ms; units with fewer sources are padded with rate 0."""
    background_weights: Array
    """Shape (n, s), uS or nA, the sign says which synapse."""
    clamp: Array
    """Shape (n,), int8: 0 never spikes, 1 spikes at every chance, -1 free."""

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.refractory_steps)

    @property
    def conductance_based(self) -> bool:
        """Whether the synapses are conductances (else currents)."""
        return "conductance" in self.features

    @property
    def alpha(self) -> bool:
        """Whether the synaptic kernel is an alpha function (else exponential)."""
        return "alpha" in self.features

    @property
    def renewing(self) -> bool:
        """Whether a spike renews the trace of its synapse (else adds to it)."""
        return "renewing" in self.features

    def mean_input(self) -> tuple[Array, Array]:
        """Return what the background feeds into excitation and inhibition on average, (n,) each, uS or nA.

        It is the mean of an exponential synapse, and e times it that of an alpha synapse.
        """
        drive = self.background_rates * self.background_weights
        exciting, inhibiting = np.maximum(drive, 0).sum(axis=1), np.maximum(-drive, 0).sum(axis=1)
        return self.tau_syn_exc * exciting, self.tau_syn_inh * inhibiting

    def with_values(self, **values: Any) -> Program:
        """Return the program with some of its values replaced; structure (features, steps) can't be."""
        allowed = {"v_rest", "i_offset", "weights", "background_rates", "background_weights"}
        for name, value in values.items():
            require(name in allowed, f"Program.{name}", f"one of the values {sorted(allowed)}", name)
            shape = getattr(self, name).shape
            require(np.shape(value) == shape, f"Program.{name}", f"of shape {shape}", np.shape(value))
        frozen: dict[str, Any] = {name: _frozen(value) for name, value in values.items()}
        return dataclasses.replace(self, **frozen)


def compile_program(network: SpikingNetwork, *, dt: float = 0.1, clamp: dict[int, int] | None = None) -> Program:
    """Compile a network on a time grid.

    Parameters
    ----------
    network
        The network.
    dt
        Time step in ms. It must divide every ``tau_refrac`` and the delay, and must not exceed the
        smallest mean effective membrane time constant: beyond it a step no longer resolves the membrane.
    clamp
        Units that are held: ``{unit: 0 or 1}``. A unit held at 1 spikes at every chance, one at 0 never.

    Raises
    ------
    ValidationError
        Where dt does not fit the network.
    """
    require(isinstance(dt, int | float) and np.isfinite(dt) and dt > 0, "dt", "> 0 ms", dt)
    neurons, backgrounds, n = network.neurons, network.backgrounds, network.n_units
    conductance = isinstance(neurons[0], LIF)

    def gather(field: str, default: float = np.nan) -> Array:
        return _frozen([getattr(neuron, field, default) for neuron in neurons])

    for neuron, background in {(id(a), id(b)): (a, b) for a, b in zip(neurons, backgrounds)}.values():
        tau_eff = membrane_statistics(neuron, background).tau_eff
        allowed = f"at most the effective membrane time constant tau_eff = {tau_eff:.3g} ms"
        require(dt <= tau_eff * (1 + 1e-9), "dt", allowed, dt)
        tau_syn = min(neuron.tau_syn_exc, neuron.tau_syn_inh)
        require(dt <= tau_syn / 2, "dt", f"at most half of the shortest tau_syn = {tau_syn:g} ms", dt)

    refractory = np.array([steps_of(neuron.tau_refrac, dt, "tau_refrac") for neuron in neurons], dtype=np.int64)
    delay = dt if network.synapse.delay is None else network.synapse.delay

    sources = max(len(background.rates) for background in backgrounds)
    rates, source_weights = np.zeros((n, sources)), np.zeros((n, sources))
    for k, background in enumerate(backgrounds):
        rates[k, : len(background.rates)] = per_ms(np.asarray(background.rates))
        source_weights[k, : len(background.weights)] = background.weights
    busiest = float(rates.max(initial=0.0)) * dt
    require(
        busiest <= MAX_EVENTS_PER_STEP,
        "PoissonBackground.rates",
        f"at most {MAX_EVENTS_PER_STEP:g} events a step of {dt:g} ms",
        f"{busiest:g} events",
    )

    held = np.full(n, FREE, dtype=np.int8)
    for unit, value in (clamp or {}).items():
        held[unit] = value

    features = {"conductance" if conductance else "current", network.synapse.plasticity}
    if neurons[0].kernel != "exponential":
        features.add("alpha")
    if clamp:
        features.add("clamp")
    return Program(
        names=tuple(network.names or ()),
        dt=float(dt),
        features=frozenset(features),
        refractory_steps=_frozen(refractory),
        delay_steps=steps_of(delay, dt, "Synapse.delay"),
        c_m=gather("c_m"),
        g_l=gather("g_l"),
        v_rest=gather("v_rest"),
        v_reset=gather("v_reset"),
        v_thresh=gather("v_thresh"),
        i_offset=gather("i_offset"),
        e_rev_exc=gather("e_rev_exc"),
        e_rev_inh=gather("e_rev_inh"),
        tau_syn_exc=gather("tau_syn_exc"),
        tau_syn_inh=gather("tau_syn_inh"),
        weights=network.weights,
        background_rates=_frozen(rates),
        background_weights=_frozen(source_weights),
        clamp=_frozen(held),
    )


def steps_of(time: float, dt: float, name: str) -> int:
    """Return how many steps of dt make ``time``, or raise: it must be a whole number of at least one."""
    steps = round(time / dt)
    allowed = f"a multiple of dt = {dt:g} ms, at least dt"
    require(steps >= 1 and abs(steps * dt - time) <= 1e-6 * dt * max(steps, 1), name, allowed, time)
    return steps


def _frozen(values: Any) -> Array:
    array = np.array(values)
    array.setflags(write=False)
    return array
