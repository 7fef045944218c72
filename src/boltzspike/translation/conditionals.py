"""What tuning demands of a network of which nothing is known but the target's parameters: its conditionals.

Under the target a unit is on with probability sigma(u_k), u_k = b_k + sum_j W_kj z_j, given the others. So
whatever their states, ``E[(z_k - sigma(u_k)) x] = 0`` for any function x of them. Demanded for x = 1 and
x = z_j of the coupled units, both ends of a coupling added up, these are the conditions under which the target is
the maximum pseudo-likelihood estimate from the network's states (J. Besag, "Statistical analysis of non-lattice
data", The Statistician 24, 179 (1975)): where the network's law is a Boltzmann machine, it is the target.

Neither moments of the target nor samples of it are needed, only states that the network itself visits. The
parameters of the network's law are off by ``H^-1 E[(z_k - sigma(u_k)) x]`` to first order, with the curvature
``H = sum_k E[sigma'(u_k) x x^T]``, and ``g H^-1 g / 2`` is to second order the sum over the units of the expected
D_KL between their conditionals.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.special import expit

from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.translation.tuned import RIDGE, Couplings, solver

_CURVATURE_STATES = 2**14
"""States over which the curvature is averaged; it only sets the steps and the weights of the error."""


class Conditionals(Couplings):
    """The demand that units behave, given the others, as those of the target."""

    error_name = "D_KL of the conditionals"

    def __init__(self, machine: BoltzmannMachine, coupled: Array) -> None:
        """Take the target, and the pairs whose couplings may move, symmetric (n, n)."""
        super().__init__(coupled)
        self.weights = np.asarray(machine.weights, dtype=np.float32)
        self.biases = np.asarray(machine.biases, dtype=np.float32)

    def directions(self, groups: Sequence[Array]) -> tuple[Array, Array]:
        """Return of each group what is missing, and the step that would supply it, both (groups, parameters)."""
        gaps = np.stack([self._missing(states) for states in groups])
        number = sum(len(states) for states in groups)
        every = -(-number // _CURVATURE_STATES)
        solve = solver(self._curvature(np.concatenate([states[::every] for states in groups])))
        return gaps, np.stack([solve(gap) for gap in gaps])

    def chances(self, z: Array) -> Array:
        """Return each unit's chance to be on given the others' states, both (m, n)."""
        return np.asarray(expit(z @ self.weights + self.biases))

    def _missing(self, states: Array) -> Array:
        z = states.astype(np.float32)
        excess = z - self.chances(z)
        with_others = (excess.T @ z).astype(np.float64) / len(z)
        return -self.vector(excess.mean(axis=0, dtype=np.float64), with_others + with_others.T)

    def _curvature(self, states: Array) -> csr_array:
        z = states.astype(np.float32)
        chances = self.chances(z)
        slopes = np.ascontiguousarray((chances * (1 - chances) / len(z)).T)
        of_unit = np.ascontiguousarray(z.T)
        rows, columns, values = [], [], []
        for k, slope in enumerate(slopes):
            others = np.flatnonzero(self.number_of[k])
            x = np.concatenate([np.ones((1, len(z)), dtype=np.float32), of_unit[others]])
            parameters = np.concatenate([[k], self.number_of[k, others]])
            block = (x * slope) @ x.T
            rows.append(np.repeat(parameters, len(parameters)))
            columns.append(np.tile(parameters, len(parameters)))
            values.append(block.ravel().astype(np.float64))
        every = np.arange(self.size)
        rows, columns = np.concatenate([*rows, every]), np.concatenate([*columns, every])
        entries = np.concatenate([*values, np.full(self.size, RIDGE)])
        return csr_array(coo_array((entries, (rows, columns)), shape=(self.size, self.size)))
