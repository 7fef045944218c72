"""Simulate one LIF neuron in continuous time: the truth that response functions are measured against.

Poisson inputs arrive at exact times. Between arrivals the conductances decay exactly and the membrane is
integrated by RK4 with steps of at most a fifth of its momentary time constant; threshold crossings are
located on the cubic Hermite interpolant, those that begin and end within one step included. The time grid
therefore leaves an error of about 1e-5 in p (``--check-step`` halves the step at the same seed and prints
the difference). All potentials of a run share the same input, so their errors are correlated; the standard
errors come from independent runs. It shares no code with ``boltzspike.theory``.

    python benchmarks/event_driven.py S1 --duration 2e6
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass

import numba
import numpy as np

from boltzspike.model.background import PoissonBackground
from boltzspike.model.neuron import LIF, CurrentLIF


@dataclass(frozen=True, kw_only=True)
class SimulatedResponse:
    """Estimates of ``runs`` independent runs with the standard errors of their means."""

    mu: np.ndarray
    """Mean effective potential without spikes, mV."""
    p: np.ndarray
    """Fraction of time spent refractory."""
    p_se: np.ndarray
    isi_cv: np.ndarray
    isi_cv_se: np.ndarray
    burst_fraction: np.ndarray
    """Share of spikes after which the effective potential is above threshold when the refractory time ends."""
    burst_fraction_se: np.ndarray
    seconds: float
    """Time it took."""


@numba.njit(cache=True)
def _first_crossing(v0: float, v1: float, slope0: float, slope1: float, h: float) -> float:
    """Return the first t in (0, h] where the Hermite cubic reaches 0 from below, or -1."""
    # cubic in x = t/h: v0 + b x + c x^2 + d x^3
    b = slope0 * h
    c = 3.0 * (v1 - v0) - h * (2.0 * slope0 + slope1)
    d = 2.0 * (v0 - v1) + h * (slope0 + slope1)
    right = 1.0
    if v1 < 0.0:
        if not (slope0 > 0.0 and slope1 < 0.0):
            return -1.0
        if max(v0, v1) + 0.5 * h * max(slope0, -slope1) < 0.0:
            return -1.0
        # the one maximum inside: root of b + 2 c x + 3 d x^2, by bisection
        left = 0.0
        for _ in range(50):
            middle = 0.5 * (left + right)
            if b + 2.0 * c * middle + 3.0 * d * middle * middle > 0.0:
                left = middle
            else:
                right = middle
        if v0 + right * (b + right * (c + right * d)) < 0.0:
            return -1.0
    left = 0.0
    for _ in range(50):
        middle = 0.5 * (left + right)
        if v0 + middle * (b + middle * (c + middle * d)) < 0.0:
            left = middle
        else:
            right = middle
    return right * h


@numba.njit(cache=True)
def _run(
    seed, base, c_m, g_l, a, b, tau, rates, kind, v_reset, tau_refrac, duration, burn_in, fraction,
    spikes, isi, isi2, above,
):  # fmt: skip
    """Integrate all potentials under one shared input; v is measured from threshold, base is S without input."""
    np.random.seed(seed)  # noqa: NPY002  numba's own generator
    count = base.size
    total = rates.sum()
    x = np.zeros(2)  # decaying traces of S: exc, inh
    y = np.zeros(2)  # the same of G
    v = np.full(count, v_reset)
    release = np.zeros(count)  # end of the refractory period
    last = np.full(count, -1.0)
    t = 0.0
    end = burn_in + duration
    h_limit = min(0.05 * min(tau[0], tau[1]), 0.24 * tau_refrac)
    while t < end:
        wait = np.random.exponential(1.0 / total) if total > 0.0 else end  # noqa: NPY002
        left = min(wait, end - t)
        while left > 0.0:
            h = min(h_limit, fraction * c_m / (g_l + y[0] + y[1]))
            if h >= left:
                h = left
                left = 0.0
            else:
                n = math.ceil(left / h)
                h = left / n
                left -= h
            half0 = math.exp(-0.5 * h / tau[0])
            half1 = math.exp(-0.5 * h / tau[1])
            s0 = x[0] + x[1]
            s1 = x[0] * half0 + x[1] * half1
            s2 = x[0] * half0 * half0 + x[1] * half1 * half1
            g0 = g_l + y[0] + y[1]
            g1 = g_l + y[0] * half0 + y[1] * half1
            g2 = g_l + y[0] * half0 * half0 + y[1] * half1 * half1
            for k in range(count):
                until = release[k] - t
                if until >= h:
                    continue
                start = 0.0
                hh = h
                sa, sb, sc, ga, gb, gc = s0, s1, s2, g0, g1, g2
                if until > 0.0:  # released inside this step: integrate the rest of it
                    start = until
                    hh = h - until
                    e0 = math.exp(-until / tau[0])
                    e1 = math.exp(-until / tau[1])
                    sa = x[0] * e0 + x[1] * e1
                    ga = g_l + y[0] * e0 + y[1] * e1
                    e0 *= math.exp(-0.5 * hh / tau[0])
                    e1 *= math.exp(-0.5 * hh / tau[1])
                    sb = x[0] * e0 + x[1] * e1
                    gb = g_l + y[0] * e0 + y[1] * e1
                    if t >= burn_in and sa + base[k] > 0.0:
                        above[k] += 1
                v0 = v[k]
                drive = base[k]
                k1 = (drive + sa - ga * v0) / c_m
                k2 = (drive + sb - gb * (v0 + 0.5 * hh * k1)) / c_m
                k3 = (drive + sb - gb * (v0 + 0.5 * hh * k2)) / c_m
                k4 = (drive + sc - gc * (v0 + hh * k3)) / c_m
                v1 = v0 + hh * (k1 + 2.0 * k2 + 2.0 * k3 + k4) / 6.0
                slope1 = (drive + sc - gc * v1) / c_m
                if v1 >= 0.0 or (k1 > 0.0 and slope1 < 0.0):
                    crossing = _first_crossing(v0, v1, k1, slope1, hh)
                    if crossing >= 0.0:
                        now = t + start + crossing
                        release[k] = now + tau_refrac
                        v[k] = v_reset
                        if now >= burn_in:
                            spikes[k] += 1
                            if last[k] >= burn_in:
                                isi[k] += now - last[k]
                                isi2[k] += (now - last[k]) ** 2
                        last[k] = now
                        continue
                v[k] = v1
            x[0] *= half0 * half0
            x[1] *= half1 * half1
            y[0] *= half0 * half0
            y[1] *= half1 * half1
            t += h
        if t >= end:
            break
        pick = np.random.random() * total  # noqa: NPY002
        source = 0
        while source < rates.size - 1 and pick >= rates[source]:
            pick -= rates[source]
            source += 1
        x[kind[source]] += a[source]
        y[kind[source]] += b[source]


def _statistics(neuron: LIF | CurrentLIF, background: PoissonBackground):
    """Return per source: kind (0 exc, 1 inh), jump of S (nA), jump of G (uS), rate (1/ms), tau_syn (ms)."""
    weights = np.asarray(background.weights, float)
    kind = (weights < 0).astype(np.int64)
    if isinstance(neuron, LIF):
        reach = np.where(kind == 1, neuron.e_rev_inh - neuron.v_thresh, neuron.e_rev_exc - neuron.v_thresh)
        b = np.abs(weights)
        a = b * reach
    else:
        a, b = weights.copy(), np.zeros_like(weights)
    tau = np.array([neuron.tau_syn_exc, neuron.tau_syn_inh])
    return kind, a, b, np.asarray(background.rates, float) / 1000.0, tau


def potential_scale(neuron: LIF | CurrentLIF, background: PoissonBackground) -> tuple[float, float]:
    """Return <G> (uS) and the SD of the effective potential at threshold (mV), by Campbell's theorem."""
    kind, a, b, rates, tau = _statistics(neuron, background)
    mean_g = neuron.g_l + float(np.sum(rates * tau[kind] * b))
    return mean_g, math.sqrt(float(np.sum(rates * tau[kind] * a**2)) / 2.0) / mean_g


