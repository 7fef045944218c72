"""Measure what depressing recurrent synapses gain: D_KL bias by rule, recovery and delay.

Five units, weights and biases uniform in +-.6 or N(0, 1); preset S1; U = 1. tau_rec = 10 ms are renewing synapses.
What ``design_synapse`` finds for each delay is named first.

python benchmarks/synapses.py [--seed N] [--targets N] [--duration MS] [--rules psp matched]
"""

import argparse

import numpy as np

import boltzspike as bs

CASES = ((10.0, 0.1), (13.0, 0.1), (15.0, 0.1), (17.0, 0.1), (20.0, 0.1), (13.0, 1.0), (15.0, 1.0))


def targets(law, number, seed):
    rng = np.random.default_rng(seed)
    draw = {"uniform": lambda size: rng.uniform(-0.6, 0.6, size), "normal": lambda size: rng.normal(0, 1, size)}[
        law
    ]
    for _ in range(number):
        weights = np.triu(draw((5, 5)), 1)
        yield bs.BoltzmannMachine(weights=weights + weights.T, biases=draw(5))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--targets", type=int, default=6)
    parser.add_argument("--duration", type=float, default=4e4)
    parser.add_argument("--rules", nargs="+", default=["psp"])
    arguments = parser.parse_args()
    calibration = bs.calibrate(bs.presets.S1.neuron, bs.presets.S1.background)
    for delay in sorted({delay for _, delay in CASES}):
        found = bs.design_synapse(calibration, delay=delay)
        print(f"delay {delay:g} ms: design_synapse finds tau_rec = {found.tau_rec:g} ms")
    print(f"{'rule':8} {'weights':8} {'tau_rec':>8} {'delay':>6} {'D_KL bias':>10} {'+-':>8}")
    for rule in arguments.rules:
        for law in ("uniform", "normal"):
            for tau_rec, delay in CASES:
                synapse = bs.Synapse(plasticity="tsodyks-markram", U=1.0, tau_rec=tau_rec, delay=delay)
                found = [
                    bs.sample(
                        machine, calibration=calibration, rule=rule, synapse=synapse, duration=arguments.duration,
                        seed=k,
                    ).kl_divergence()
                    for k, machine in enumerate(targets(law, arguments.targets, arguments.seed))
                ]  # fmt: skip
                error = np.sqrt(sum(d.error**2 for d in found)) / len(found)
                bias = np.mean([d.bias for d in found])
                print(f"{rule:8} {law:8} {tau_rec:8g} {delay:6g} {bias:10.5f} {error:8.5f}", flush=True)


if __name__ == "__main__":
    main()
