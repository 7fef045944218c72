"""Measure what the PSP rule leaves: D_KL bias on random 5-unit machines, S1, renewing synapses.

python benchmarks/psp_rule.py [--duration MS] [--chains N]
"""

import argparse

import numpy as np

import boltzspike as bs

FAMILIES = {
    "uniform in +-0.6": lambda rng, shape: rng.uniform(-0.6, 0.6, shape),
    "1.2 (Beta(.5, .5) - .5)": lambda rng, shape: 1.2 * (rng.beta(0.5, 0.5, shape) - 0.5),
    "N(0, 1)": lambda rng, shape: rng.normal(size=shape),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration", type=float, default=1e5, help="biological ms per chain")
    parser.add_argument("--chains", type=int, default=64)
    parser.add_argument("--targets", type=int, default=8)
    arguments = parser.parse_args()
    preset = bs.presets.S1
    calibration = bs.calibrate(preset.neuron, preset.background, control=preset.control)
    for name, draw in FAMILIES.items():
        rng = np.random.default_rng(5)
        found = []
        for seed in range(arguments.targets):
            weights, biases = np.triu(draw(rng, (5, 5)), 1), draw(rng, 5)
            machine = bs.BoltzmannMachine(weights=weights + weights.T, biases=biases)
            result = bs.sample(
                machine, calibration=calibration, duration=arguments.duration, chains=arguments.chains, seed=seed
            )
            found.append(result.kl_divergence())
        bias = np.array([d.bias for d in found])
        noise = np.sqrt(np.mean([d.error**2 for d in found]) / len(found))
        print(f"{name:26} D_KL bias {bias.mean():.4f} +- {noise:.4f} (spread over targets {bias.std(ddof=1):.4f})")


if __name__ == "__main__":
    main()
