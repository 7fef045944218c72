"""The inverse problem: a background that gives a neuron the noise, speed and working point that are wanted."""

from __future__ import annotations

import numpy as np

from boltzspike.errors import UnsupportedFeature, require
from boltzspike.model.background import PoissonBackground
from boltzspike.model.neuron import LIF, Neuron
from boltzspike.units import hz


def design_background(
    neuron: Neuron, *, sigma: float, tau_eff: float | None = None, mu: float | None = None, rate: float = 3000.0
) -> PoissonBackground:
    """Return one excitatory and one inhibitory source that give the wanted moments, in closed form.

    Conductance-based: the mean conductances g_e, g_i follow from two linear equations, ``g_l + g_e + g_i = G =
    c_m/tau_eff`` and ``g_l (v_rest - theta) + i_offset + g_e F_e - g_i F_i = G (mu - theta)`` with the driving
    forces ``F_x = |e_rev_x - theta|``. The jumps of both sources are made equal, ``w_x F_x = J``; then ``sigma^2 =
    J (g_e F_e + g_i F_i)/(2 G^2)`` gives J, and ``rate_x = g_x/(w_x tau_syn_x)``. Current-based: tau_eff is
    tau_m, whatever the input; two sources of ``rate`` each.

    Parameters
    ----------
    neuron
        The neuron, with exponential synapses; its v_rest and i_offset are kept.
    sigma
        Wanted standard deviation of the effective potential (jumps measured at threshold), mV.
    tau_eff
        Wanted effective membrane time constant, ms; current-based: ``None`` or tau_m.
    mu
        Wanted mean effective potential, mV; ``None``: the threshold.
    rate
        Rate of each source of a current-based neuron, Hz.

    Raises
    ------
    ValidationError
        Naming what can't be reached and the range that can.
    """
    if neuron.kernel != "exponential":
        raise UnsupportedFeature("design: alpha kernels are not supported; use kernel='exponential'")
    require(np.isfinite(sigma) and sigma > 0, "design.sigma", "> 0 mV", sigma)
    mean_v = 0.0 if mu is None else mu - neuron.v_thresh
    bias = neuron.g_l * (neuron.v_rest - neuron.v_thresh) + neuron.i_offset
    if not isinstance(neuron, LIF):
        return _design_currents(neuron, sigma, tau_eff, neuron.g_l * mean_v - bias, rate)
    require(tau_eff is not None and np.isfinite(tau_eff) and tau_eff > 0, "design.tau_eff", "> 0 ms", tau_eff)
    assert tau_eff is not None
    allowed = f"below tau_m = {neuron.tau_m:g} ms (input conductance can only make the membrane faster)"
    require(tau_eff < neuron.tau_m, "design.tau_eff", allowed, tau_eff)
    g_tot = neuron.c_m / tau_eff
    input_ = g_tot - neuron.g_l
    drive = g_tot * mean_v - bias
    force_exc, force_inh = neuron.e_rev_exc - neuron.v_thresh, neuron.v_thresh - neuron.e_rev_inh
    g_exc = (drive + input_ * force_inh) / (force_exc + force_inh)
    g_inh = input_ - g_exc
    lowest, highest = (bias + input_ * force for force in (-force_inh, force_exc))
    allowed = (
        f"between {neuron.v_thresh + lowest / g_tot:.5g} and {neuron.v_thresh + highest / g_tot:.5g} mV, "
        "what this v_rest and i_offset can reach at this tau_eff"
    )
    require(g_exc > 0 and g_inh > 0, "design.mu", allowed, neuron.v_thresh + mean_v)
    power = g_exc * force_exc + g_inh * force_inh
    jump = 2 * (g_tot * sigma) ** 2 / power
    weights = np.array([jump / force_exc, jump / force_inh])
    rates = np.array([g_exc / (weights[0] * neuron.tau_syn_exc), g_inh / (weights[1] * neuron.tau_syn_inh)])
    # one jump of a third of sigma is shot noise already; a jump of sigma is no noise at all
    largest = power / (2 * g_tot)
    require(
        jump < g_tot * sigma, "design.sigma", f"below {largest:.3g} mV, where one input would be one sigma", sigma
    )
    return PoissonBackground(rates=hz(rates), weights=weights * [1, -1])


def _design_currents(
    neuron: Neuron, sigma: float, tau_eff: float | None, drive: float, rate: float
) -> PoissonBackground:
    reachable = tau_eff is None or bool(np.isclose(tau_eff, neuron.tau_m))
    allowed = f"tau_m = {neuron.tau_m:g} ms: current-based input does not make the membrane faster; change tau_m"
    require(reachable, "design.tau_eff", allowed, tau_eff)
    require(np.isfinite(rate) and rate > 0, "design.rate", "> 0 Hz", rate)
    # w_e tau_e - w_i tau_i = drive/rate and w_e^2 tau_e + w_i^2 tau_i = 2 (g_l sigma)^2/rate
    per_ms_rate = rate * 1e-3
    tau_e, tau_i = neuron.tau_syn_exc, neuron.tau_syn_inh
    offset, power = drive / per_ms_rate, 2 * (neuron.g_l * sigma) ** 2 / per_ms_rate
    a, b, c = tau_i * (tau_i + tau_e), 2 * offset * tau_i, offset**2 - power * tau_e
    root = b * b - 4 * a * c
    inhibitory = (-b + np.sqrt(max(root, 0.0))) / (2 * a)
    excitatory = (offset + inhibitory * tau_i) / tau_e
    allowed = f"such that v_rest and i_offset need no mean drive of {drive:.3g} nA beyond the noise; move v_rest"
    require(root >= 0 and inhibitory > 0 and excitatory > 0, "design.mu", allowed, "out of reach")
    return PoissonBackground(rates=[rate, rate], weights=[excitatory, -inhibitory])
