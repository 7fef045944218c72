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

import warnings
from dataclasses import dataclass

import numpy as np

from boltzspike.errors import BoltzspikeWarning, require
from boltzspike.model.description import Array
from boltzspike.theory.passage import mean_passage_time

ZETA_HALF = 1.4603545088095868
"""|zeta(1/2)|: the distance, in units of the boundary layer, by which coloured noise raises the threshold."""

_NODES = 80
_MOST_NODES = 640
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Cycle:
    """Means over one burst and the quiescence after it, each of shape (m,)."""

    length: Array
    """Mean number of spikes of a burst."""
    drift: Array
    """Mean total climb from reset to threshold within a burst, ms."""
    quiescence: Array
    """Mean quiescence after a burst, ms; ``inf`` beyond the range of a float."""
    tau_refrac: float

    @property
    def p(self) -> Array:
        """Probability of the refractory state."""
        return np.asarray(self.tau_refrac / self.isi_mean)

    @property
    def isi_mean(self) -> Array:
        """Mean inter-spike interval, ms."""
        return np.asarray(self.tau_refrac + (self.drift + self.quiescence) / self.length)


@dataclass(frozen=True, kw_only=True, slots=True)
class BurstTerms:
    """The terms of the paper's sums for bursts of n = 1 .. N spikes, arrays of shape (m, N), entry n - 1 for n."""

    probability: Array
    """P_n: probability of a burst of n spikes."""
    quiescence: Array
    """T_n: mean quiescence after a burst of n spikes, ms."""
    drift: Array
    """tau_b_n: mean climb from reset to threshold after spike n, over the bursts that go on after it, ms."""
    tau_refrac: float

    @property
    def p(self) -> Array:
        """The paper's response function, truncated at N: shape (m,)."""
        n = np.arange(1, self.probability.shape[1] + 1)
        before = np.cumsum(self.drift, axis=1) - self.drift
        spiking = np.sum(self.probability * n, axis=1) * self.tau_refrac
        return np.asarray(spiking / (spiking + np.sum(self.probability * (before + self.quiescence), axis=1)))


def burst_response(burst: Burst, *, start: str = "theta_eff") -> Array:
    """Return p(z=1) at each mean potential, shape (m,): ``burst_cycle(burst).p``.

    Examples
    --------
    >>> at_threshold = Burst(mu=np.zeros(1), sigma=np.ones(1), tau_eff=1e-9, tau_syn=10.0, tau_refrac=10.0,
    ...                      v_thresh=0.0, v_reset=-1e-6)
    >>> f"{burst_response(at_threshold)[0]:.4f}"
    '0.7878'
    """
    return burst_cycle(burst, start=start).p


def burst_cycle(burst: Burst, *, start: str = "theta_eff") -> Cycle:
    """Solve the three integral equations: no truncation.

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
        Where sigma is not positive (without noise there are no bursts to propagate), or tau_refrac is so short
        against tau_syn that the grid can't resolve the kernel.
    """
    grid = _discretise(burst, start)
    source = np.stack(
        [np.ones_like(grid.waits), np.einsum("mxy,my->mx", grid.above, grid.climb), grid.waits], axis=2
    )
    solved = np.linalg.solve(np.eye(grid.above.shape[2]) - grid.above[:, 1:], source[:, 1:])
    at_start = source[:, 0] + np.einsum("my,myk->mk", grid.above[:, 0], solved)
    length, drift, quiescence = at_start.T
    quiescence = np.where(grid.out_of_reach, np.inf, quiescence)
    return Cycle(length=length, drift=drift, quiescence=quiescence, tau_refrac=burst.tau_refrac)


