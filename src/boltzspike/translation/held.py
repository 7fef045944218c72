"""What evidence by held neurons demands of the biases: that the others are on as often as those of the target.

A neuron that is held drives its neighbours steadily, which weights made for neurons that come and go do not allow
for. The weights stay, as evidence changes faster than synapses do; under each evidence biases of its own take up
what is missing: ``E[z_k - sigma(u_k)] = 0`` for every free unit, in states that the network itself visits, as in
``Conditionals``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.translation.conditionals import Conditionals
from boltzspike.translation.tuned import RIDGE


class HeldConditionals(Conditionals):
    """The demand that free units are on as often as those of the target, given the others and the held ones."""

    def __init__(self, machine: BoltzmannMachine, held: Collection[int]) -> None:
        """Take the target and the units that are held."""
        super().__init__(machine, np.zeros((machine.n_units, machine.n_units), dtype=bool))
        self.free = ~np.isin(np.arange(machine.n_units), list(held))

    def directions(self, groups: Sequence[Array]) -> tuple[Array, Array]:
        """Return of each group what is missing, and the step of the biases that supplies it, (groups, n) both."""
        gaps, slopes = [], []
        for states in groups:
            z = states.astype(np.float32)
            chances = self.chances(z)
            gaps.append(np.where(self.free, (chances - z).mean(axis=0, dtype=np.float64), 0.0))
            slopes.append((chances * (1 - chances)).mean(axis=0, dtype=np.float64))
        gap = np.stack(gaps)
        return gap, gap / (np.mean(slopes, axis=0) + RIDGE)
