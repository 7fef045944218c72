"""Ground states of quantum spin chains by variational learning: a machine's law as the square of a wave function.

``H = -J sum_k s_k s_(k+1) - field sum_k sigma^x_k`` has no sign problem in this basis: its ground state is
``psi(v) = sqrt(p(v))`` with a law p of 2^n states, s = 2 v - 1. An RBM's visible units stand for the spins. R.
Klassert, A. Baumbach, M. A. Petrovici and M. Gaerttner, "Variational learning of quantum ground states on spiking
neuromorphic hardware", iScience 25, 104707 (2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from boltzspike.errors import require
from boltzspike.model.description import Array
from boltzspike.theory.tables import all_states
from boltzspike.training.measures import log_weights
from boltzspike.training.models import Model, restricted

MAX_SPINS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class TransverseIsing:
    """Chain of spins in a transverse field; energies in units of the coupling."""

    spins: int
    field: float
    """1: the critical field of the infinite chain."""
    coupling: float = 1.0
    periodic: bool = True

    def __post_init__(self) -> None:
        """Validate."""
        require(2 <= self.spins <= MAX_SPINS, "TransverseIsing.spins", f"in 2 .. {MAX_SPINS}", self.spins)
        require(bool(np.isfinite(self.field)) and self.field >= 0, "TransverseIsing.field", ">= 0", self.field)

    def diagonal(self) -> Array:
        """Return the energy of the couplings in every state, (2^n,), spin 0 the most significant bit."""
        s = 2.0 * all_states(self.spins) - 1
        pairs = (s[:, :-1] * s[:, 1:]).sum(axis=1)
        if self.periodic:
            pairs = pairs + s[:, -1] * s[:, 0]
        return np.asarray(-self.coupling * pairs)

    def flipped(self) -> Array:
        """Return the state that each spin's flip leads to, (2^n, n)."""
        states = np.arange(2**self.spins)
        return states[:, None] ^ (1 << np.arange(self.spins)[::-1])

    def symmetrised(self, p: Array) -> Array:
        """Return a law (2^n,) averaged over the chain's symmetries: all spins turned over, reflected, moved round.

        The ground state has them all, so the energy of the average is still a bound from above.
        """
        n, table = self.spins, p.reshape((2,) * self.spins)
        table = (table + np.flip(table)) / 2
        table = (table + table.transpose(range(n)[::-1])) / 2
        if self.periodic:
            turns = [np.roll(np.arange(n), shift) for shift in range(n)]
            table = np.mean([table.transpose(turn) for turn in turns], axis=0)
        return np.ascontiguousarray(table).ravel()

    def exact_energy(self) -> float:
        """Return the ground state's energy by diagonalisation."""
        from scipy.sparse import csr_array, diags_array
        from scipy.sparse.linalg import eigsh

        size, flipped = 2**self.spins, self.flipped()
        rows = np.repeat(np.arange(size), self.spins)
        field = csr_array((np.full(flipped.size, -self.field), (rows, flipped.ravel())), shape=(size, size))
        hamiltonian = field + diags_array(self.diagonal())
        if size <= 64:
            return float(np.linalg.eigvalsh(hamiltonian.toarray())[0])
        return float(eigsh(hamiltonian, k=1, which="SA", v0=np.ones(size), return_eigenvectors=False)[0])

    def local_energies(self, p: Array) -> Array:
        """Return ``sum_v' H_vv' psi(v')/psi(v)`` of every state, (2^n,); 0 where p is 0."""
        ratio = p[self.flipped()] / np.where(p > 0, p, 1)[:, None]
        return np.asarray(np.where(p > 0, self.diagonal() - self.field * np.sqrt(ratio).sum(axis=1), 0.0))

    def energy(self, p: Array) -> float:
        """Return the energy of ``psi = sqrt(p)``.

        Examples
        --------
        >>> free = TransverseIsing(spins=3, field=2.0, coupling=0.0)
        >>> free.energy(np.full(8, 1 / 8)), round(free.exact_energy(), 9)
        (-6.0, -6.0)
        """
        return float(p @ self.local_energies(p))


