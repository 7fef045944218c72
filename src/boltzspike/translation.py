"""From a Boltzmann machine to a spiking network: the translation rules.

A rule is one function ``(machine, calibration, synapse) -> SpikingNetwork`` and one line in ``RULES``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from boltzspike.calibration import Calibration
from boltzspike.errors import ValidationError, suggestion
from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import LIF
from boltzspike.model.synapse import Synapse
from boltzspike.theory.membrane import membrane_statistics
from boltzspike.theory.psp import interaction

Rule = Callable[[BoltzmannMachine, Calibration, Synapse], SpikingNetwork]


def translate(
    machine: BoltzmannMachine, calibration: Calibration, *, synapse: Synapse | None = None, rule: str = "psp"
) -> SpikingNetwork:
    """Translate a machine into a network of the calibrated neuron by the rule of that name."""
    if rule not in RULES:
        raise ValidationError(f"rule: no translation rule named {rule!r}{suggestion(rule, RULES)}")
    return RULES[rule](machine, calibration, synapse or Synapse())


def psp_rule(machine: BoltzmannMachine, calibration: Calibration, synapse: Synapse) -> SpikingNetwork:
    """Translate by the area of the post-synaptic potential (the rule of arXiv:1601.00909).

    The weight w is such that the PSP, averaged over the refractory period of the spike that caused it, moves the
    mean potential by ``alpha W``; the bias b moves it by ``alpha b``. Interactions of PSPs beyond the refractory
    period, and the change of the conductance by the input, are neglected.
    """
    return SpikingNetwork(
        neurons=[calibration.biased(float(b)) for b in np.asarray(machine.biases)],
        backgrounds=calibration.background,
        weights=synaptic_weights(np.asarray(machine.weights), calibration),
        synapse=synapse,
        names=machine.names,
    )


def synaptic_weights(couplings: Array, calibration: Calibration) -> Array:
    """Return the synaptic weights (uS or nA, signed) whose mean PSPs are the Boltzmann weights ``couplings``."""
    neuron = calibration.neuron
    tau_eff = membrane_statistics(neuron, calibration.background).tau_eff

    def per_weight(sign: float) -> float:
        jump = sign
        if isinstance(neuron, LIF):
            jump = (neuron.e_rev_exc if sign > 0 else neuron.e_rev_inh) - neuron.v_thresh
        tau_syn = neuron.tau_syn_exc if sign > 0 else neuron.tau_syn_inh
        return interaction(
            jump,
            alpha=calibration.alpha,
            c_m=neuron.c_m,
            tau_syn=tau_syn,
            tau_eff=tau_eff,
            tau_refrac=neuron.tau_refrac,
            kernel=neuron.kernel,
        )

    return np.where(couplings > 0, couplings / per_weight(1.0), -couplings / per_weight(-1.0))


RULES: dict[str, Rule] = {"psp": psp_rule}
