"""Choose features for the learned rule: stepwise, by the error on families of networks that it has not seen.

python benchmarks/rule_features.py [--networks N] [--seed N] [--gain X]

Small random networks of preset S1 are simulated as for ``boltzspike calibrate --network`` (five minutes).
Candidates are products that ``translation.learned`` can name. The one that lowers the error most is added,
those that the others have made superfluous are dropped, until a step leaves more than X of the error. That is
the D_KL that the rule learned from the other families leaves a family, each network weighted by the inverse of
what the present rule leaves it. It takes sums of squares alone, so a step over all candidates takes a second.
Many lists leave the same within a few percent; of these the one that ships did best on machines of 30 to 90
units (docs/translation.md).
"""

import argparse
import itertools

import numpy as np

import boltzspike as bs
from boltzspike.pipeline.translations import taught_networks
from boltzspike.translation import teaching
from boltzspike.translation.learned import (
    FEATURES,
    WEIGHTS,
    Context,
    bias_feature,
    weight_feature,
)
from boltzspike.translation.working_point import enumerated

OWN = ["1", "m", "m m m", "share", "share m", "share u", "u", "u u", "field", "spread", "spread u", "spread m"]
NEIGHBOURS = [
    "1", "near", "alive", "near alive", "near share", "share", "spread", "chance", "alive2", "variance",
    "share variance", "near near", "p", "u", "near u",
]  # fmt: skip
TIMES = ["1", "share", "u", "spread", "m"]
OF_GAIN = ["1", "share", "spread", "alive", "alive2", "lean", "u", "variance", "m", "chance"]
BOTH = ["share", "alive", "lean", "spread", "u"]
BIASES = [*OWN, *(f"{u} sum {w} {n}" for w, u, n in itertools.product(WEIGHTS, TIMES, NEIGHBOURS))]
GAINS = [
    *(f"{w} {g}" for w, g in itertools.product(WEIGHTS, OF_GAIN)),
    *(f"{w} {g} x {g}" for w, g in itertools.product(WEIGHTS, BOTH)),
]
RIDGE = 1e-4
"""Of features scaled to unit curvature."""
DUPLICATE = 0.999
"""A step back must not lose more than this share."""


def design(example):
    """Return the candidates of one network, a row a parameter (biases, then coupled pairs)."""
    machine = example.machine
    context, n = Context.of(machine, enumerated(machine)), machine.n_units
    pairs = np.nonzero(np.triu(np.asarray(machine.weights), 1))
    matrix = np.zeros((n + len(pairs[0]), len(BIASES) + len(GAINS)))
    for column, name in enumerate(BIASES):
        matrix[:n, column] = bias_feature(name)(context)
    for column, name in enumerate(GAINS, start=len(BIASES)):
        matrix[n:, column] = weight_feature(name)(context)[pairs]
    return matrix


class Error:
    """The error on families, each unseen, of the rule with some of the candidates."""

    def __init__(self, examples):
        families = list(dict.fromkeys(e.family for e in examples))
        weight = 1 / (teaching.learn(examples)[1] + teaching.LEAST_ERROR)
        size = len(BIASES) + len(GAINS)
        self.curvature, self.slope = np.zeros((len(families), size, size)), np.zeros((len(families), size))
        self.whole = np.zeros(len(families))
        for k, family in enumerate(families):
            of_family = [e.family == family for e in examples]
            for example, w in zip(
                itertools.compress(examples, of_family), weight[of_family] / weight[of_family].sum()
            ):
                matrix = design(example)
                self.curvature[k] += w * matrix.T @ example.fisher @ matrix
                self.slope[k] += w * matrix.T @ example.fisher @ example.used
                self.whole[k] += w * example.used @ example.fisher @ example.used
        scale = np.sqrt(self.curvature.sum(axis=0).diagonal())
        self.curvature /= scale[:, None] * scale
        self.slope /= scale

    def __call__(self, chosen):
        """Return the mean error of the families relative to that without features."""
        block = np.ix_(range(len(self.whole)), chosen, chosen)
        curvature, slope = self.curvature[block], self.slope[:, chosen]
        others = curvature.sum(axis=0) - curvature + RIDGE * np.eye(len(chosen))
        c = np.linalg.solve(others, (slope.sum(axis=0) - slope)[..., None])[..., 0]
        left = self.whole - 2 * (slope * c).sum(axis=1) + np.einsum("fi,fij,fj->f", c, curvature, c)
        return float((left / self.whole.sum()).sum())


def stepwise(error, least_gain):
    """Print the steps, and return the candidates chosen."""
    names = [*(f"b: {name}" for name in BIASES), *(f"W: {name}" for name in GAINS)]
    chosen = [names.index("W: W 1")]
    best = error(chosen)
    while True:
        ahead, added = min((error([*chosen, j]), j) for j in range(len(names)) if j not in chosen)
        if ahead > best * least_gain:
            return [names[j] for j in chosen]
        chosen, best = [*chosen, added], ahead
        while len(chosen) > 2:
            without, dropped = min((error([j for j in chosen if j != d]), d) for d in chosen)
            if without * DUPLICATE > best:
                break
            chosen, best = [j for j in chosen if j != dropped], without
        print(f"{len(chosen):3} features, error {best:.5f}: {names[added]}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=1050)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gain", type=float, default=0.9965, help="stop where a step leaves more than this share")
    arguments = parser.parse_args()
    calibration = bs.calibrate(bs.presets.S1.neuron, bs.presets.S1.background)
    examples = taught_networks(calibration, bs.Synapse(), networks=arguments.networks, seed=arguments.seed)
    error = Error(examples)
    names = [*(f"b: {name}" for name in BIASES), *(f"W: {name}" for name in GAINS)]
    now = [names.index(name) for name in FEATURES]
    print(f"{len(examples)} networks, {len(names)} candidates; the {len(now)} of now leave {error(now):.5f}")
    chosen = stepwise(error, arguments.gain)
    print("\n".join(f'"{name}",' for name in sorted(chosen)))


if __name__ == "__main__":
    main()