def simulate(
    neuron: LIF | CurrentLIF,
    background: PoissonBackground,
    mu: np.ndarray,
    *,
    duration: float = 1e6,
    runs: int = 16,
    seed: int = 1,
    step: float = 0.2,
) -> SimulatedResponse:
    """Simulate ``runs`` runs of ``duration`` ms at each mean effective potential ``mu`` (mV).

    The bias (v_rest or i_offset, it makes no difference) is chosen so that ``mu = theta + <S>/<G>``.
    ``step`` is the largest step in units of the membrane's momentary time constant.
    """
    if neuron.kernel != "exponential":
        raise ValueError("event_driven simulates exponential kernels only")
    started = time.perf_counter()
    mu = np.atleast_1d(np.asarray(mu, float))
    kind, a, b, rates, tau = _statistics(neuron, background)
    mean_g, _ = potential_scale(neuron, background)
    base = (mu - neuron.v_thresh) * mean_g - np.sum(rates * tau[kind] * a)
    p, cv, burst = (np.empty((runs, mu.size)) for _ in range(3))
    for run in range(runs):
        spikes, above = np.zeros(mu.size, np.int64), np.zeros(mu.size, np.int64)
        isi, isi2 = np.zeros(mu.size), np.zeros(mu.size)
        _run(
            seed * 100003 + run, base, neuron.c_m, neuron.g_l, a, b, tau, rates, kind,
            neuron.v_reset - neuron.v_thresh, neuron.tau_refrac, duration, 20.0 * max(tau.max(), neuron.tau_m),
            step, spikes, isi, isi2, above,
        )  # fmt: skip
        p[run] = spikes * neuron.tau_refrac / duration
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = isi / (spikes - 1)
            cv[run] = np.sqrt(np.maximum(isi2 / (spikes - 1) - mean**2, 0.0)) / mean
            burst[run] = above / spikes

    def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return values.mean(axis=0), values.std(axis=0, ddof=1) / math.sqrt(runs)

    (p_mean, p_se), (cv_mean, cv_se), (burst_mean, burst_se) = map(mean_and_error, (p, cv, burst))
    return SimulatedResponse(
        mu=mu, p=p_mean, p_se=p_se, isi_cv=cv_mean, isi_cv_se=cv_se,
        burst_fraction=burst_mean, burst_fraction_se=burst_se, seconds=time.perf_counter() - started,
    )  # fmt: skip


