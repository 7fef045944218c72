"""Leaky integrate-and-fire neurons, conductance- and current-based, parameters named as in PyNN."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

from boltzspike.errors import require
from boltzspike.model.description import description, set_number
from boltzspike.units import ms, mV, nA, nF, uS

SynapticKernel = Literal["exponential", "alpha"]


@description
class RandomRefractory:
    """A refractory period drawn anew after each spike, with mean ``tau_refrac``; z is 1 for as long as it lasts.

    ``"uniform"``: within ``tau_refrac -+ sqrt(3) sd``. ``"normal"``: clipped to ``(0, 2 tau_refrac)``, which keeps
    the mean. On the time grid it is a whole number of steps, at least one.
    """

    law: Literal["uniform", "normal"] = "normal"
    """``"uniform"`` or ``"normal"``."""
    sd: ms
    """Standard deviation, > 0; at most ``tau_refrac / sqrt(3)`` (uniform) or ``tau_refrac`` (normal, of the law
    before it is clipped)."""

    def __post_init__(self) -> None:
        """Validate."""
        require(self.law in ("uniform", "normal"), "RandomRefractory.law", "'uniform' or 'normal'", self.law)
        set_number(self, "sd", above=0.0, unit="ms")


def _check_membrane(neuron: LIF | CurrentLIF) -> None:
    for field, unit in (("c_m", "nF"), ("tau_m", "ms"), ("tau_refrac", "ms")):
        set_number(neuron, field, above=0.0, unit=unit)
    for field in ("tau_syn_exc", "tau_syn_inh"):
        set_number(neuron, field, above=0.0, unit="ms")
    for field in ("v_rest", "v_reset", "v_thresh"):
        set_number(neuron, field, unit="mV")
    set_number(neuron, "i_offset", unit="nA")
    name = type(neuron).__name__
    require(
        neuron.v_reset < neuron.v_thresh, f"{name}.v_reset", f"< v_thresh = {neuron.v_thresh:g} mV", neuron.v_reset
    )
    law = neuron.refractory
    if law is not None:
        require(isinstance(law, RandomRefractory), f"{name}.refractory", "None or a RandomRefractory", law)
        most = neuron.tau_refrac / (math.sqrt(3) if law.law == "uniform" else 1)
        require(law.sd <= most, f"{name}.refractory.sd", f"at most {most:g} ms for law {law.law!r}", law.sd)
    require(neuron.kernel in ("exponential", "alpha"), f"{name}.kernel", "'exponential' or 'alpha'", neuron.kernel)


@description
class LIF:
    """Leaky integrate-and-fire neuron with conductance-based synapses.

    ``c_m dV/dt = g_l (v_rest - V) + g_e (e_rev_exc - V) + g_i (e_rev_inh - V) + i_offset``

    with ``g_l = c_m / tau_m``. An input spike of weight ``w`` adds ``w`` to ``g_e`` (or ``g_i``), which
    decays as ``exp(-t/tau_syn)``; with ``kernel="alpha"`` it adds ``w (t/tau_syn) exp(1 - t/tau_syn)``.
    At ``V >= v_thresh`` the neuron spikes and is held at ``v_reset`` for ``tau_refrac``; the conductances
    go on meanwhile. ``v_rest`` and ``i_offset`` act as the bias, so they may lie anywhere.
    """

    c_m: nF
    """Membrane capacitance, > 0."""
    tau_m: ms
    """Membrane time constant without input, > 0."""
    v_rest: mV
    """Leak potential."""
    v_reset: mV
    """Potential during the refractory period, < v_thresh."""
    v_thresh: mV
    """Spike threshold."""
    tau_refrac: ms
    """Refractory period, > 0: the time for which a spike codes z = 1."""
    tau_syn_exc: ms
    """Time constant of the excitatory conductance, > 0."""
    tau_syn_inh: ms
    """Time constant of the inhibitory conductance, > 0."""
    e_rev_exc: mV
    """Excitatory reversal potential, > v_thresh."""
    e_rev_inh: mV
    """Inhibitory reversal potential, < v_thresh."""
    i_offset: nA = 0.0
    """Constant current."""
    kernel: SynapticKernel = "exponential"
    """Shape of the synaptic conductance."""
    refractory: RandomRefractory | None = None
    """How the refractory period varies; ``None``: it is always ``tau_refrac``."""

    def __post_init__(self) -> None:
        """Validate."""
        _check_membrane(self)
        for field in ("e_rev_exc", "e_rev_inh"):
            set_number(self, field, unit="mV")
        above, below = f"> v_thresh = {self.v_thresh:g} mV", f"< v_thresh = {self.v_thresh:g} mV"
        require(self.e_rev_exc > self.v_thresh, "LIF.e_rev_exc", above, self.e_rev_exc)
        require(self.e_rev_inh < self.v_thresh, "LIF.e_rev_inh", below, self.e_rev_inh)

    @property
    def g_l(self) -> uS:
        """Leak conductance ``c_m / tau_m``."""
        return self.c_m / self.tau_m


@description
class CurrentLIF:
    """Leaky integrate-and-fire neuron with current-based synapses.

    ``c_m dV/dt = g_l (v_rest - V) + I_e + I_i + i_offset``

    An input spike of weight ``w`` (nA; negative: inhibitory) adds ``w`` to its current, which decays as
    ``exp(-t/tau_syn)``; all else as in ``LIF``.
    """

    c_m: nF
    """Membrane capacitance, > 0."""
    tau_m: ms
    """Membrane time constant, > 0."""
    v_rest: mV
    """Leak potential."""
    v_reset: mV
    """Potential during the refractory period, < v_thresh."""
    v_thresh: mV
    """Spike threshold."""
    tau_refrac: ms
    """Refractory period, > 0: the time for which a spike codes z = 1."""
    tau_syn_exc: ms
    """Time constant of the excitatory current, > 0."""
    tau_syn_inh: ms
    """Time constant of the inhibitory current, > 0."""
    i_offset: nA = 0.0
    """Constant current."""
    kernel: SynapticKernel = "exponential"
    """Shape of the synaptic current."""
    refractory: RandomRefractory | None = None
    """How the refractory period varies; ``None``: it is always ``tau_refrac``."""

    def __post_init__(self) -> None:
        """Validate."""
        _check_membrane(self)

    @property
    def g_l(self) -> uS:
        """Leak conductance ``c_m / tau_m``."""
        return self.c_m / self.tau_m


Neuron = LIF | CurrentLIF
Control = Literal["v_rest", "i_offset", "balance"]
CONTROL_UNITS: dict[Control, str] = {"v_rest": "mV", "i_offset": "nA", "balance": "of the input"}
"""The bias variables: two of the neuron, and the balance of its background (``model.background.with_balance``)."""


def with_control(neuron: Neuron, control: Control, value: float) -> Neuron:
    """Return the neuron with its bias variable, v_rest or i_offset, set."""
    values: dict[str, Any] = {control: float(value)}
    return dataclasses.replace(neuron, **values)
