"""The recurrent synapse between two sampling neurons."""

from __future__ import annotations

from typing import Literal

from boltzspike.errors import require
from boltzspike.model.description import description, set_number
from boltzspike.units import ms

Plasticity = Literal["renewing", "additive"]


@description
class Synapse:
    """How a spike of one sampling neuron acts on another.

    ``renewing``: a spike sets the trace of its synapse back to its full value, whatever was left of the
    spike before (Tsodyks-Markram with U = 1, tau_rec = tau_syn, no facilitation): after an interval T the
    increment is ``w (1 - exp(-T/tau_syn))``. ``additive``: every spike adds ``w``.
    """

    plasticity: Plasticity = "renewing"
    """``"renewing"`` or ``"additive"``."""
    delay: ms | None = None
    """From the spike to its arrival, a multiple of dt and at least dt; ``None``: one dt."""

    def __post_init__(self) -> None:
        """Validate."""
        require(
            self.plasticity in ("renewing", "additive"),
            "Synapse.plasticity",
            "'renewing' or 'additive'",
            self.plasticity,
        )
        if self.delay is not None:
            set_number(self, "delay", above=0.0, unit="ms")