def main() -> None:
    from response_errors import SETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=sorted(SETS), help="parameter set of benchmarks/response_errors.py")
    parser.add_argument("--duration", type=float, default=1e6, help="ms per run")
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--points", type=int, default=13, help="potentials from -3 to 3 sigma")
    parser.add_argument("--check-step", action="store_true", help="repeat with half the step")
    options = parser.parse_args()
    neuron, background = SETS[options.set]
    _, sigma = potential_scale(neuron, background)
    mu = neuron.v_thresh + np.linspace(-3, 3, options.points) * sigma
    settings = {"duration": options.duration, "runs": options.runs, "seed": options.seed}
    result = simulate(neuron, background, mu, **settings)
    halved = simulate(neuron, background, mu, **settings, step=0.1) if options.check_step else None
    print(f"{options.set}: {result.seconds:.1f} s")
    print("      mu/mV        p       SE   isi_cv    burst" + ("  half step" if halved else ""))
    for k in range(mu.size):
        line = f"{mu[k]:11.4f} {result.p[k]:8.5f} {result.p_se[k]:8.5f} {result.isi_cv[k]:8.4f}"
        line += f" {result.burst_fraction[k]:8.5f}"
        print(line + (f" {halved.p[k] - result.p[k]:+10.6f}" if halved else ""))


if __name__ == "__main__":
    main()
