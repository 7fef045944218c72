"""The target: a Boltzmann machine over binary units, and its restricted form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from boltzspike.errors import ValidationError, require, suggestion
from boltzspike.model.description import Array, Given, Saved, description, frozen_array, set_field, unit_names

if TYPE_CHECKING:
    from boltzspike.model.network import SpikingNetwork


@description
class BoltzmannMachine(Saved):
    """Distribution over z in {0, 1}^n: ``p(z) ~ exp(z^T W z / 2 + b^T z)``, W symmetric with zero diagonal."""

    weights: Given
    """Couplings W, shape (n, n), symmetric, zero diagonal, dimensionless."""
    biases: Given
    """Biases b, shape (n,), dimensionless."""
    names: Given = None
    """Names of the units; ``None``: z0, z1, ..."""

    def __post_init__(self) -> None:
        """Validate."""
        weights = frozen_array(self.weights, "BoltzmannMachine.weights", ndim=2)
        biases = frozen_array(self.biases, "BoltzmannMachine.biases", ndim=1)
        n = len(biases)
        require(n > 0, "BoltzmannMachine.biases", "at least one unit", "none")
        require(weights.shape == (n, n), "BoltzmannMachine.weights", f"of shape ({n}, {n})", weights.shape)
        for k in np.flatnonzero(np.diagonal(weights)):
            require(False, f"BoltzmannMachine.weights[{k}, {k}]", "0 (no self-coupling)", float(weights[k, k]))
        if not np.array_equal(weights, weights.T):  # else nothing of its size is needed besides
            for k, j in np.argwhere(~np.isclose(weights, weights.T, rtol=1e-9, atol=1e-12)):
                allowed = f"symmetric, equal to weights[{j}, {k}] = {weights[j, k]:g}"
                require(False, f"BoltzmannMachine.weights[{k}, {j}]", allowed, float(weights[k, j]))
            weights = (weights + weights.T) / 2
            weights.setflags(write=False)
        set_field(self, "weights", weights)
        set_field(self, "biases", biases)
        set_field(self, "names", unit_names(self.names, n, "BoltzmannMachine"))

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.biases)

    def energy(self, states: Array) -> Array:
        """Return ``E(z) = -(z^T W z / 2 + b^T z)`` of states of shape (..., n)."""
        z = np.asarray(states, dtype=np.float64)
        return -(np.einsum("...i,...i", z @ self.weights, z) / 2 + z @ self.biases)

    def given(self, clamp: Mapping[int, int]) -> tuple[BoltzmannMachine, Array]:
        """Return the machine of the free units under evidence, and their indices in this one.

        A unit clamped to 1 adds its weights to the biases of its neighbours; one clamped to 0 drops out.
        """
        free = _free_units(self.n_units, clamp)
        state = np.zeros(self.n_units)
        state[list(clamp)] = list(clamp.values())
        machine = BoltzmannMachine(
            weights=self.weights[np.ix_(free, free)],
            biases=(self.biases + self.weights @ state)[free],
            names=[self.names[k] for k in free],
        )
        return machine, free

    def to_boltzmann(self) -> BoltzmannMachine:
        """Return the machine itself: what an RBM has to be turned into."""
        return self


@description
class RestrictedBoltzmannMachine(Saved):
    """Bipartite Boltzmann machine: ``p(v, h) ~ exp(v^T W h + b^T v + c^T h)``, units ordered (v, h)."""

    weights: Given
    """Couplings W, shape (visible, hidden)."""
    visible_biases: Given
    """Biases b, shape (visible,)."""
    hidden_biases: Given
    """Biases c, shape (hidden,)."""
    names: Given = None
    """Names of all units, the visible ones first; ``None``: v0, ..., h0, ..."""

    def __post_init__(self) -> None:
        """Validate."""
        name = type(self).__name__
        weights = frozen_array(self.weights, f"{name}.weights", ndim=2)
        visible = frozen_array(self.visible_biases, f"{name}.visible_biases", ndim=1)
        hidden = frozen_array(self.hidden_biases, f"{name}.hidden_biases", ndim=1)
        shape = (len(visible), len(hidden))
        require(min(shape) > 0, f"{name}.weights", "of at least one visible and one hidden unit", shape)
        require(weights.shape == shape, f"{name}.weights", f"of shape {shape}", weights.shape)
        names = self.names
        if names is None:
            names = unit_names(None, shape[0], name, "v") + unit_names(None, shape[1], name, "h")
        set_field(self, "weights", weights)
        set_field(self, "visible_biases", visible)
        set_field(self, "hidden_biases", hidden)
        set_field(self, "names", unit_names(names, sum(shape), name))

    @property
    def n_visible(self) -> int:
        """Number of visible units."""
        return len(self.visible_biases)

    @property
    def n_units(self) -> int:
        """Number of all units."""
        return len(self.visible_biases) + len(self.hidden_biases)

    def given(self, clamp: Mapping[int, int]) -> tuple[Machine, Array]:
        """Return the machine of the free units under evidence, and their indices in this one.

        It is again restricted, unless the evidence takes a whole layer.
        """
        free = _free_units(self.n_units, clamp)
        n_free_visible = int(np.sum(free < self.n_visible))
        if n_free_visible in (0, len(free)):
            return self.to_boltzmann().given(clamp)
        state = np.zeros(self.n_units)
        state[list(clamp)] = list(clamp.values())
        visible, hidden = free[:n_free_visible], free[n_free_visible:] - self.n_visible
        weights = np.asarray(self.weights)
        machine = RestrictedBoltzmannMachine(
            weights=weights[np.ix_(visible, hidden)],
            visible_biases=(self.visible_biases + weights @ state[self.n_visible :])[visible],
            hidden_biases=(self.hidden_biases + weights.T @ state[: self.n_visible])[hidden],
            names=[self.names[k] for k in free],
        )
        return machine, free

    def to_boltzmann(self) -> BoltzmannMachine:
        """Return the same distribution as a general Boltzmann machine, units ordered (v, h)."""
        weights = np.zeros((self.n_units, self.n_units))
        weights[: self.n_visible, self.n_visible :] = self.weights
        weights += weights.T
        biases = np.concatenate([self.visible_biases, self.hidden_biases])
        return BoltzmannMachine(weights=weights, biases=biases, names=self.names)


Machine = BoltzmannMachine | RestrictedBoltzmannMachine


def _free_units(n_units: int, clamp: Mapping[int, int]) -> Array:
    free = np.setdiff1d(np.arange(n_units), list(clamp))
    require(len(free) > 0, "clamp", f"fewer than all {n_units} units", f"{len(clamp)} units")
    return free


def clamp_indices(machine: Machine | SpikingNetwork, clamp: Mapping[int | str, int]) -> dict[int, int]:
    """Return ``clamp`` with unit names replaced by indices and each value checked to be 0 or 1."""
    names = list(machine.names or ())
    indexed: dict[int, int] = {}
    for unit, value in clamp.items():
        if isinstance(unit, str) and unit in names:
            index = names.index(unit)
        elif isinstance(unit, str):
            raise ValidationError(f"clamp: no unit named {unit!r}{suggestion(unit, names)}")
        else:
            require(0 <= int(unit) < len(names), "clamp", f"of units 0..{len(names) - 1}", unit)
            index = int(unit)
        require(index not in indexed, f"clamp[{unit!r}]", "given once", "twice")
        require(value in (0, 1), f"clamp[{unit!r}]", "0 or 1", value)
        indexed[index] = int(value)
    return indexed
