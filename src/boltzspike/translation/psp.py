"""From Boltzmann units to physical ones: a weight is a mean PSP, a bias is a shift of the mean potential."""

from __future__ import annotations

import numpy as np

from boltzspike.calibration import Calibration
from boltzspike.model.description import Array
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import LIF
from boltzspike.model.synapse import Synapse
from boltzspike.theory.membrane import membrane_statistics
from boltzspike.theory.psp import interaction


def network_of(
    weights: Array,
    biases: Array,
    calibration: Calibration,
    synapse: Synapse,
    names: tuple[str, ...] | None = None,
) -> SpikingNetwork:
    """Return the network whose mean PSPs are ``weights`` and whose neurons are biased by ``biases``.

    The synaptic weight is such that the PSP, averaged over the refractory period of the spike that caused it,
    moves the mean potential by ``alpha W``; the bias b moves it by ``alpha b`` (arXiv:1601.00909). Interactions of
    PSPs beyond the refractory period, and the change of the conductance by the input, are neglected. ``weights``
    may be asymmetric.
    """
    return SpikingNetwork(
        neurons=[calibration.biased(float(b)) for b in biases],
        backgrounds=[calibration.background_at(float(b)) for b in biases],
        weights=synaptic_weights(weights, calibration, teeth=synapse.teeth),
        synapse=synapse,
        names=names,
    )


def synaptic_weights(couplings: Array, calibration: Calibration, *, teeth: int | None = None) -> Array:
    """Return the synaptic weights (uS or nA, signed) whose mean PSPs are the Boltzmann weights ``couplings``.

    ``teeth``, as in ``Synapse``, shape the PSP: the weight is that of a coupling's first synapse.
    """
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
            teeth=teeth,
        )

    return np.where(couplings > 0, couplings / per_weight(1.0), -couplings / per_weight(-1.0))
