"""The inverse temperature beta at which the machine fits the samples best: p(z) ~ exp(-beta E(z))."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from scipy.special import expit, stdtr

from boltzspike.diagnostics.estimates import States, each_block, standard_error
from boltzspike.errors import ValidationError, require
from boltzspike.model.boltzmann import BoltzmannMachine, Machine
from boltzspike.theory.exact import exact_moments

Array = np.ndarray
RANGE = (-8.0, 32.0)
"""Where beta is looked for."""
_COARSE = 16
_STEP = 1e-3
_NONE = "temperature: the machine has neither weights nor biases, so no temperature"


@dataclass(frozen=True, kw_only=True, slots=True)
class Temperature:
    """How strongly the samples follow the energy: 1 for the target, less for hotter, more for colder samples."""

    beta: float
    error: float
    """Standard error, from independent blocks."""
    p_value: float
    """Chance of a beta at least as far from 1 at temperature 1."""
    method: str
    """``"likelihood"`` or ``"pseudo-likelihood"``."""

    def __str__(self) -> str:
        """Return beta with its error."""
        return f"beta = {self.beta:.4f} +- {self.error:.1g} ({self.method})"


def scaled(machine: Machine, beta: float) -> BoltzmannMachine:
    """Return the machine at an inverse temperature."""
    plain = machine.to_boltzmann()
    return BoltzmannMachine(
        weights=beta * np.asarray(plain.weights), biases=beta * np.asarray(plain.biases), names=plain.names
    )


def mean_energy(machine: Machine, beta: float = 1.0) -> float:
    """Return the exact mean of the energy E of ``machine`` under exp(-beta E)."""
    plain = machine.to_boltzmann()
    # an RBM scaled as such keeps its smaller layer
    moments = exact_moments(_scaled_as_is(machine, beta))
    coupled = np.asarray(plain.weights) != 0
    pairs = np.where(coupled, moments.pairs, 0.0)
    return float(-(np.sum(plain.weights * pairs) / 2 + np.dot(plain.biases, moments.marginals)))


def _scaled_as_is(machine: Machine, beta: float) -> Machine:
    if isinstance(machine, BoltzmannMachine):
        return scaled(machine, beta)
    return type(machine)(
        weights=beta * np.asarray(machine.weights),
        visible_biases=beta * np.asarray(machine.visible_biases),
        hidden_biases=beta * np.asarray(machine.hidden_biases),
        names=machine.names,
    )


def likely_temperature(block_energies: Array, machine: Machine) -> Temperature:
    """Return the beta of greatest likelihood, at which the mean energy of the machine is that of the samples.

    Parameters
    ----------
    block_energies
        Mean energies of independent blocks, shape (blocks,).
    machine
        One whose exact moments are in reach.

    Raises
    ------
    ValidationError
        Where no beta in -8 .. 32 has such a mean energy, or all have it.
    """
    mean = float(block_energies.mean())

    def excess(beta: float) -> float:
        return mean_energy(machine, beta) - mean

    low, high = 0.5, 2.0
    while excess(low) < 0 and low > RANGE[0]:
        low = max(low - 2 * (high - low), RANGE[0])
    while excess(high) > 0 and high < RANGE[1]:
        high = min(high + 2 * (high - low), RANGE[1])
    if excess(low) < 0 or excess(high) > 0:
        raise ValidationError(
            f"temperature: no beta in {RANGE[0]:g} .. {RANGE[1]:g} has the mean energy {mean:.6g} of the samples"
        )
    beta = float(scipy.optimize.brentq(excess, low, high, xtol=1e-6))
    slope = (excess(beta + _STEP) - excess(beta - _STEP)) / (2 * _STEP)
    if slope == 0:
        raise ValidationError(_NONE)
    error = float(standard_error(block_energies)) / abs(slope)
    return _temperature(beta, error, len(block_energies), "likelihood")


def pseudo_temperature(states: States, machine: Machine) -> Temperature:
    """Return the beta of greatest pseudo-likelihood prod_k p(z_k | all others): for machines of any size.

    The score is sum_k u_k (z_k - sigma(beta u_k)), u = W z + b; the error comes from the spread of the scores of
    independent blocks. (J. Besag, The Statistician 24 (1975) 179.)

    Parameters
    ----------
    states
        Shape (chains, draws, units).
    """
    plain = machine.to_boltzmann()
    require(states.shape[-1] == plain.n_units, "states", f"of {plain.n_units} units", states.shape[-1])
    weights, biases = np.asarray(plain.weights, dtype=np.float32), np.asarray(plain.biases, dtype=np.float32)
    # of a long run, one draw in some is enough to come near; the last steps take all
    beta, every = 1.0, _COARSE if states.shape[1] >= 1000 * _COARSE else 1
    for _ in range(50):
        information, of_blocks = 0.0, []
        for pieces in each_block(states):
            of_blocks.append(0.0)
            for piece in pieces:
                z = piece[::every].astype(np.float32)
                u = z @ weights + biases
                p = expit(np.float32(beta) * u)
                of_blocks[-1] += float(np.sum(u * (z - p), dtype=np.float64))
                information += float(np.sum(u * u * p * (1 - p), dtype=np.float64))
        if information == 0:
            raise ValidationError(_NONE)
        scores = np.array(of_blocks)
        step = float(scores.sum()) / information
        error = float(np.std(scores, ddof=1)) * np.sqrt(len(scores)) / information
        beta += float(np.clip(step, -1.0, 1.0))
        if not RANGE[0] <= beta <= RANGE[1]:
            raise ValidationError(f"temperature: no beta in {RANGE[0]:g} .. {RANGE[1]:g} fits the samples")
        # what is left after a step is of second order in it
        if abs(step) < 0.01 or abs(step) < 0.1 * error:
            if every == 1:
                break
            every = 1
    return _temperature(beta, error, len(scores), "pseudo-likelihood")


def _temperature(beta: float, error: float, number: int, method: str) -> Temperature:
    p_value = float(2 * stdtr(number - 1, -abs(beta - 1) / error)) if error > 0 else float(beta == 1)
    return Temperature(beta=beta, error=error, p_value=p_value, method=method)