def symmetric_start(spins: int, hidden: int, *, scale: float = 0.3, seed: int = 0) -> Model:
    """Return an RBM whose law is the same with all spins turned over, as that of the ground state is.

    From a start without this symmetry the descent ends on a plateau in which one of the two orders is left out: an
    energy 1 to 3 % too high at the critical field of 8 spins.
    """
    model = restricted(spins, hidden, scale=scale, seed=seed)
    biases = -np.concatenate([model.weights.sum(axis=1), model.weights.sum(axis=0)]) / 2
    return model.moved(np.zeros_like(model.weights), biases)


Draw = Callable[[Model, int], Array]
"""(model, number of the step) to states (draws, n) of all its units."""


def law_of(model: Model) -> Array:
    """Return the exact law of the visible units, (2^visible,)."""
    log_p = log_weights(model, all_states(model.n_visible))
    p = np.exp(log_p - log_p.max())
    return np.asarray(p / p.sum())


def law_of_states(states: Array, visible: int) -> Array:
    """Return the shares of the states of the visible units in draws, (2^visible,)."""
    codes = states[:, :visible].astype(np.int64) @ (1 << np.arange(visible)[::-1])
    return np.bincount(codes, minlength=2**visible) / len(codes)


def exact_gradient(model: Model, chain: TransverseIsing) -> tuple[Array, Array, float]:
    """Return the slope of the energy in weights and biases, summed over all states, and the energy."""
    v, p = all_states(model.n_visible).astype(float), law_of(model)
    hidden = 1 / (1 + np.exp(-(v @ model.weights + model.hidden_biases)))
    return _slope(v, hidden, p, chain.local_energies(p))


def sampled_gradient(states: Array, visible: int, chain: TransverseIsing) -> tuple[Array, Array, float]:
    """Return the same from draws alone: the wave function is that of the sampler, whatever its parameters mean.

    The law of the draws is averaged over the symmetries, which lowers its noise.
    """
    p = chain.symmetrised(law_of_states(states, visible))
    codes = states[:, :visible].astype(np.int64) @ (1 << np.arange(visible)[::-1])
    z = states.astype(float)
    weight = np.full(len(z), 1 / len(z))
    return _slope(z[:, :visible], z[:, visible:], weight, chain.local_energies(p)[codes])


def _slope(visible: Array, hidden: Array, weight: Array, local: Array) -> tuple[Array, Array, float]:
    energy = float(weight @ local)
    centred = weight * (local - energy)
    units = np.concatenate([centred @ visible, centred @ hidden])
    return (visible * centred[:, None]).T @ hidden, units, energy


def minimise(
    model: Model,
    chain: TransverseIsing,
    *,
    steps: int = 1000,
    learning_rate: tuple[float, float] = (0.05, 0.005),
    draw: Draw | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Model:
    """Return the RBM after gradient descent (Adam) on the energy.

    Parameters
    ----------
    draw
        Returns states of the model, of LIF neurons for example; ``None``: sums over all states.
    learning_rate
        First and last of a geometric fall.
    on_step
        Called with the number of the step and its energy.
    """
    require(model.n_visible == chain.spins, "model.n_visible", f"{chain.spins}, one a spin", model.n_visible)
    require(model.restricted, "model", "an RBM", "another machine")
    moments = {name: (np.zeros(1), np.zeros(1)) for name in ("weights", "biases")}
    for step in range(steps):
        if draw is None:
            weights, biases, energy = exact_gradient(model, chain)
        else:
            weights, biases, energy = sampled_gradient(draw(model, step), model.n_visible, chain)
        rate = learning_rate[0] * (learning_rate[1] / learning_rate[0]) ** (step / max(steps - 1, 1))
        moved = {}
        for name, slope in (("weights", weights), ("biases", biases)):
            mean, square = moments[name]
            mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
            moments[name] = mean, square
            unbiased = mean / (1 - 0.9 ** (step + 1)), square / (1 - 0.999 ** (step + 1))
            moved[name] = -rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
        model = model.moved(moved["weights"], moved["biases"])
        if on_step is not None:
            on_step(step, energy)
    return model
