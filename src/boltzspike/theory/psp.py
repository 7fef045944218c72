"""The post-synaptic potential and the interaction that it stands for."""

from __future__ import annotations

import numpy as np

from boltzspike.model.description import Array


def psp(time: Array, *, tau_syn: float, tau_eff: float, kernel: str = "exponential") -> Array:
    """Return the membrane's answer to a unit synaptic jump, per unit of jump/c_m, in ms.

    Exponential: ``tau_syn tau_eff/(tau_syn - tau_eff) (exp(-t/tau_syn) - exp(-t/tau_eff))``; alpha:
    ``e/(tau_syn k^2) (exp(-t/tau_eff) - (1 + k t) exp(-t/tau_syn))`` with ``k = 1/tau_syn - 1/tau_eff``; and their
    limits at equal time constants, ``t exp(-t/tau)`` and ``e t^2/(2 tau) exp(-t/tau)``.

    Parameters
    ----------
    time
        Time since the arrival, any shape, ms.
    tau_syn, tau_eff
        Synaptic and effective membrane time constants, ms.
    kernel
        ``"exponential"`` or ``"alpha"``.
    """
    t = np.maximum(np.asarray(time, dtype=float), 0.0)
    x = t * (1 / tau_syn - 1 / tau_eff)
    near = np.abs(x) < 1e-4
    safe = np.where(near, 1.0, x)
    if kernel == "exponential":
        shape = np.where(near, 1 + x / 2, np.expm1(safe) / safe)
        return np.asarray(t * np.exp(-t / tau_syn) * shape)
    shape = np.where(near, 0.5 + x / 6, (np.expm1(safe) - safe) / safe**2)
    return np.asarray(np.e / tau_syn * t**2 * np.exp(-t / tau_syn) * shape)


def psp_area(*, tau_syn: float, tau_eff: float, duration: float, kernel: str = "exponential") -> float:
    """Return the integral of ``psp`` from 0 to ``duration``, in ms^2, in closed form.

    Exponential: ``tau_syn tau_eff/(tau_syn - tau_eff) [f(tau_syn) - f(tau_eff)]`` with
    ``f(tau) = tau (1 - exp(-duration/tau))``. Where the time constants differ by less than a thousandth the closed
    forms cancel; there the PSP is smooth and Gauss-Legendre quadrature is exact to rounding.

    Examples
    --------
    >>> f"{psp_area(tau_syn=10.0, tau_eff=0.769, duration=10.0):.4f}"
    '4.6253'
    >>> f"{psp_area(tau_syn=10.0, tau_eff=10.0, duration=10.0):.4f}"
    '26.4241'
    """
    k = 1 / tau_syn - 1 / tau_eff
    if abs(k) * min(tau_syn, tau_eff) < 1e-3:
        x, w = np.polynomial.legendre.leggauss(64)
        half = duration / 2
        return float(half * w @ psp(half * (x + 1), tau_syn=tau_syn, tau_eff=tau_eff, kernel=kernel))

    def charge(tau: float) -> float:
        return float(-tau * np.expm1(-duration / tau))

    if kernel == "exponential":
        return (charge(tau_eff) - charge(tau_syn)) / k
    first_moment = tau_syn * charge(tau_syn) - tau_syn * duration * np.exp(-duration / tau_syn)
    return float(np.e / tau_syn * (charge(tau_eff) - charge(tau_syn) - k * first_moment) / k**2)


def interaction(
    jump: float,
    *,
    alpha: float,
    c_m: float,
    tau_syn: float,
    tau_eff: float,
    tau_refrac: float,
    kernel: str = "exponential",
) -> float:
    """Return the Boltzmann weight W of a synapse whose spike makes S jump by ``jump`` (nA).

    The paper's rule: the mean PSP over the refractory period of the spike, in units of alpha (mV of mean
    potential): ``W = jump/(alpha c_m) * psp_area / tau_refrac``.
    """
    area = psp_area(tau_syn=tau_syn, tau_eff=tau_eff, duration=tau_refrac, kernel=kernel)
    return jump * area / (alpha * c_m * tau_refrac)
