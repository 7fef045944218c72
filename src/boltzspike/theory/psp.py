"""The post-synaptic potential and the interaction that it stands for."""

from __future__ import annotations

import numpy as np

from boltzspike.model.description import Array


def psp(time: Array, *, tau_syn: float, tau_eff: float) -> Array:
    """Return the membrane's answer to a unit synaptic jump, per unit of jump/c_m, in ms.

    ``PSP(t) = tau_syn tau_eff/(tau_syn - tau_eff) (exp(-t/tau_syn) - exp(-t/tau_eff))``, and ``t exp(-t/tau)``
    in the limit of equal time constants.
    """
    t = np.maximum(np.asarray(time, dtype=float), 0.0)
    rate = 1 / tau_eff - 1 / tau_syn
    if abs(rate) * float(t.max(initial=0.0)) < 1e-6:
        return np.asarray(t * np.exp(-t * (1 / tau_eff + 1 / tau_syn) / 2))
    return np.asarray(-np.exp(-t / tau_syn) * np.expm1(-t * rate) / rate)


def psp_area(*, tau_syn: float, tau_eff: float, duration: float) -> float:
    """Return the integral of ``psp`` from 0 to ``duration``, in ms^2.

    ``tau_syn tau_eff/(tau_syn - tau_eff) [f(tau_syn) - f(tau_eff)]``, ``f(tau) = tau (1 - exp(-duration/tau))``:
    a divided difference of f, taken as its derivative where the time constants all but coincide.

    Examples
    --------
    >>> f"{psp_area(tau_syn=10.0, tau_eff=0.769, duration=10.0):.4f}"
    '4.6253'
    >>> f"{psp_area(tau_syn=10.0, tau_eff=10.0, duration=10.0):.4f}"
    '26.4241'
    """

    def charge(tau: float) -> float:
        return float(-tau * np.expm1(-duration / tau))

    if abs(tau_syn - tau_eff) < 1e-4 * tau_syn:
        tau = (tau_syn + tau_eff) / 2
        x = duration / tau
        slope = 1 - (1 + x) * np.exp(-x)
    else:
        slope = (charge(tau_syn) - charge(tau_eff)) / (tau_syn - tau_eff)
    return float(tau_syn * tau_eff * slope)


def interaction(
    jump: float | Array, *, alpha: float, c_m: float, tau_syn: float, tau_eff: float, tau_refrac: float
) -> float | Array:
    """Return the Boltzmann weight W of a synapse whose spike makes S jump by ``jump`` (nA).

    The paper's rule: the mean PSP over the refractory period of the spike, in units of alpha (mV of mean
    potential): ``W = jump/(alpha c_m) * psp_area / tau_refrac``.
    """
    return jump * psp_area(tau_syn=tau_syn, tau_eff=tau_eff, duration=tau_refrac) / (alpha * c_m * tau_refrac)