def burst_terms(burst: Burst, longest: int, *, start: str = "theta_eff") -> BurstTerms:
    """Return P_n, T_n and tau_b_n for n = 1 .. ``longest``, by propagating the density from spike to spike."""
    grid = _discretise(burst, start)
    m = len(grid.waits)
    probability, quiescence, drift = (np.zeros((m, longest)) for _ in range(3))
    density, alive = grid.above[:, 0], np.ones(m)  # after the first refractory period, given the burst's start
    waiting = grid.waits[:, 0]
    for n in range(longest):
        goes_on = density.sum(axis=1)
        probability[:, n] = alive - goes_on
        with np.errstate(divide="ignore", invalid="ignore"):
            quiescence[:, n] = np.where(probability[:, n] > 0, waiting / probability[:, n], 0.0)
            drift[:, n] = np.where(goes_on > 0, np.sum(density * grid.climb, axis=1) / goes_on, 0.0)
        waiting = np.sum(density * grid.waits[:, 1:], axis=1)
        density, alive = np.einsum("mx,mxy->my", density, grid.above[:, 1:]), goes_on
    quiescence[grid.out_of_reach] = np.inf
    return BurstTerms(probability=probability, quiescence=quiescence, drift=drift, tau_refrac=burst.tau_refrac)


@dataclass(frozen=True, slots=True)
class _Grid:
    """The propagator on Gauss-Legendre nodes y = threshold +- L t^2; row 0 starts at x0, the others at nodes."""

    above: Array
    """K(x, y) dy for y above threshold, (m, 1 + nodes, nodes)."""
    climb: Array
    """tau_b(y), (m, nodes), ms."""
    waits: Array
    """int_{y < threshold} K(x, y) T(y) dy, (m, 1 + nodes), ms."""
    out_of_reach: Array
    """Where the threshold is so far above that T overflows, (m,)."""


def _discretise(burst: Burst, start: str) -> _Grid:
    require(start in ("theta", "theta_eff"), "start", "'theta' or 'theta_eff'", start)
    require(bool(np.all(burst.sigma > 0)), "sigma", "> 0 mV (the burst theory needs noise)", burst.sigma)
    if burst.tau_eff > 0.5 * burst.tau_syn:
        warnings.warn(
            "the burst theory assumes tau_eff << tau_syn; at tau_eff/tau_syn = "
            f"{burst.tau_eff / burst.tau_syn:.2g} its p(z=1) is off by .03 to .05: use the density solver",
            BoltzspikeWarning,
            stacklevel=4,
        )
    mu, sigma, theta = burst.mu[:, None], burst.sigma[:, None], burst.v_thresh
    r = np.exp(-burst.tau_refrac / burst.tau_syn)
    narrowness = 0.5 / np.sqrt(1 - r * r)
    number = int(np.ceil(_NODES * max(narrowness, 1.0)))
    shortest = burst.tau_syn * (_NODES / _MOST_NODES) ** 2 / 8
    require(number <= _MOST_NODES, "tau_refrac", f"above {shortest:.2g} ms for the burst theory", burst.tau_refrac)
    spread = sigma * np.sqrt(1 - r * r)

    nodes, weights = np.polynomial.legendre.leggauss(number)
    t, dt = (nodes + 1) / 2, weights / 2
    reach_up = np.maximum(mu - theta, 0) + _REACH * sigma
    above, d_above = theta + reach_up * t**2, reach_up * 2 * t * dt
    reach_down = np.maximum(theta - mu, 0) + _REACH * sigma
    below, d_below = theta - reach_down * t[::-1] ** 2, reach_down * (2 * t * dt)[::-1]

    x0 = theta if start == "theta" else burst.theta_eff[:, None]
    x = np.concatenate([np.broadcast_to(x0, mu.shape), above], axis=1)

    def kernel(y: Array, dy: Array) -> Array:
        z = (y[:, None, :] - (mu + (x - mu) * r)[:, :, None]) / spread[:, :, None]
        return np.exp(-z * z / 2) * (dy[:, None, :] / (np.sqrt(2 * np.pi) * spread[:, :, None]))

    wait = mean_passage_time(below, burst.theta_eff[:, None], mu, sigma, burst.tau_syn)
    return _Grid(
        above=kernel(above, d_above),
        climb=burst.tau_eff * np.log((above - burst.v_reset) / (above - theta)),
        waits=np.einsum("mxy,my->mx", kernel(below, d_below), np.where(np.isinf(wait), 0.0, wait)),
        out_of_reach=np.isinf(wait).any(axis=1),
    )
