"""The synaptic bombardment that makes a deterministic neuron stochastic."""

from __future__ import annotations

import numpy as np

from boltzspike.errors import require
from boltzspike.model.description import Given, description, frozen_array, set_field


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
