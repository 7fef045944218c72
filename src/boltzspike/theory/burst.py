r"""The burst/quiescence response function (Petrovici et al., arXiv:1601.00909, 1311.3211), summed in closed form.

The neuron alternates between bursts (spikes one refractory period apart, while the effective potential is
above threshold at the end of each refractory period) and quiescence (a diffusion back to threshold):

``p(z=1) = sum_n P_n n tau_ref / sum_n P_n (n tau_ref + sum_{k<n} tau_b_k + T_n)``

with P_n the probability of a burst of n spikes, tau_b_k the climb from reset to threshold before spike k + 1
and T_n the mean quiescence after a burst of n. The density of the effective potential is propagated from
spike to spike by the Ornstein-Uhlenbeck kernel over one refractory period. Summed over all n these are three
linear integral equations on y > threshold with one matrix:

``N = 1 + K N``,  ``D = K (tau_b + D)``,  ``Q = int_{y < threshold} K T + K Q``,
``p = tau_ref N/(tau_ref N + D + Q)``

taken at the potential x0 at which the burst began.

Assumptions: one synaptic time constant (two are replaced by their variance-weighted mean), Gaussian noise,
tau_eff << tau_syn (its first-order effect is kept as a shift of the threshold of quiescence). Measured errors
against simulation: docs/theory.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boltzspike.errors import require
from boltzspike.model.description import Array
from boltzspike.theory.passage import mean_passage_time

ZETA_HALF = 1.4603545088095868
"""|zeta(1/2)|: the distance, in units of the boundary layer, by which coloured noise raises the threshold."""

_NODES = 80
_REACH = 8.0
"""Standard deviations beyond which the density is neglected (1e-15)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Burst:
    """What the theory needs of a neuron: one effective potential, a threshold and three time constants."""

    mu: Array
    """Mean effective potential, shape (m,), mV."""
    sigma: Array
    """Its standard deviation, shape (m,), mV."""
    tau_eff: float
    tau_syn: float
    tau_refrac: float
    v_thresh: float
    v_reset: float

    @property
    def theta_eff(self) -> Array:
        """Threshold of quiescence, raised by the coloured-noise boundary layer, shape (m,), mV."""
        return self.v_thresh + ZETA_HALF * self.sigma * np.sqrt(self.tau_eff / self.tau_syn)


def burst_response(burst: Burst, *, start: str = "theta_eff") -> Array:
    """Return p(z=1) at each mean potential, shape (m,).

    Parameters
    ----------
    burst
        The neuron in the theory's terms.
    start
        Where a burst begins: ``"theta"`` as in the paper, or ``"theta_eff"``, consistent with the raised
        threshold of quiescence.

    Raises
    ------
    ValidationError
        Where sigma is not positive: without noise there are no bursts to propagate.
    """
    require(start in ("theta", "theta_eff"), "start", "'theta' or 'theta_eff'", start)
    require(bool(np.all(burst.sigma > 0)), "sigma", "> 0 mV (the burst theory needs noise)", burst.sigma)
    length, drift, quiescence = burst_moments(burst, start=start)
    spiking = burst.tau_refrac * length
    return np.asarray(np.where(np.isinf(quiescence), 0.0, spiking / (spiking + drift + quiescence)))


def burst_moments(burst: Burst, *, start: str = "theta_eff") -> tuple[Array, Array, Array]:
    """Return the mean number of spikes of a burst, the mean drift and the mean quiescence (ms), each (m,)."""
    mu, sigma = burst.mu[:, None], burst.sigma[:, None]
    theta = burst.v_thresh
    r = np.exp(-burst.tau_refrac / burst.tau_syn)
    spread = sigma * np.sqrt(1 - r * r)

    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    t, dt = (nodes + 1) / 2, weights / 2
    reach_up = np.maximum(mu - theta, 0) + _REACH * sigma
    above, d_above = theta + reach_up * t**2, reach_up * 2 * t * dt
    reach_down = np.maximum(theta - mu, 0) + _REACH * sigma
    below, d_below = theta - reach_down * t[::-1] ** 2, reach_down * (2 * t * dt)[::-1]

    x0 = theta if start == "theta" else burst.theta_eff[:, None]
    x = np.concatenate([np.broadcast_to(x0, mu.shape), above], axis=1)

    def kernel(y: Array) -> Array:
        z = (y[:, None, :] - (mu + (x - mu) * r)[:, :, None]) / spread[:, :, None]
        return np.exp(-z * z / 2) / (np.sqrt(2 * np.pi) * spread[:, :, None])

    to_above = kernel(above) * d_above[:, None, :]
    to_below = kernel(below) * d_below[:, None, :]
    climb = burst.tau_eff * np.log((above - burst.v_reset) / (above - theta))
    wait = mean_passage_time(below, burst.theta_eff[:, None], mu, sigma, burst.tau_syn)
    with np.errstate(invalid="ignore"):
        waits = np.einsum("mxy,my->mx", to_below, np.where(np.isinf(wait), 0.0, wait))
    source = np.stack([np.ones_like(x), np.einsum("mxy,my->mx", to_above, climb), waits], axis=2)
    solved = np.linalg.solve(np.eye(_NODES) - to_above[:, 1:], source[:, 1:])
    at_start = source[:, 0] + np.einsum("my,myk->mk", to_above[:, 0], solved)
    length, drift, quiescence = at_start.T
    return length, drift, np.where(np.isinf(wait).any(axis=1), np.inf, quiescence)
