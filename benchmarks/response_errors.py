"""Print the error of each response-function method on each parameter set, against simulation.

    python benchmarks/response_errors.py                      # all sets, SE <= .001 (minutes)
    python benchmarks/response_errors.py --sets S1 S4 --duration 2e5

The error is max |p - p_sim| over 13 potentials, mu = theta + (-3..3) sigma, with the simulation's standard
error where it is attained, and the time per point. Add a method to ``METHODS``. Simulations are kept in
``--cache`` and reused as long as set, duration, runs and seed stay the same.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
from event_driven import SimulatedResponse, potential_scale, simulate

from boltzspike.errors import BoltzspikeWarning
from boltzspike.model.background import PoissonBackground
from boltzspike.model.neuron import LIF, CurrentLIF
from boltzspike.theory import classical
from boltzspike.theory.burst import Burst, burst_response
from boltzspike.theory.density import density_response
from boltzspike.theory.predict import burst_of, predict

Neuron = LIF | CurrentLIF
Method = Callable[[Neuron, PoissonBackground, np.ndarray], np.ndarray]
"""p at each mean effective potential mu (mV)."""

R = PoissonBackground


def _lif(c_m, tau_m, thresh, reset, tau_syn, tau_refrac, e_exc, e_inh, tau_syn_inh=None) -> LIF:
    return LIF(
        c_m=c_m, tau_m=tau_m, v_rest=thresh, v_reset=reset, v_thresh=thresh, tau_refrac=tau_refrac,
        tau_syn_exc=tau_syn, tau_syn_inh=tau_syn_inh or tau_syn, e_rev_exc=e_exc, e_rev_inh=e_inh,
    )  # fmt: skip


def _current(c_m, tau_m, thresh, reset, tau_syn, tau_refrac, tau_syn_inh=None) -> CurrentLIF:
    return CurrentLIF(
        c_m=c_m, tau_m=tau_m, v_rest=thresh, v_reset=reset, v_thresh=thresh, tau_refrac=tau_refrac,
        tau_syn_exc=tau_syn, tau_syn_inh=tau_syn_inh or tau_syn,
    )  # fmt: skip


SETS: dict[str, tuple[LIF | CurrentLIF, PoissonBackground]] = {
    # one synaptic time constant; the bias is set through mu
    "S1": (_lif(0.2, 1, -50, -50.001, 10, 10, 0, -100), R(rates=[3000, 3000], weights=[0.001, -0.001])),
    "S2": (_lif(0.1, 20, -52, -53, 10, 10, 0, -90), R(rates=[5000, 5000], weights=[0.001, -0.00136])),
    "S3": (_lif(0.2, 1, -50, -50.001, 10, 10, 0, -100), R(rates=[400, 400], weights=[0.002, -0.002])),
    "S3b": (_lif(0.1, 20, -52, -53, 10, 10, 0, -90), R(rates=[400, 400], weights=[0.002, -0.0027])),
    "S4": (_lif(0.1, 20, -50, -60, 5, 2, 0, -80), R(rates=[1000, 1000], weights=[0.0006, -0.001])),
    "S5a": (_current(0.2, 1, -50, -50.001, 10, 10), R(rates=[1000, 1000], weights=[0.2, -0.2])),
    "S5b": (_current(0.2, 0.1, -50, -50.001, 10, 10), R(rates=[1000, 1000], weights=[2, -2])),
    # unequal synaptic time constants
    "U1": (_lif(0.2, 1, -50, -50.001, 5, 10, 0, -100, 10), R(rates=[3000, 3000], weights=[0.001, -0.001])),
    "U2": (_lif(0.1, 20, -52, -53, 2, 10, 0, -90, 10), R(rates=[5000, 5000], weights=[0.002, -0.00136])),
    "U3": (_lif(0.1, 20, -50, -60, 3, 2, 0, -80, 8), R(rates=[1000, 1000], weights=[0.001, -0.001])),
    "U4": (_current(0.2, 1, -50, -50.001, 30, 10, 3), R(rates=[400, 1000], weights=[0.1, -0.3])),
}


def _density(**options) -> Method:
    return lambda neuron, background, mu: (
        density_response(neuron, background, mu, error=False, cv=False, **options).p
    )


def _classical(formula: Callable[..., np.ndarray]) -> Method:
    def method(neuron: Neuron, background: PoissonBackground, mu: np.ndarray) -> np.ndarray:
        if neuron.tau_syn_exc != neuron.tau_syn_inh:
            return np.full(mu.shape, np.nan)
        mean_g, sigma = potential_scale(neuron, background)
        tau_eff, tau_syn = neuron.c_m / mean_g, neuron.tau_syn_exc
        return formula(mu, sigma, tau_eff, tau_syn, neuron.v_thresh, neuron.v_reset, neuron.tau_refrac)

    return method


def _burst(method: str) -> Method:
    def predicted(neuron: Neuron, background: PoissonBackground, mu: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():  # of S4, outside its range: the table says by how much it is off
            warnings.simplefilter("ignore", BoltzspikeWarning)
            return predict(neuron, background, mu, method=method)[0]

    return predicted


class _Unshifted(Burst):
    """The burst theory without its correction for finite tau_eff/tau_syn in the quiescence."""

    @property
    def theta_eff(self) -> np.ndarray:
        return np.full_like(self.mu, self.v_thresh)


def _burst_unshifted(neuron: Neuron, background: PoissonBackground, mu: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BoltzspikeWarning)
        burst = burst_of(neuron, background, mu)
        terms = {field.name: getattr(burst, field.name) for field in fields(Burst)}
        return burst_response(_Unshifted(**terms), start="theta")


METHODS: dict[str, Method] = {
    "density": _density(),
    "density, grid / 1.5": _density(refine=1.5),
    "density, one node": _density(nodes=1),
    "density, two nodes": _density(nodes=2),
    "burst": _burst("burst"),
    "burst-paper": _burst("burst-paper"),
    "burst-paper, no shift": _burst_unshifted,
    "Siegert": _classical(classical.siegert),
    "Siegert, coloured": _classical(classical.siegert_coloured),
    "adiabatic": _classical(classical.moreno_bote_parga),
    "error function": _classical(classical.error_function),
}


def simulated(name: str, cache: Path | None, *, duration: float, runs: int, seed: int) -> SimulatedResponse:
    """Return the simulation of a set at 13 potentials, from the cache if it is there."""
    neuron, background = SETS[name]
    mu = neuron.v_thresh + np.linspace(-3, 3, 13) * potential_scale(neuron, background)[1]
    settings = repr((neuron, background.rates.tolist(), background.weights.tolist(), duration, runs, seed))
    path = cache / f"{name}.npz" if cache else None
    if path and path.exists():
        stored = np.load(path)
        if str(stored["settings"]) == settings:
            return SimulatedResponse(**{k: stored[k] for k in stored.files if k != "settings"})
    result = simulate(neuron, background, mu, duration=duration, runs=runs, seed=seed)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {field: getattr(result, field) for field in SimulatedResponse.__dataclass_fields__}
        np.savez(path, settings=settings, **values)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--duration", type=float, default=8e5, help="ms of each run")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="folder for simulated responses")
    options = parser.parse_args()
    settings = {"duration": options.duration, "runs": options.runs, "seed": options.seed}
    truth = {name: simulated(name, options.cache, **settings) for name in options.sets}
    width = max(map(len, options.methods)) + 2
    print("max |p - p_sim| over 13 potentials (SE of p_sim where it is attained)")
    print(" " * width + "".join(f"{name:>18}" for name in options.sets) + "   ms/point")
    print("largest SE".ljust(width) + "".join(f"{t.p_se.max():18.5f}" for t in truth.values()))
    for label in options.methods:
        row, seconds, points = label.ljust(width), 0.0, 0
        for name, t in truth.items():
            METHODS[label](*SETS[name], t.mu[:1])  # warm up
            start = time.perf_counter()
            p = METHODS[label](*SETS[name], t.mu)
            seconds, points = seconds + time.perf_counter() - start, points + p.size
            error = np.abs(p - t.p)
            worst = int(np.argmax(error))
            cell = f"{error[worst]:.5f} ({t.p_se[worst]:.5f})".replace("0.", ".")
            row += ("-" if np.isnan(error).any() else cell).rjust(18)
        print(row + f"{1e3 * seconds / points:11.2f}", flush=True)


if __name__ == "__main__":
    main()
