"""Statistics of the bombarded membrane: conductances, effective potential, free-membrane moments.

With ``v = V - v_thresh`` the membrane equation reads ``c_m dv/dt = S - G v``, where

- ``S = g_l (v_rest - v_thresh) + i_offset + sum_x a_x exp(-(t - t_s)/tau_syn)``,
  ``a_x = w_x (e_rev_x - v_thresh)``
- ``G = g_l + sum_x b_x exp(-(t - t_s)/tau_syn)``, ``b_x = |w_x|``

(current-based: ``a_x = w_x``, ``b_x = 0``). The effective potential ``V_eff = v_thresh + S/G`` is above threshold
exactly where S > 0, so the nonlinearity of the ratio and the asymmetry of the reversal potentials drop out.
Its mean is taken as ``mu = v_thresh + <S>/<G>`` and its standard deviation as ``sigma = SD(S)/<G>``. The bias
(v_rest or i_offset) moves the mean alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from boltzspike.errors import UnsupportedFeature
from boltzspike.model.background import PoissonBackground, synaptic_shares
from boltzspike.model.description import Array
from boltzspike.model.neuron import LIF, CurrentLIF, Neuron
from boltzspike.units import per_ms


@dataclass(frozen=True, kw_only=True, slots=True)
class MembraneStatistics:
    """First and second moments of one bombarded neuron, exponential synapses."""

    mu: float
    """Mean effective potential, mV."""
    sigma: float
    """Standard deviation of the effective potential, jumps measured at threshold, mV."""
    sigma_at_mean: float
    """The same with jumps measured at the mean, ``w (e_rev - mu)``, as the paper takes it, mV."""
    sigma_free: float
    """Standard deviation of the free membrane potential (no threshold), mV."""
    g_tot: float
    """Mean total conductance, uS."""
    tau_eff: float
    """Effective membrane time constant ``c_m / g_tot``, ms."""
    tau_syn: float
    """Correlation time of S, ms: the synaptic time constant, or the variance-weighted mean of two."""


def jumps(neuron: Neuron, background: PoissonBackground) -> tuple[Array, Array, Array, Array]:
    """Return per source the rate (1/ms), the jump ``a`` of S (nA), the jump ``b`` of G (uS), and tau_syn (ms)."""
    w, rates = np.asarray(background.weights), per_ms(np.asarray(background.rates))
    tau = np.where(w >= 0, neuron.tau_syn_exc, neuron.tau_syn_inh)
    if isinstance(neuron, LIF):
        reversal = np.where(w >= 0, neuron.e_rev_exc, neuron.e_rev_inh)
        return rates, np.abs(w) * (reversal - neuron.v_thresh), np.abs(w), tau
    return rates, w, np.zeros_like(w), tau


def membrane_statistics(neuron: Neuron, background: PoissonBackground) -> MembraneStatistics:
    """Return the moments of a neuron under a background.

    Examples
    --------
    >>> from boltzspike.model import presets
    >>> s = membrane_statistics(presets.S1.neuron, presets.S1.background)
    >>> f"{s.tau_eff:.3f} ms, {s.sigma:.3f} mV"
    '0.769 ms, 1.053 mV'
    """
    rates, a, b, tau = jumps(neuron, background)
    area = _kernel_area(neuron, tau)
    g_tot = neuron.g_l + float(np.sum(rates * b * area))
    bias = neuron.g_l * (neuron.v_rest - neuron.v_thresh) + neuron.i_offset
    mean_v = (bias + float(np.sum(rates * a * area))) / g_tot
    tau_eff = neuron.c_m / g_tot
    a_at_mean = a - b * mean_v
    variance = _kernel_power(neuron, tau) * rates * a**2
    variance_at_mean = _kernel_power(neuron, tau) * rates * a_at_mean**2
    psp_power = _psp_power(neuron, tau, tau_eff)
    total = float(np.sum(variance))
    return MembraneStatistics(
        mu=neuron.v_thresh + mean_v,
        sigma=np.sqrt(total) / g_tot,
        sigma_at_mean=float(np.sqrt(np.sum(variance_at_mean))) / g_tot,
        sigma_free=float(np.sqrt(np.sum(rates * a_at_mean**2 * psp_power))) / neuron.c_m,
        g_tot=g_tot,
        tau_eff=tau_eff,
        tau_syn=float(np.sum(variance * tau)) / total if total > 0 else float(np.mean(tau)) if len(tau) else 0.0,
    )


def effective_currents(neuron: LIF, background: PoissonBackground) -> tuple[CurrentLIF, PoissonBackground]:
    """Return the current-based neuron, and its background, that a conductance-based one is with G at its mean.

    ``c_m dv/dt = S - <G> v`` with S as it is: jumps are measured at threshold, so mu, sigma and tau_eff stay.
    What is lost are the fluctuations of G, which are small in the high-conductance state. Its control is its own
    ``v_rest``: it wants a calibration of its own.

    Raises
    ------
    UnsupportedFeature
        The neuron is current-based already.

    Examples
    --------
    >>> from boltzspike.model import presets
    >>> neuron, background = effective_currents(presets.S1.neuron, presets.S1.background)
    >>> f"tau_m = {neuron.tau_m:.3f} ms, weights {background.weights} nA"
    'tau_m = 0.769 ms, weights [ 0.05 -0.05] nA'
    """
    if not isinstance(neuron, LIF):
        raise UnsupportedFeature(
            f"effective_currents: supports conductance-based neurons (LIF), got a {type(neuron).__name__}"
        )
    statistics = membrane_statistics(neuron, background)
    _, a, _, _ = jumps(neuron, background)
    changed = {
        "tau_m": statistics.tau_eff,
        "v_rest": neuron.v_thresh + neuron.g_l / statistics.g_tot * (neuron.v_rest - neuron.v_thresh),
    }
    kept = {field.name: getattr(neuron, field.name) for field in fields(CurrentLIF)}
    currents = CurrentLIF(**kept | changed)
    return currents, PoissonBackground(rates=background.rates, weights=a.tolist())


def _kernel_area(neuron: Neuron, tau: Array) -> Array:
    """Return the integral of the synaptic kernel: tau, for alpha synapses e tau."""
    return tau * np.e if neuron.kernel == "alpha" else tau


def _kernel_power(neuron: Neuron, tau: Array) -> Array:
    """Return the integral of the squared synaptic kernel: tau/2, for alpha synapses e^2 tau/4."""
    return tau * np.e**2 / 4 if neuron.kernel == "alpha" else tau / 2


def _psp_power(neuron: Neuron, tau: Array, tau_eff: float) -> Array:
    """Return the integral of the squared PSP for a unit jump and unit capacitance (Campbell's theorem).

    Exponential: PSP = tau tau_eff/(tau - tau_eff) (e^{-t/tau} - e^{-t/tau_eff}). Alpha: by Parseval, with the
    transfer function e tau / (1 + i w tau)^2 tau_eff / (1 + i w tau_eff).
    """
    if neuron.kernel == "exponential":
        return tau**2 * tau_eff**2 / (2 * (tau + tau_eff))
    return np.e**2 * tau**2 * tau_eff**2 * (tau + 2 * tau_eff) / (4 * (tau + tau_eff) ** 2)


def free_autocorrelation(neuron: Neuron, background: PoissonBackground, lag: Array) -> Array:
    """Return the autocorrelation function of the free membrane potential (no threshold), shape of ``lag``.

    By Campbell's theorem each source adds ``nu a^2 int PSP(t) PSP(t + lag) dt`` to the autocovariance; for a PSP
    of two exponentials that integral is in proportion to ``(tau e^{-lag/tau} - tau_eff e^{-lag/tau_eff})/(tau -
    tau_eff)``, and to ``(1 + lag/tau) e^{-lag/tau}`` where the two time constants are equal. The conductance is
    taken at its mean, as in ``sigma_free``.

    Parameters
    ----------
    lag
        Time lags >= 0, ms.

    Examples
    --------
    >>> from boltzspike.model import presets
    >>> free_autocorrelation(presets.S1.neuron, presets.S1.background, np.array([0.0, 1.0, 10.0])).round(3)
    array([1.   , 0.958, 0.399])
    """
    if neuron.kernel != "exponential":
        raise UnsupportedFeature("free_autocorrelation: supports exponential synapses only, not alpha")
    statistics = membrane_statistics(neuron, background)
    rates, a, b, tau = jumps(neuron, background)
    jump = a - b * (statistics.mu - neuron.v_thresh)
    power = rates * jump**2 * _psp_power(neuron, tau, statistics.tau_eff)
    total = np.zeros(np.shape(lag))
    for share, one in zip(power / power.sum(), tau):
        total += share * _psp_overlap(np.asarray(lag, dtype=float), float(one), statistics.tau_eff)
    return total


def _psp_overlap(lag: Array, tau: float, tau_eff: float) -> Array:
    """Return the autocorrelation of a PSP of two exponentials, 1 at lag 0."""
    if abs(tau - tau_eff) < 1e-6 * tau:
        return np.asarray((1 + lag / tau) * np.exp(-lag / tau))
    return np.asarray((tau * np.exp(-lag / tau) - tau_eff * np.exp(-lag / tau_eff)) / (tau - tau_eff))


def leverage(neuron: Neuron, background: PoissonBackground, control: str) -> float:
    """Return d(mu)/d(control), exact, for the mean potential is linear in every control.

    ``g_l/<G>`` (mV per mV) for v_rest, ``1/<G>`` (mV per nA) for i_offset; for the balance ``(g_e + g_i)
    (e_rev_exc - e_rev_inh)/<G>``, current-based ``2 (I_e + |I_i|)/<G>`` (mV).
    """
    g_tot = membrane_statistics(neuron, background).g_tot
    if control != "balance":
        return (neuron.g_l if control == "v_rest" else 1.0) / g_tot
    synaptic_shares(neuron, background)  # a balance needs both
    rates, _, _, tau = jumps(neuron, background)
    input_ = float(np.sum(rates * np.abs(background.weights) * _kernel_area(neuron, tau)))
    return input_ * (neuron.e_rev_exc - neuron.e_rev_inh if isinstance(neuron, LIF) else 2.0) / g_tot
