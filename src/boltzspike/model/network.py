"""The spiking network: what a target becomes, in physical units."""

from __future__ import annotations

from dataclasses import field

import numpy as np

from boltzspike.errors import require
from boltzspike.model.background import PoissonBackground
from boltzspike.model.description import Given, Saved, description, frozen_array, set_field, unit_names
from boltzspike.model.neuron import LIF, CurrentLIF
from boltzspike.model.synapse import Synapse


@description
class SpikingNetwork(Saved):
    """LIF neurons under private bombardment, coupled by recurrent synapses.

    Each neuron carries its own bias (``v_rest`` or ``i_offset``). ``weights[k, j]`` goes from neuron j to
    neuron k; its sign says which synapse of k it drives. Asymmetric weights are allowed.
    """

    neurons: Given
    """One neuron a unit, all of one type; a single one stands for all."""
    backgrounds: Given
    """One background a unit; a single one stands for all."""
    weights: Given
    """Recurrent weights, shape (units, units), [target, source], uS or nA, zero diagonal."""
    synapse: Synapse = field(default_factory=Synapse)
    """The recurrent synapse."""
    names: Given = None
    """Names of the units."""

    def __post_init__(self) -> None:
        """Validate."""
        weights = frozen_array(self.weights, "SpikingNetwork.weights", ndim=2)
        n = len(weights)
        require(weights.shape == (n, n), "SpikingNetwork.weights", "square", weights.shape)
        for k in np.flatnonzero(np.diagonal(weights)):
            require(False, f"SpikingNetwork.weights[{k}, {k}]", "0 (no autapse)", float(weights[k, k]))
        neurons = (self.neurons,) * n if isinstance(self.neurons, LIF | CurrentLIF) else tuple(self.neurons)
        backgrounds = self.backgrounds
        backgrounds = (backgrounds,) * n if isinstance(backgrounds, PoissonBackground) else tuple(backgrounds)
        require(len(neurons) == n, "SpikingNetwork.neurons", f"one a unit ({n})", f"{len(neurons)} neurons")
        require(len(backgrounds) == n, "SpikingNetwork.backgrounds", f"one a unit ({n})", len(backgrounds))
        kinds = {(type(neuron).__name__, neuron.kernel) for neuron in neurons}
        require(len(kinds) <= 1, "SpikingNetwork.neurons", "of one type and one kernel", sorted(kinds))
        set_field(self, "weights", weights)
        set_field(self, "neurons", neurons)
        set_field(self, "backgrounds", backgrounds)
        set_field(self, "names", unit_names(self.names, n, "SpikingNetwork"))

    @property
    def n_units(self) -> int:
        """Number of neurons."""
        return len(self.weights)
