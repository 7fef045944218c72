"""Measure the modes that trade accuracy for speed: larger time steps, and effective currents.

    python benchmarks/time_steps.py [--dt 0.1 0.2 0.5] [--targets N] [--duration MS] [--chains N]

Effective currents are those of S1 with its conductance at its mean. For each mode: a simulated calibration of its
own; by how much the response, at the same biases in units of alpha, is off that of the first mode, so what
calibration does not absorb; then 5-unit machines with weights and biases uniform in +-0.6, translated by the
matched rule: D_KL bias to the target (its sampling error apart), the largest difference of a marginal from the
target's and from that of the first mode; and how many times faster than real time 64 chains of 10 units go, in CPU
time on one core: median and best.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np

import boltzspike as bs
from boltzspike.engines import get_engine
from boltzspike.model.background import PoissonBackground
from boltzspike.model.neuron import Neuron
from boltzspike.program import compile_program
from boltzspike.samples import Record
from boltzspike.theory.membrane import effective_currents, leverage, membrane_statistics

S1 = bs.presets.S1
BIASES = np.linspace(-4, 4, 17)
"""In units of alpha."""
HEADS = (
    "synapses    ", "dt, ms", "        u0, mV       ", "  alpha, mV      ", "response off by ",
    "     D_KL bias     ",
    "off the target", "off the first mode", "x real time, 10 units",
)  # fmt: skip


def speed(neuron: Neuron, background: PoissonBackground, dt: float, repeats: int = 9) -> tuple[float, float]:
    """Return how many times faster than real time 64 chains of 10 units are: median and best."""
    scale = 0.5 * float(np.max(background.weights))
    weights = np.random.default_rng(1).normal(0, scale, (10, 10))
    weights = np.triu(weights, 1) + np.triu(weights, 1).T
    network = bs.SpikingNetwork(neurons=neuron, backgrounds=background, weights=weights)
    runner = get_engine("numba", threads=1).prepare(compile_program(network, dt=dt))
    duration, record = 5000.0, Record(states_every=round(S1.neuron.tau_refrac / dt))
    state = runner.init(seed=1, chains=64)
    _, state = runner.run(state, 1000, record)
    found = []
    for _ in range(repeats):
        start = time.process_time()
        runner.run(state, round(duration / dt), record)
        found.append(64 * duration * 1e-3 / (time.process_time() - start))
    return float(np.median(found)), max(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dt", type=float, nargs="+", default=[0.1, 0.2, 0.5])
    parser.add_argument("--targets", type=int, default=6)
    parser.add_argument("--duration", type=float, default=1e5, help="biological ms per chain")
    parser.add_argument("--chains", type=int, default=64)
    options = parser.parse_args()
    rng = np.random.default_rng(5)
    machines = []
    for _ in range(options.targets):
        weights = np.triu(rng.uniform(-0.6, 0.6, (5, 5)), 1)
        machines.append(bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.uniform(-0.6, 0.6, 5)))

    first: list[np.ndarray] = []
    shape = first_error = None
    print("  ".join(HEADS))
    cells = {"conductances": (S1.neuron, S1.background), "currents": effective_currents(S1.neuron, S1.background)}
    for dt, synapses in itertools.product(options.dt, cells):
        neuron, background = cells[synapses]
        how = {"dt": dt, "method": "simulation", "chains": options.chains, "duration": options.duration}
        calibration = bs.calibrate(neuron, background, points=41, **how)
        mu = calibration.u0 + calibration.alpha * BIASES
        here = membrane_statistics(neuron, background).mu
        x = neuron.v_rest + (mu - here) / leverage(neuron, background, "v_rest")
        p = bs.response(neuron, background, v_rest=x, seed=2, **how)
        shape, first_error = (p.p, p.error) if shape is None else (shape, first_error)
        bend = np.abs(p.p - shape)
        worst = int(np.argmax(bend))

        bias, noise, marginals, exact = [], [], [], []
        for seed, machine in enumerate(machines):
            result = bs.sample(
                machine,
                calibration=calibration,
                rule="matched",
                dt=dt,
                seed=seed,
                duration=options.duration,
                chains=options.chains,
            )
            found = result.kl_divergence()
            bias.append(found.bias)
            noise.append(found.error)
            marginals.append(result.marginals())
            exact.append(result.exact().marginals)
        error = np.max(result.marginals_error())
        first = first or marginals
        median, best = speed(neuron, background, dt)
        values = (
            synapses, f"{dt:g}", f"{calibration.u0:.4f} +- {calibration.u0_error:.4f}",
            f"{calibration.alpha:.4f} +- {calibration.alpha_error:.4f}",
            f"{bend[worst]:.4f} +- {np.hypot(p.error[worst], first_error[worst]):.4f}",
            f"{np.mean(bias):.5f} +- {np.sqrt(np.mean(np.square(noise)) / len(noise)):.5f}",
            f"{np.abs(np.subtract(marginals, exact)).max():.4f}",
            f"{np.abs(np.subtract(marginals, first)).max():.4f} (+- {error * 2**0.5:.4f})",
            f"{median:,.0f} [{best:,.0f}]",
        )  # fmt: skip
        print("  ".join(f"{value:>{len(head)}s}" for value, head in zip(values, HEADS)), flush=True)


if __name__ == "__main__":
    main()
