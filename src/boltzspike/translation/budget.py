"""Where the bias of a network comes from: one idealisation exchanged at a time.

Each variant of the network samples (nearly) a Boltzmann machine; theta are the parameters of the machine fitted
to its samples. From the target to the network theta moves by D = d_1 + d_2 + ..., a shift for every idealisation
given up. The divergence of the two machines is ``D C D`` with ``C = int_0^1 s C(theta_target + s D) ds``, C(theta)
the Fisher information, and ``d_i C D`` is the share of shift i. Shares add up to the whole; a negative one
undoes part of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from boltzspike.errors import CalibrationError, ValidationError
from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.theory.inverse import fit_machine, statistics


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """What one idealisation contributes to the bias."""

    cause: str
    value: float
    """D_KL."""
    error: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Where the bias of a network comes from."""

    shares: tuple[Share, ...]
    bias: float
    """D_KL of the network from the target, sampling noise removed, as measured."""
    bias_error: float
    remainder: float
    """The bias less the sum of the shares: what no Boltzmann machine can represent."""
    remainder_error: float
    """Its standard error: the shares add up to the bias where the remainder is within it of zero."""
    floor: float
    """D_KL that sampling noise alone would give a run of that length."""


VARIANTS = ("traces", "response", "currents", "delay", "step", "network")
"""Distributions that ``error_budget`` needs; see ``pipeline.error_budget`` for how each is made."""


def error_budget(
    target: BoltzmannMachine,
    variants: Mapping[str, Array],
    drive: Array,
    effective: tuple[Array, Array],
    *,
    bias: float,
    bias_without: Array,
    bias_error: float,
    floor: float,
) -> Budget:
    """Return the shares of the bias.

    Parameters
    ----------
    target
        The machine that was asked for.
    variants
        Sampled distributions, each (groups, 2^n), by independent groups of chains: of memoryless logistic units
        with the network's PSPs (``"traces"``), the same with the neuron's own response (``"response"``), the
        network with current-based neurons (``"currents"``), with the delay one step longer (``"delay"``), with
        half the step (``"step"``), and as it is (``"network"``).
    drive
        Shift of each bias by the mean of the traces, sum_j W'_kj (mean trace_j - p_j), shape (n,).
    effective
        Weights W' (n, n) and biases b' (n,) handed to the neurons.
    bias, bias_error, floor
        D_KL of the network as measured.
    bias_without
        The bias without each group in turn, shape (groups,). All errors are a jackknife over the groups.
    """
    n = target.n_units
    wanted = _theta(np.asarray(target.weights), np.asarray(target.biases))
    handed = _theta(*effective)
    features = statistics(n)
    groups = len(variants["network"])

    def shares(kept: Array) -> dict[str, float]:
        theta = {name: _fitted(variants[name][kept].mean(axis=0), name) for name in VARIANTS}
        mean_drive = np.concatenate([drive, np.zeros(len(wanted) - n)])
        shifts = {
            "rule (what it hands over to undo the rest)": handed - wanted,
            "mean drive (tail of the PSP)": mean_drive,
            "shape of the PSP": theta["traces"] - handed - mean_drive,
            "response (not a logistic)": theta["response"] - theta["traces"],
            "conductance (currents instead)": theta["network"] - theta["currents"],
            "delay": theta["delay"] - theta["network"],
            "time step": 2 * (theta["network"] - theta["step"]),
        }
        whole = theta["network"] - wanted
        fisher = _integrated_fisher(features, wanted, whole)
        shifts["memory of the noise, membrane (coupling gain)"] = whole - np.sum(list(shifts.values()), axis=0)
        return {cause: float(shift @ fisher @ whole) for cause, shift in shifts.items()}

    everything = shares(np.arange(groups))
    left_out = [shares(np.delete(np.arange(groups), g)) for g in range(groups)]
    found = []
    for cause, value in everything.items():
        without = np.array([other[cause] for other in left_out])
        # shares are quadratic in what the samples say: without its bias, as the bias of D_KL is without its floor
        unbiased = groups * value - (groups - 1) * without.mean()
        found.append(Share(cause=cause, value=float(unbiased), error=_error(without)))
    return Budget(
        shares=tuple(found),
        bias=bias,
        bias_error=bias_error,
        remainder=bias - sum(share.value for share in found),
        remainder_error=_error(bias_without - [sum(other.values()) for other in left_out]),
        floor=floor,
    )


def _error(left_out: ArrayLike) -> float:
    """Return the jackknife standard error from the values without each group in turn."""
    values = np.asarray(left_out)
    return float(np.sqrt((len(values) - 1) * np.mean((values - values.mean()) ** 2)))


def mean_trace(p: Array, tau: int, tau_syn: float, renewing: bool) -> Array:
    """Return the mean trace of memoryless units that are 1 with probability p.

    The trace has mean 1 over the refractory period of an isolated spike. A unit waits a geometric time between
    refractory periods of ``tau`` steps; ``tau_syn`` is in steps.
    """
    decay = np.exp(-1 / tau_syn)
    height = tau * (1 - decay) / (1 - decay**tau)
    interval = tau / np.clip(p, 1e-12, 1 - 1e-12)
    if not renewing:
        return np.asarray(height / (1 - decay) / interval)
    chance = 1 / np.maximum(interval - tau + 1, 1.0)
    at_next = decay ** (tau - 1) * chance * decay / (1 - (1 - chance) * decay)
    return np.asarray(height * (1 - at_next) / (1 - decay) / interval)


def _integrated_fisher(features: Array, start: Array, shift: Array) -> Array:
    """Return int_0^1 s C(start + s shift) ds by Gauss quadrature."""
    summed = np.zeros((len(start), len(start)))
    for s, weight in zip((_NODES + 1) / 2, _WEIGHTS / 2):
        p = softmax(features @ (start + s * shift))
        centred = features - p @ features
        summed += weight * s * (centred * p[:, None]).T @ centred
    return summed


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)


def _theta(weights: Array, biases: Array) -> Array:
    return np.concatenate([biases, weights[np.triu_indices(len(biases), 1)]])


def _fitted(distribution: Array, variant: str) -> Array:
    try:
        fit = fit_machine(distribution)
    except CalibrationError:
        raise ValidationError(
            f"error_budget: in the variant {variant!r} a unit or a pair never took one of its states: take a "
            "longer duration or more chains"
        ) from None
    return _theta(fit.weights, fit.biases)
