r"""Classical response functions: Siegert, its coloured-noise correction, the adiabatic one, the error function.

All take the same arguments, broadcast against each other, and return p = rate * tau_refrac:

``mu``, ``sigma``
    Mean and stationary standard deviation of the effective potential (mV), an Ornstein-Uhlenbeck process of
    correlation time ``tau_syn`` that the membrane follows: ``tau_eff dV/dt = u_eff - V``.
``tau_eff``, ``tau_syn``
    Membrane time constant in the bombardment and synaptic time constant, ms.
``v_thresh``, ``v_reset``, ``tau_refrac``
    Threshold and reset (mV), refractory period (ms), during which V is held at the reset.

Each is an expansion in tau_syn/tau_eff or its inverse; none holds throughout the high-conductance state with a
reset near threshold, which is why ``burst`` and ``density`` exist. ``sigma = 0`` gives the deterministic response.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy.special import erfcx, ndtr

Array = np.ndarray

ZETA_HALF = 1.4603545088095868
"""|zeta(1/2)|, the Milne extrapolation length of coloured noise at an absorbing threshold."""

_NODES, _WEIGHTS = leggauss(96)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2


def deterministic(mu: Array, tau_eff: Array, v_thresh: Array, v_reset: Array, tau_refrac: Array) -> Array:
    """Return p without noise: tau_refrac/(tau_refrac + tau_eff ln((mu - v_reset)/(mu - v_thresh))), 0 below.

    Examples
    --------
    >>> float(deterministic(-49.0, 10.0, -50.0, -50.0 - (np.e - 1), 10.0).round(12))
    0.5
    """
    mu, tau_eff, v_thresh, v_reset, tau_refrac = _arrays(mu, tau_eff, v_thresh, v_reset, tau_refrac)
    above = mu > v_thresh
    climb = tau_eff * np.log1p((v_thresh - v_reset) / np.where(above, mu - v_thresh, 1.0))
    return np.where(above, tau_refrac / (tau_refrac + climb), 0.0)


def siegert(
    mu: Array, sigma: Array, tau_eff: Array, tau_syn: Array, v_thresh: Array, v_reset: Array, tau_refrac: Array
) -> Array:
    r"""Return p for white noise of the same intensity (Siegert 1951; Ricciardi 1977).

    ``1/rate = tau_refrac + tau_eff sqrt(pi) int_{y_r}^{y_t} exp(x^2) (1 + erf x) dx``, y = (v - mu)/(sqrt2 s),
    with ``s^2 = sigma^2 tau_syn/tau_eff`` the variance of the free membrane under white noise of the power
    that u_eff has at low frequencies.

    Assumes tau_syn << tau_eff and diffusion (many small inputs); exact in that limit. With the reset at
    threshold it gives p = 1 whatever mu is.

    Examples
    --------
    >>> float(siegert(-52.0, 16.0, 20.0, 2.0, -50.0, -60.0, 2.0).round(6))
    0.052021
    """
    mu, sigma, tau_eff, tau_syn, v_thresh, v_reset, tau_refrac = _arrays(
        mu, sigma, tau_eff, tau_syn, v_thresh, v_reset, tau_refrac
    )
    return _siegert(mu, sigma, tau_eff, tau_syn, v_thresh, v_reset, tau_refrac, np.zeros_like(mu))


def siegert_coloured(
    mu: Array, sigma: Array, tau_eff: Array, tau_syn: Array, v_thresh: Array, v_reset: Array, tau_refrac: Array
) -> Array:
    r"""Return p for slightly coloured noise: Siegert with threshold and reset raised alike.

    Both are raised by ``|zeta(1/2)| s sqrt(tau_syn/tau_eff)``, s as in ``siegert`` (Brunel & Sergi, J. theor.
    Biol. 195, 1998; Fourcaud & Brunel, Neural Comput. 14, 2002: in their notation
    ``sqrt2 |zeta(1/2)|/2 sigma sqrt(tau_s/tau_m)``). First order in sqrt(tau_syn/tau_eff).
    """
    mu, sigma, tau_eff, tau_syn, v_thresh, v_reset, tau_refrac = _arrays(
        mu, sigma, tau_eff, tau_syn, v_thresh, v_reset, tau_refrac
    )
    shift = ZETA_HALF * sigma * tau_syn / tau_eff
    return _siegert(mu, sigma, tau_eff, tau_syn, v_thresh, v_reset, tau_refrac, shift)


def moreno_bote_parga(
    mu: Array, sigma: Array, tau_eff: Array, tau_syn: Array, v_thresh: Array, v_reset: Array, tau_refrac: Array
) -> Array:
    r"""Return p for slow noise: the deterministic response averaged over the law of u_eff.

    ``p = int N(x; mu, sigma^2) deterministic(x) dx`` (adiabatic limit; Moreno-Bote & Parga, Phys. Rev. Lett. 92,
    028102, 2004). Assumes that u_eff is constant over an inter-spike interval: tau_syn >> tau_eff and tau_syn >>
    tau_refrac. ``tau_syn`` is taken for the common signature only.
    """
    mu, sigma, tau_eff, tau_syn, v_thresh, v_reset, tau_refrac = _arrays(
        mu, sigma, tau_eff, tau_syn, v_thresh, v_reset, tau_refrac
    )
    scale = np.where(sigma > 0, sigma, 1.0)
    distance = (v_thresh - mu) / scale
    gap = (v_thresh - v_reset) / scale

    def integral(z: Array, weight: Array) -> Array:
        """Sum of N(z + distance) deterministic over z = (x - threshold)/sigma, nodes on the last axis."""
        shape = (..., None)
        rate = tau_refrac[shape] / (tau_refrac[shape] + tau_eff[shape] * np.log1p(gap[shape] / z))
        density = np.exp(-((z + distance[shape]) ** 2) / 2) / math.sqrt(2 * math.pi)
        return (rate * density * weight).sum(axis=-1)

    # deterministic(x) rises as 1/log above threshold: resolve (0, 1) in log z, the rest where N is
    low = math.log(1e-17)
    z = np.exp(low * (1 - _NODES))
    near = integral(z, z * _WEIGHTS * -low)
    start, stop = np.maximum(1.0, -distance - 9.0), np.maximum(1.0, -distance + 9.0)
    stop = np.maximum(stop, 10.0)
    span = (stop - start)[..., None]
    far = integral(start[..., None] + span * _NODES, span * _WEIGHTS)
    return np.where(sigma > 0, near + far, deterministic(mu, tau_eff, v_thresh, v_reset, tau_refrac))


def error_function(
    mu: Array, sigma: Array, tau_eff: Array, tau_syn: Array, v_thresh: Array, v_reset: Array, tau_refrac: Array
) -> Array:
    """Return P(u_eff > threshold) = Phi((mu - v_thresh)/sigma), the limit of tau_eff << tau_refrac << tau_syn.

    The time constants and the reset are taken for the common signature only.

    Examples
    --------
    >>> float(error_function(-50.0, 1.0, 0.1, 10.0, -50.0, -50.001, 10.0))
    0.5
    """
    mu, sigma, tau_eff, tau_syn, v_thresh, v_reset, tau_refrac = _arrays(
        mu, sigma, tau_eff, tau_syn, v_thresh, v_reset, tau_refrac
    )
    scale = np.where(sigma > 0, sigma, 1.0)
    return np.where(sigma > 0, ndtr((mu - v_thresh) / scale), np.where(mu > v_thresh, 1.0, 0.0))


def _arrays(*values: Array | float) -> tuple[Array, ...]:
    return tuple(np.array(x, dtype=np.float64) for x in np.broadcast_arrays(*values))


def _siegert(
    mu: Array, sigma: Array, tau_eff: Array, tau_syn: Array, v_thresh: Array, v_reset: Array, tau_refrac: Array,
    shift: Array,
) -> Array:  # fmt: skip
    scale = np.where(sigma > 0, sigma, 1.0) * np.sqrt(2 * tau_syn / tau_eff)
    passage = (
        tau_eff
        * math.sqrt(math.pi)
        * _erfcx_integral((v_reset + shift - mu) / scale, (v_thresh + shift - mu) / scale)
    )
    noisy = tau_refrac / (tau_refrac + passage)
    return np.where(sigma > 0, noisy, deterministic(mu, tau_eff, v_thresh, v_reset, tau_refrac))


def _erfcx_integral(low: Array, high: Array) -> Array:
    """Return int_low^high exp(x^2) (1 + erf x) dx = int erfcx(-x) dx, inf where it overflows."""
    # x < 0: erfcx decays as 1/|x|, smooth in log(1 + |x|)
    near, far = np.log1p(np.maximum(-high, 0.0)), np.log1p(np.maximum(-low, 0.0))
    s = near[..., None] + (far - near)[..., None] * _NODES
    negative = (erfcx(np.expm1(s)) * np.exp(s) * _WEIGHTS).sum(axis=-1) * (far - near)
    # x > 0: grows as exp(x^2), so scale it by its value at the upper end, where all of it sits if that is large
    top = np.maximum(high, 0.0)
    reach = np.minimum(top - np.clip(low, 0.0, top), 40.0 / np.maximum(top, 1.0))
    t = reach[..., None] * _NODES
    x = top[..., None] - t
    scaled = np.exp(t * (t - 2 * top[..., None])) * 2 * ndtr(math.sqrt(2) * x)
    with np.errstate(over="ignore"):
        positive = np.exp(top**2) * (scaled * _WEIGHTS).sum(axis=-1) * reach
    return negative + np.where(reach > 0, positive, 0.0)
