"""What evidence by held neurons demands of the biases: that the others are on as often as those of the target.

A neuron that is held drives its neighbours steadily, which weights made for neurons that come and go do not allow
for. The weights stay, as evidence changes faster than synapses do; under each evidence biases of its own take up
what is missing: ``E[z_k - sigma(u_k)] = 0`` for every free unit, in states that the network itself visits, as in
``Conditionals``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from scipy.special import expit

from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.translation.tuned import RIDGE


class HeldConditionals:
    """The demand that free units are on as often as those of the target, given the others and the held ones."""

    error_name = "D_KL of the conditionals"

    def __init__(self, machine: BoltzmannMachine, held: Collection[int]) -> None:
        """Take the target and the units that are held."""
        self.weights = np.asarray(machine.weights, dtype=np.float32)
        self.biases = np.asarray(machine.biases, dtype=np.float32)
        self.free = ~np.isin(np.arange(machine.n_units), list(held))

    def directions(self, groups: Sequence[Array]) -> tuple[Array, Array]:
        """Return of each group what is missing, and the step of the biases that supplies it, (groups, n) both."""
        gaps, slopes = [], []
        for states in groups:
            z = states.astype(np.float32)
            chance = expit(z @ self.weights + self.biases)
            gaps.append(np.where(self.free, (chance - z).mean(axis=0, dtype=np.float64), 0.0))
            slopes.append((chance * (1 - chance)).mean(axis=0, dtype=np.float64))
        gap = np.stack(gaps)
        return gap, gap / (np.mean(slopes, axis=0) + RIDGE)

    def split(self, vector: Array) -> tuple[Array, Array]:
        """Return a step as biases (n,) and weights (n, n), which stay as they are."""
        return vector, np.zeros_like(self.weights)
