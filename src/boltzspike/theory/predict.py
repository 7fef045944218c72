"""Every prediction of the response function by its name, on one scale: the mean effective potential."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from boltzspike.errors import BoltzspikeWarning, UnsupportedFeature, ValidationError, suggestion
from boltzspike.model.background import PoissonBackground
from boltzspike.model.description import Array
from boltzspike.model.neuron import Neuron
from boltzspike.theory import classical
from boltzspike.theory.burst import Burst, BurstTerms, burst_response, burst_terms
from boltzspike.theory.membrane import membrane_statistics

Prediction = Callable[[Neuron, PoissonBackground, Array], tuple[Array, Array]]
"""(neuron, background, mu) -> (p, bound on the error of p)."""

BURST_ERROR = {"theta_eff": (0.035, 0.11), "theta": (0.046, 0.14)}
"""Largest error of the burst theory over the sets of benchmarks/response_errors.py, by the burst's start: with one
synaptic time constant, and with two."""
CLASSICAL_ERROR = 1.0
"""The classical formulas are off by up to this where they do not apply; see their docstrings."""


def burst_of(neuron: Neuron, background: PoissonBackground, mu: Array) -> Burst:
    """Return a neuron in the burst theory's terms."""
    if neuron.kernel != "exponential":
        raise UnsupportedFeature("the burst theory supports exponential synapses only; use method='simulation'")
    if neuron.tau_syn_exc != neuron.tau_syn_inh:
        warnings.warn(
            "the burst theory knows one tau_syn and takes the variance-weighted mean of two: its p(z=1) is off "
            f"by up to {BURST_ERROR['theta_eff'][1]:.2g}: use the density solver",
            BoltzspikeWarning,
            stacklevel=3,
        )
    s = membrane_statistics(neuron, background)
    return Burst(
        mu=mu,
        sigma=np.full_like(mu, s.sigma),
        tau_eff=s.tau_eff,
        tau_syn=s.tau_syn,
        tau_refrac=neuron.tau_refrac,
        v_thresh=neuron.v_thresh,
        v_reset=neuron.v_reset,
    )


def predict(
    neuron: Neuron, background: PoissonBackground, mu: Array, *, method: str = "density", dt: float | None = None
) -> tuple[Array, Array]:
    """Return p(z=1) and a bound on its error at mean effective potentials mu (mV), each of the shape of mu.

    Methods: ``"density"`` (numerically exact; its error from a coarser grid), ``"burst"`` (closed form, burst
    starting at the shifted threshold), ``"burst-paper"`` (at the threshold, as published), ``"siegert"``,
    ``"siegert-coloured"``, ``"adiabatic"``, ``"erf"``.

    Without noise every method gives the deterministic limit. With ``dt`` the density holds for an engine's grid of
    that time step (ms); the other theories know continuous time only and ignore it.
    """
    if method not in METHODS:
        raise ValidationError(
            f"method: no response method {method!r}{suggestion(method, [*METHODS, 'simulation'])}"
        )
    if neuron.refractory is not None and method not in ("adiabatic", "siegert"):
        raise UnsupportedFeature(
            f"the {method} response needs a fixed refractory period (refractory=None); use method='simulation'"
        )
    s = membrane_statistics(neuron, background)
    if not s.sigma > 0:
        p = classical.deterministic(
            mu, *map(np.asarray, (s.tau_eff, neuron.v_thresh, neuron.v_reset, neuron.tau_refrac))
        )
        if method == "density" and dt is not None:  # the climb ends with a step, the first of which is free
            with np.errstate(divide="ignore"):
                climb = neuron.tau_refrac / p - neuron.tau_refrac
            p = neuron.tau_refrac / (neuron.tau_refrac + dt * (np.ceil(climb / dt) - 1))
        return p, np.zeros_like(p)
    if method == "density" and dt is not None:
        return _density(neuron, background, mu, dt=dt)
    return METHODS[method](neuron, background, mu)


def predict_bursts(neuron: Neuron, background: PoissonBackground, mu: float, longest: int) -> BurstTerms | None:
    """Return P_n, T_n and tau_b_n up to ``longest`` at one mean potential, each of shape (1, longest).

    ``None`` where there is no burst theory: for alpha synapses, and for two synaptic time constants.
    """
    if neuron.kernel != "exponential" or neuron.tau_syn_exc != neuron.tau_syn_inh:
        return None
    return burst_terms(burst_of(neuron, background, np.array([mu])), longest)


def predict_interval(neuron: Neuron, background: PoissonBackground, mu: float) -> float | None:
    """Return the mean inter-spike interval by the density, ms; ``None`` for alpha synapses."""
    if neuron.kernel != "exponential":
        return None
    p, _ = predict(neuron, background, np.array([mu]))
    return float(neuron.tau_refrac / p[0])


def _density(neuron: Neuron, background: PoissonBackground, mu: Array, *, dt: float = 0.0) -> tuple[Array, Array]:
    from threadpoolctl import threadpool_limits

    from boltzspike.theory.density import density_response  # scipy.linalg: slow to import

    with threadpool_limits(1):  # its matrices are small: threads make it slower, tenfold on a busy machine
        found = density_response(neuron, background, mu, dt=dt, cv=False)
    return found.p, found.p_error


def _burst(start: str) -> Prediction:
    def predicted(neuron: Neuron, background: PoissonBackground, mu: Array) -> tuple[Array, Array]:
        p = burst_response(burst_of(neuron, background, mu), start=start)
        return p, np.full_like(p, BURST_ERROR[start][neuron.tau_syn_exc != neuron.tau_syn_inh])

    return predicted


def _classical(formula: Callable[..., Array]) -> Prediction:
    def predicted(neuron: Neuron, background: PoissonBackground, mu: Array) -> tuple[Array, Array]:
        s = membrane_statistics(neuron, background)
        p = formula(mu, s.sigma, s.tau_eff, s.tau_syn, neuron.v_thresh, neuron.v_reset, neuron.tau_refrac)
        return p, np.full_like(p, CLASSICAL_ERROR)

    return predicted


METHODS: dict[str, Prediction] = {
    "density": _density,
    "burst": _burst("theta_eff"),
    "burst-paper": _burst("theta"),
    "siegert": _classical(classical.siegert),
    "siegert-coloured": _classical(classical.siegert_coloured),
    "adiabatic": _classical(classical.moreno_bote_parga),
    "erf": _classical(classical.error_function),
}
