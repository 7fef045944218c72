"""What a translation rule returns."""

from __future__ import annotations

import numpy as np

from boltzspike.calibration import Calibration
from boltzspike.errors import require
from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Given, Saved, description, frozen_array, set_field
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.synapse import Synapse
from boltzspike.translation.psp import network_of


@description
class Translation(Saved):
    """A target, and the parameters with which networks of one neuron sample it."""

    machine: BoltzmannMachine
    """The target."""
    calibration: Calibration
    synapse: Synapse
    rule: str
    effective_weights: Given
    """Weights handed to the neurons, in Boltzmann units: mean PSP / alpha, shape (n, n)."""
    effective_biases: Given
    """Biases handed to the neurons: shift of the mean potential / alpha, shape (n,)."""
    predicted_error: float | None = None
    """D_KL that the rule expects, where it can tell."""
    notes: tuple[str, ...] = ()
    """What the rule did, in sentences."""
    warnings: tuple[str, ...] = ()
    """Why the result may be worse than the rule promises, with numbers."""

    def __post_init__(self) -> None:
        """Validate."""
        n = self.machine.n_units
        for field, ndim in (("effective_weights", 2), ("effective_biases", 1)):
            values = frozen_array(getattr(self, field), f"Translation.{field}", ndim=ndim)
            require(values.shape == (n,) * ndim, f"Translation.{field}", f"of shape {(n,) * ndim}", values.shape)
            set_field(self, field, values)
        for field in ("notes", "warnings"):
            set_field(self, field, tuple(getattr(self, field)))

    @property
    def network(self) -> SpikingNetwork:
        """The spiking network, in physical units."""
        weights, biases = np.asarray(self.effective_weights), np.asarray(self.effective_biases)
        return network_of(weights, biases, self.calibration, self.synapse, names=self.machine.names)
