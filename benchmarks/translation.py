"""Measure what the translation rules leave: rule x target, preset S1, renewing synapses, 64 chains.

python benchmarks/translation.py [--rules psp matched learned tuned tuned-sparse conditionals sweeps]
    [--targets NAME ...] [--seed N] [--quick]
python benchmarks/translation.py --pairs [--teeth N]: the gain W_eff/W of pairs by the PSP rule, simulated and from
theory; of renewing synapses, or of additive ones with so many teeth

D_KL bias (the part that a longer run does not remove) with its standard error; for the digits RBM the mean
absolute error of the label posterior given the image, for the glass the RMS error of marginals and of pair
moments of coupled units, both with the noise of the run taken off in squares.
"""

import argparse
from pathlib import Path

import numpy as np

import boltzspike as bs
from boltzspike.theory.exact import exact_given
from boltzspike.theory.pair import pair_law

CHAINS = 64
DIGITS = Path(__file__).parents[1] / "examples" / "digits-rbm.json"


def symmetric(upper):
    upper = np.triu(upper, 1)
    return upper + upper.T


def machine(weights, biases):
    return bs.BoltzmannMachine(weights=weights, biases=biases)


def centred(weights):
    """Return the machine of a weight matrix whose units are all on half of the time."""
    return machine(weights, -weights.sum(axis=1) / 2)


def sparse(rng, n, weight, density=0.3):
    signs = rng.choice([-weight, weight], size=(n, n))
    return symmetric(np.where(rng.random((n, n)) < density, signs, 0.0))


def glass(rng, n=100, degree=3, coupling=0.7):
    """Return an Ising glass on a random regular graph, +-J in s = +-1, as a machine over z = 0, 1."""
    import networkx

    graph = networkx.random_regular_graph(degree, n, seed=int(rng.integers(2**31)))
    weights = np.zeros((n, n))
    for i, j in graph.edges:
        weights[i, j] = weights[j, i] = 4 * coupling * rng.choice([-1, 1])
    return centred(weights)


def chain(rng, n, weight):
    return symmetric(np.diag(rng.choice([-weight, weight], size=n - 1), 1))


TARGETS = {
    "5 units, U(+-.6)": lambda rng: machine(symmetric(rng.uniform(-0.6, 0.6, (5, 5))), rng.uniform(-0.6, 0.6, 5)),
    "5 units, N(0, 1)": lambda rng: machine(symmetric(rng.normal(size=(5, 5))), rng.normal(size=5)),
    "5 units, clique W = 1.5": lambda rng: centred(1.5 * (1 - np.eye(5))),
    "10 units, N(0, 1)/sqrt 2": lambda rng: machine(
        symmetric(rng.normal(size=(10, 10))) / np.sqrt(2), rng.normal(size=10) / np.sqrt(2)
    ),
    "7 units, chain +-4": lambda rng: centred(chain(rng, 7, 4.0)),
    "8 units, WTA W = -3": lambda rng: machine(-3.0 * (1 - np.eye(8)), np.ones(8)),
    "10 units, sparse +-2": lambda rng: centred(sparse(rng, 10, 2.0)),
    "digits RBM": lambda rng: bs.read(DIGITS),
    "100 units, glass": lambda rng: glass(rng),
}
COUNT = {"5 units, U(+-.6)": 8, "5 units, N(0, 1)": 8, "10 units, N(0, 1)/sqrt 2": 4, "10 units, sparse +-2": 4}
"""Number of targets of a kind; 1 where not given."""


def sampled(target, rule, calibration, duration, seed, clamp=None):
    """Return the samples; "tuned" (to moments), "conditionals" and "sweeps" tune the network to the target first.

    "tuned-sparse" is "tuned" without couplings that the target does not have.
    """
    synapse = None if calibration.network is None else calibration.network.synapse
    options = {"calibration": calibration, "synapse": synapse, "chains": CHAINS, "threads": 1, "clamp": clamp}
    if rule in ("tuned", "tuned-sparse", "conditionals", "sweeps"):
        to, fill = "moments" if rule.startswith("tuned") else rule, False if rule == "tuned-sparse" else None
        rule = bs.tune(target, to=to, fill=fill, duration=duration, seed=seed + 1, tolerance=1e-4, **options)
    return bs.sample(target, rule=rule, duration=duration, seed=seed, **options)


def divergence(target, rule, calibration, duration, seed):
    """Return D_KL bias and its error."""
    found = sampled(target, rule, calibration, duration, seed).kl_divergence()
    return found.bias, found.error


def moments_error(target, rule, calibration, duration, seed):
    """Return the RMS error of the marginals and coupled pair moments, and its standard error from halves."""
    result = sampled(target, rule, calibration, duration, seed)
    pairs = np.nonzero(np.triu(np.asarray(target.weights), 1))
    truth = exact_given(target, {})
    if truth is not None:
        reference, noise = np.concatenate([truth.marginals, truth.pairs[pairs]]), 0.0
    else:
        long = bs.sample(
            target, engine="gibbs", duration=4 * duration, chains=2 * CHAINS, seed=seed + 1, threads=1
        )
        per_chain = _moments(long.z, pairs)
        reference, noise = per_chain.mean(axis=0), per_chain.var(axis=0, ddof=1) / len(per_chain)
    per_chain = _moments(result.z, pairs)
    variance = per_chain.var(axis=0, ddof=1) / CHAINS + noise
    squares = (per_chain.mean(axis=0) - reference) ** 2 - variance
    rms = np.sqrt(max(squares.mean(), 0.0))
    error = np.sqrt((4 * (per_chain.mean(axis=0) - reference) ** 2 * variance).mean() / len(squares))
    return rms, error / (2 * max(rms, 1e-9))


