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


def arrivals(teeth: int | None, *, tau_syn: Array | float, tau_refrac: Array | float) -> tuple[Array, Array]:
    """Return when a spike acts through the synapses of one coupling, and how strongly.

    Parameters
    ----------
    teeth
        As in ``model.synapse``: a sawtooth that ends with the refractory period; ``None``: one synapse.
    tau_syn, tau_refrac
        Of the target and of the source, ms, of one shape.

    Returns
    -------
    time
        After the first arrival, ms, shape (..., synapses).
    share
        Of the weight, negative for the synapse of the opposite sign, of the same shape.

    Examples
    --------
    >>> time, share = arrivals(2, tau_syn=10.0, tau_refrac=10.0)
    >>> time
    array([ 0.,  5., 10.])
    >>> share.round(4)
    array([ 1.    ,  0.3935, -0.6065])
    """
    tau, period = np.asarray(tau_syn, dtype=float)[..., None], np.asarray(tau_refrac, dtype=float)[..., None]
    if teeth is None:
        return np.zeros_like(period), np.ones_like(period)
    k = np.arange(teeth + 1)
    left = np.exp(-period / (teeth * tau))
    share = np.where(k == 0, 1.0, np.where(k < teeth, 1 - left, -left))
    return period * k / teeth, share


def shaped_area(
    teeth: int | None, *, tau_syn: float, tau_eff: float, tau_refrac: float, kernel: str = "exponential"
) -> float:
    """Return the area of a PSP that stands for a weight, ms^2, when the first synapse of a coupling jumps by 1.

    A single synapse: the integral over tau_refrac, as its tail belongs to no state. With teeth: the whole
    integral, ``tau_syn tau_eff`` times the sum of the shares (``arrivals``): the membrane is late at the end of a
    PSP as it is at the beginning, and the mean drive is W p, exactly.
    """
    if teeth is None:
        return psp_area(tau_syn=tau_syn, tau_eff=tau_eff, duration=tau_refrac, kernel=kernel)
    _, share = arrivals(teeth, tau_syn=tau_syn, tau_refrac=tau_refrac)
    return float(share.sum()) * tau_syn * tau_eff


def interaction(
    jump: float,
    *,
    alpha: float,
    c_m: float,
    tau_syn: float,
    tau_eff: float,
    tau_refrac: float,
    kernel: str = "exponential",
    teeth: int | None = None,
) -> float:
    """Return the Boltzmann weight W of a synapse whose spike makes S jump by ``jump`` (nA).

    The paper's rule: the mean PSP over the refractory period of the spike, in units of alpha (mV of mean
    potential): ``W = jump/(alpha c_m) * psp_area / tau_refrac``. With ``teeth`` the PSP is that of all synapses
    of the coupling, the first of which jumps by ``jump``.
    """
    area = shaped_area(teeth, tau_syn=tau_syn, tau_eff=tau_eff, tau_refrac=tau_refrac, kernel=kernel)
    return jump * area / (alpha * c_m * tau_refrac)
