"""The working point of a target: states with their probabilities, over which the rules average."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from boltzspike.errors import require
from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.theory.exact import all_states, exact_joint

ENUMERATED_UNITS = 14


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WorkingPoint:
    """States of a machine and their probabilities: all of them, or samples."""

    states: Array
    """Shape (m, n)."""
    probabilities: Array
    """Shape (m,), summing to 1."""
    source: str
    """``"enumeration"``, or the sampler and its length."""

    @staticmethod
    def of_samples(states: Array, source: str) -> WorkingPoint:
        """Return the point that samples (m, n) stand for."""
        return WorkingPoint(states=states, probabilities=np.full(len(states), 1 / len(states)), source=source)

    def marginals(self) -> Array:
        """Return p(z=1), shape (n,)."""
        return np.asarray(self.probabilities @ self.states)

    def undecided(self, machine: BoltzmannMachine) -> Undecided:
        """Return averages over states, weighted for unit k by p_k (1 - p_k) given the others."""
        z = np.asarray(self.states, dtype=np.float64)
        field = z @ np.asarray(machine.weights) + np.asarray(machine.biases)
        chance = expit(field)
        # a unit that is certain in every state gets plain averages
        alive = chance * (1 - chance)
        weight = self.probabilities[:, None] * np.maximum(alive, 1e-30)
        p = self.probabilities @ chance
        total = weight.sum(axis=0)
        return Undecided(
            neighbours=(weight.T @ z) / total[:, None],
            field=(weight * field).sum(axis=0) / total,
            square=(weight * field**2).sum(axis=0) / total,
            chance=(weight.T @ chance) / total[:, None],
            alive=(weight.T @ alive) / total[:, None],
            alive_square=(weight.T @ alive**2) / total[:, None],
            share=(self.probabilities @ alive) / np.maximum(p * (1 - p), 1e-30),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Undecided:
    """Averages over the states of the others in which unit k is undecided."""

    neighbours: Array
    """[k, j]: mean of z_j, shape (n, n)."""
    field: Array
    """Mean of u_k = b_k + sum_j W_kj z_j, shape (n,)."""
    square: Array
    """Mean of u_k^2, shape (n,)."""
    chance: Array
    """[k, j]: mean of p_j given the others, shape (n, n)."""
    alive: Array
    """[k, j]: mean of p_j (1 - p_j) given the others, shape (n, n)."""
    alive_square: Array
    """[k, j]: mean of its square, shape (n, n)."""
    share: Array
    """Mean of p_k (1 - p_k) given the others, over p_k (1 - p_k): 1 for a free unit, 0 for one that only follows
    the others and so keeps its state for long; over all states, shape (n,)."""


StatesOf = Callable[[BoltzmannMachine], WorkingPoint]
"""How a rule comes by the working point of its target."""


def enumerated(machine: BoltzmannMachine) -> WorkingPoint:
    """Return all states with their exact probabilities."""
    allowed = f"of at most {ENUMERATED_UNITS} units; give states_of a sampler for larger ones"
    require(machine.n_units <= ENUMERATED_UNITS, "working point", allowed, machine.n_units)
    return WorkingPoint(
        states=all_states(machine.n_units), probabilities=exact_joint(machine), source="enumeration"
    )