def _moments(states, pairs):
    z = states.astype(np.float32)
    return np.concatenate([z.mean(axis=1), (z[..., pairs[0]] * z[..., pairs[1]]).mean(axis=1)], axis=1)


def posterior_error(rbm, rule, calibration, duration, seed):
    """Return the mean absolute error of p(label) given images that the model itself draws, and its error."""
    labels = [k for k, name in enumerate(rbm.names) if name.startswith("label")]
    rng = np.random.default_rng(seed)
    errors = []
    for _ in range(4):
        hidden = rng.random(len(rbm.hidden_biases)) < 0.5
        for _ in range(200):
            visible = _draw(rng, hidden @ np.asarray(rbm.weights).T + rbm.visible_biases)
            hidden = _draw(rng, visible @ np.asarray(rbm.weights) + rbm.hidden_biases)
        clamp = {k: int(visible[k]) for k in range(rbm.n_visible) if k not in labels}
        result = sampled(rbm, rule, calibration, duration, seed, clamp)
        errors.append(np.abs(result.marginals() - result.exact().marginals)[labels].mean())
    return float(np.mean(errors)), float(np.std(errors, ddof=1) / np.sqrt(len(errors)))


def _draw(rng, field):
    return rng.random(len(field)) < 1 / (1 + np.exp(-field))


def pairs(calibration, duration, seed, teeth):
    """Print what two neurons with weight W and bias 0, by the PSP rule, sample: the log odds ratio over W."""
    weights = [-2.0, -0.4, 0.4, 2.0]
    neuron, background = calibration.neuron, calibration.background
    synapse = bs.Synapse() if teeth is None else bs.Synapse(plasticity="additive", teeth=teeth)
    law = pair_law(
        neuron, background, u0=calibration.u0, alpha=calibration.alpha, weight=weights,
        tau_rec=neuron.tau_syn_exc if teeth is None else 0.0, delay=0.1, teeth=teeth,
    )  # fmt: skip
    print("    W   simulated                    from the density of the pair")
    for weight, predicted, bias in zip(weights, law.weight, law.bias):
        target = machine(weight * (1 - np.eye(2)), np.zeros(2))
        result = bs.sample(
            target, calibration=calibration, rule="psp", synapse=synapse, duration=duration, chains=CHAINS,
            seed=seed, threads=1,
        )  # fmt: skip
        code = 2 * result.z[..., 0].astype(int) + result.z[..., 1]
        logs = np.log([[(chain == state).mean() for state in range(4)] for chain in code])
        gain = (logs[:, 0] + logs[:, 3] - logs[:, 1] - logs[:, 2]) / weight
        unit = (logs[:, 1] + logs[:, 2]) / 2 - logs[:, 0]
        print(
            f"{weight:5.1f}   gain {gain.mean():.3f} +- {gain.std(ddof=1) / 8:.3f}, bias {unit.mean():6.3f}"
            f"   gain {predicted / weight:.3f}, bias {bias:6.3f}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", nargs="+", default=["psp", "matched", "learned", "tuned", "conditionals"])
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), help="of: " + "; ".join(TARGETS))
    parser.add_argument("--seed", type=int, default=1, help="of the targets and the runs")
    parser.add_argument("--duration", type=float, default=1e5, help="biological ms per chain")
    parser.add_argument("--quick", action="store_true", help="one target of a kind, short runs")
    parser.add_argument("--pairs", action="store_true", help="the gain of pairs instead")
    parser.add_argument("--calibration", help="file of calibrate --network, whose synapse all rules then have")
    parser.add_argument("--teeth", type=int, help="of the synapses of these pairs")
    arguments = parser.parse_args()
    if arguments.calibration:
        calibration = bs.read(arguments.calibration)
    else:
        calibration = bs.calibrate(bs.presets.S1.neuron, bs.presets.S1.background)
    duration = 2e4 if arguments.quick else arguments.duration
    if arguments.pairs:
        return pairs(calibration, 4 * duration, arguments.seed, arguments.teeth)
    print(f"{'target':26}" + "".join(f"{rule:>22}" for rule in arguments.rules))
    for kind, name in enumerate(TARGETS):
        if name not in arguments.targets:
            continue
        rng = np.random.default_rng([arguments.seed, kind])
        count = 1 if arguments.quick else COUNT.get(name, 1)
        targets = [TARGETS[name](rng) for _ in range(count)]
        measure = {"digits RBM": posterior_error, "100 units, glass": moments_error}.get(name, divergence)
        length = duration / 5 if measure is not divergence else duration
        line, worse, first = f"{name:26}", [], None
        for rule in arguments.rules:
            seeds = [1000 * arguments.seed + 10 * kind + s for s in range(count)]
            found = np.array([measure(t, rule, calibration, length, s) for t, s in zip(targets, seeds)])
            value, error = found[:, 0].mean(), np.sqrt((found[:, 1] ** 2).sum()) / count
            line += f"{value:13.5f} +-{error:7.5f}"
            first = found if first is None else first
            if (number := int((found[:, 0] > first[:, 0]).sum())) > 0:
                worse.append(f"{rule}: {number} of {count} worse than {arguments.rules[0]}")
        print(line + ("   " + "; ".join(worse) if worse else ""), flush=True)


if __name__ == "__main__":
    main()
