"""Measure where the learned rule stops being better than the matched one, as weights grow beyond what it saw.

Six units; mean |p - p_exact| over units and targets. Preset S1, renewing.

python benchmarks/rule_range.py [--seed N] [--targets N] [--duration MS]
"""

import argparse
import warnings

import numpy as np

import boltzspike as bs
from boltzspike.pipeline import with_network

UNITS = 6


def gaussian(scale, rng):
    weights = rng.normal(0, scale, (UNITS, UNITS))
    return weights, None


def sparse(scale, rng):
    signs = rng.choice([-1.0, 1.0], (UNITS, UNITS))
    return 2 * scale * signs * (rng.random((UNITS, UNITS)) < 1.6 / UNITS), None


def winner_take_all(scale, rng):
    return np.full((UNITS, UNITS), -2.5 * scale), rng.normal(0.5, 0.3, UNITS)


def machine(family, scale, rng):
    """Return a machine of about zero mean input, or of the biases that the family gives."""
    weights, biases = family(scale, rng)
    weights = np.triu(weights, 1)
    weights += weights.T
    if biases is None:
        biases = -weights.sum(axis=1) / 2 + rng.normal(0, 0.5, UNITS)
    return bs.BoltzmannMachine(weights=weights, biases=biases)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--targets", type=int, default=4)
    parser.add_argument("--duration", type=float, default=1e4)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", bs.BoltzspikeWarning)
    calibration = with_network(bs.calibrate(bs.presets.S1.neuron, bs.presets.S1.background))
    print(f"the learned rule saw |W| up to {calibration.network.max_weight:.2f}")
    print(f"{'family':16} {'scale':>5} {'max |W|':>8} {'learned':>8} {'matched':>8}")
    rng = np.random.default_rng(arguments.seed)
    for family in (gaussian, sparse, winner_take_all):
        for scale in (1.0, 1.5, 2.0, 3.0, 4.5, 7.0):
            rows = []
            for _ in range(arguments.targets):
                target = machine(family, scale, rng)
                row = [np.abs(target.weights).max()]
                for rule in ("learned", "matched"):
                    result = bs.sample(
                        target, calibration=calibration, rule=rule, duration=arguments.duration, chains=32
                    )
                    row.append(np.abs(result.marginals() - result.exact().marginals).mean())
                rows.append(row)
            largest, learned, matched = np.mean(rows, axis=0)
            print(f"{family.__name__:16} {scale:5g} {largest:8.2f} {learned:8.4f} {matched:8.4f}", flush=True)


if __name__ == "__main__":
    main()
