"""How often the diagnostics raise a false alarm, what they see, and whether their intervals hold: on known truth.

Neural sampling (``abstract.Neural``, 20 steps a refractory period, a draw every 5) gives autocorrelated chains of
known law: of the target itself, or of a machine that differs from it by a known amount. Every row is many
independent repetitions; the numbers after +- are binomial standard errors.

    python benchmarks/diagnostics.py              # the tables of docs/diagnostics.md
    python benchmarks/diagnostics.py --quick
    python benchmarks/diagnostics.py --speed      # seconds for 100 units x 80,000 draws x 8 chains
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
from scipy import stats

import boltzspike as bs
from boltzspike import diagnostics
from boltzspike.abstract import Neural
from boltzspike.samples import Record, joint_counts
from boltzspike.theory.exact import exact_joint, exact_moments

TAU, EVERY, BURN_IN = 20, 5, 2000
LEVELS = (0.05, 0.01)


@dataclass(frozen=True)
class Case:
    """A target, and how it is sampled."""

    name: str
    units: int
    scale: float
    """Standard deviation of weights (over sqrt(units / 5)) and biases."""
    chains: int
    draws: int
    seed: int = 1

    def machine(self) -> bs.BoltzmannMachine:
        """Return the target."""
        rng = np.random.default_rng(self.seed)
        weights = np.triu(rng.normal(0, self.scale * np.sqrt(5 / self.units), (self.units, self.units)), 1)
        return bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.normal(0, self.scale, self.units))


CASES = (
    Case("weak", 5, 0.6, 32, 500),
    Case("strong", 5, 1.5, 32, 2000),
    Case("short", 5, 0.6, 64, 100),
    Case("four chains", 5, 0.6, 4, 4000),
    Case("8 units", 8, 1.0, 64, 500),
    Case("20 units", 20, 1.0, 32, 500),
)


def neural(weights, biases, chains, draws, seed):
    """Return the states of draws, (chains, draws, units)."""
    sampler = Neural(np.asarray(weights, dtype=float), np.asarray(biases, dtype=float), tau=TAU)
    state = sampler.init(seed=seed, chains=chains)
    _, state = sampler.run(state, BURN_IN, Record())
    return sampler.run(state, draws * EVERY, Record(states_every=EVERY))[0].states


def repetitions(weights, biases, case, number, seed=7):
    """Yield states (chains, draws, units) of independent runs."""
    at_once = max(1, 2**26 // (case.chains * case.draws * case.units))
    for first in range(0, number, at_once):
        now = min(at_once, number - first)
        states = neural(weights, biases, now * case.chains, case.draws, seed + first)
        yield from states.reshape(now, case.chains, case.draws, case.units)


def naive_g(states, target):
    """G-test that takes every draw as independent."""
    counts = joint_counts(states).sum(axis=0)
    seen = counts > 0
    g = 2 * np.sum(counts[seen] * np.log(counts[seen] / (counts.sum() * target[seen])))
    return stats.chi2.sf(g, len(target) - 1)


def p_values(states, machine, moments, joint):
    """Return every test's p-value."""
    above = np.triu_indices(machine.n_units, 1)
    found = {
        "marginals": diagnostics.mean_test(
            diagnostics.blocks(states).mean(axis=1, dtype=np.float64), moments.marginals
        ).p_value,
        "pairs": diagnostics.mean_test(diagnostics.block_pairs(states), moments.pairs[above], of="pairs").p_value,
        "temperature": diagnostics.pseudo_temperature(states, machine).p_value,
    }
    if joint is not None:
        found["joint"] = diagnostics.joint_test(diagnostics.block_joint(states), joint).p_value
        found["naive G"] = naive_g(states, joint)
    return found


TESTS = ("marginals", "pairs", "joint", "temperature", "naive G")


def rates(case, weights, biases, number):
    """Return the share of runs that each test rejects at each level, and the mean ESS of the slowest unit."""
    machine = case.machine()
    moments = exact_moments(machine)
    joint = exact_joint(machine) if case.units <= 10 else None
    rejected = {name: np.zeros(len(LEVELS)) for name in TESTS}
    ess = []
    for k, states in enumerate(repetitions(weights, biases, case, number)):
        for name, p in p_values(states, machine, moments, joint).items():
            rejected[name] += p < np.array(LEVELS)
        if k < 10:
            ess.append(diagnostics.convergence(states).least_ess)
    if joint is None:
        rejected["joint"] = rejected["naive G"] = np.full(len(LEVELS), np.nan)
    return {name: share / number for name, share in rejected.items()}, float(np.mean(ess))


def percent(share):
    return "-" if np.isnan(share) else f"{100 * share:.1f}"


def false_alarms(number):
    errors = [f"{100 * np.sqrt(level * (1 - level) / number):.1f}" for level in LEVELS]
    print(f"\nFalse alarms of an unbiased sampler, % at 5 / 1 % ({number} runs; +- {' / '.join(errors)})\n")
    print(f"| case | units | chains x draws | least ESS | {' | '.join(TESTS)} |")
    print("|---|---|---|---|" + "---|" * len(TESTS))
    for case in CASES:
        machine = case.machine()
        found, ess = rates(case, machine.weights, machine.biases, number)
        cells = " | ".join(f"{percent(found[t][0])} / {percent(found[t][1])}" for t in TESTS)
        print(f"| {case.name} | {case.units} | {case.chains} x {case.draws} | {ess:.0f} | {cells} |", flush=True)


def mutations(machine):
    """Return machines that differ from the target by a known amount."""
    weights, biases = np.array(machine.weights), np.array(machine.biases)
    shifted, skewed = biases.copy(), weights.copy()
    shifted[0] += 0.1
    skewed[0, 1] += 0.3
    return {
        "one bias + .1": (weights, shifted),
        "beta = 1.1": (1.1 * weights, 1.1 * biases),
        "W[0, 1] + .3, W[1, 0] as it was": (skewed, biases),
    }


def power(number):
    print(f"\nPower at 5 %, % of {number} runs\n")
    tests = TESTS[:-1]
    print(f"| true difference | draws of 32 chains | largest bias of a marginal | {' | '.join(tests)} |")
    print("|---|---|---|" + "---|" * len(tests))
    base = CASES[0]
    for name, (weights, biases) in mutations(base.machine()).items():
        for draws in (125, 500, 2000):
            case = Case(base.name, base.units, base.scale, base.chains, draws)
            found, _ = rates(case, weights, biases, number)
            off = largest_bias(case.machine(), weights, biases)
            cells = " | ".join(percent(found[t][0]) for t in tests)
            print(f"| {name} | {draws} | {off} | {cells} |", flush=True)


def largest_bias(machine, weights, biases):
    if not np.allclose(weights, np.transpose(weights)):
        return "-"
    other = bs.BoltzmannMachine(weights=weights, biases=biases)
    off = exact_moments(other).marginals - exact_moments(machine).marginals
    return f"{np.abs(off).max():.3f}"


def coverage(number):
    """Intervals and bounds that hold the true distance, of unbiased and of biased samplers."""
    print(f"\nHow often intervals of 95 % and the bound of 99 % hold the truth, % of {number} runs "
          "(mean estimate / truth in parentheses)\n")  # fmt: skip
    names = ("D(q,p)", "D(p,q)", "total variation", "Hellinger", "RMS marginals", "D_sys", "bound")
    print(f"| sampler | case | {' | '.join(names)} |")
    print("|---|---|" + "---|" * len(names))
    for case in CASES[:3]:
        machine = case.machine()
        target, moments = exact_joint(machine), exact_moments(machine)
        exact = {"unbiased": (machine.weights, machine.biases)} | mutations(machine)
        for name, (weights, biases) in list(exact.items())[:3]:
            other = bs.BoltzmannMachine(weights=weights, biases=biases)
            q, m = exact_joint(other), exact_moments(other).marginals
            kl = np.sum(q * np.log(q / target))
            truth = [
                kl, np.sum(target * np.log(target / q)), np.abs(q - target).sum() / 2,
                np.sqrt(max(0, 1 - np.sum(np.sqrt(q * target)))),
                np.sqrt(np.mean((m - moments.marginals) ** 2)), kl, np.abs(m - moments.marginals).max(),
            ]  # fmt: skip
            held, estimates = np.zeros(len(names)), np.zeros(len(names))
            unseen = 0
            for states in repetitions(weights, biases, case, number):
                per_block = diagnostics.block_joint(states)
                d = diagnostics.distances_of_blocks(per_block, target)
                means = diagnostics.blocks(states).mean(axis=1, dtype=np.float64)
                e = diagnostics.extrapolation(states, target)
                t = stats.t.ppf(0.975, case.chains - 1)
                bound = diagnostics.bias_bound(means, moments.marginals).bound
                rms = diagnostics.moment_error(means, moments.marginals)
                found = [d.kl, d.reverse_kl, d.total_variation, d.hellinger, rms]
                limits = [(x.low, x.high) for x in found]
                limits += [(e.systematic - t * e.error, e.systematic + t * e.error), (-np.inf, bound)]
                held += [low <= x <= high for (low, high), x in zip(limits, truth)]
                unseen += np.isinf(d.reverse_kl.value)
                estimates += [*(x.bias for x in found), e.systematic, bound]
            shown = [
                f"{percent(h / number)} ({x / number:.2g} / {true:.2g})"
                for h, x, true in zip(held, estimates, truth)
            ]
            if unseen:
                shown[1] = f"infinite in {percent(unseen / number)}"
            cells = " | ".join(shown)
            print(f"| {name} | {case.name} | {cells} |", flush=True)


def speed():
    rng = np.random.default_rng(1)
    states = (rng.random((8, 80_000, 100), dtype=np.float32) < 0.3).astype(np.int8)
    machine = Case("", 100, 0.6, 8, 1).machine()
    diagnostics.convergence(states[:, :100])
    chosen = {
        "convergence: R-hat, ESS, MCSE": lambda: diagnostics.convergence(states),
        "marginals and errors": lambda: (diagnostics.marginals(states), diagnostics.marginals_error(states)),
        "pairs of blocks": lambda: diagnostics.block_pairs(states),
        "test of pairs": lambda: diagnostics.mean_test(diagnostics.block_pairs(states), np.full(4950, 0.09)),
        "pseudo-likelihood temperature": lambda: diagnostics.pseudo_temperature(states, machine),
        "joint of 20 units, 1e7 states": lambda: diagnostics.joint(many),
    }
    many = (rng.random((10, 1_000_000, 20), dtype=np.float32) < 0.5).astype(np.int8)
    for name, function in chosen.items():
        begun, spent = time.perf_counter(), time.process_time()
        function()
        print(f"{name}: {time.perf_counter() - begun:.2f} s ({time.process_time() - spent:.2f} s of a core)")


def two_samples(number):
    """Print how often two runs of one sampler are said to differ, and how often two samplers are."""
    names = ("marginals", "pairs", "joint")
    errors = " / ".join(f"{100 * np.sqrt(level * (1 - level) / number):.1f}" for level in LEVELS)
    print(f"\nTwo runs are said to differ, % at 5 / 1 % ({number} pairs of runs; +- {errors})\n")
    print(f"| case | second sampler | {' | '.join(names)} |\n|---|---|" + "---|" * len(names))
    for case in CASES:
        machine = case.machine()
        others = {"the same": 0.0} | ({"one bias + .1": 0.1} if case.name in ("weak", "strong") else {})
        for other, shift in others.items():
            biases = np.array(machine.biases)
            biases[0] += shift
            first = repetitions(machine.weights, machine.biases, case, number)
            second = repetitions(machine.weights, biases, case, number, seed=10_000_007)
            rejected = {name: np.zeros(len(LEVELS)) for name in names}
            for a, b in zip(first, second):
                for name, of in zip(names, _OF_BLOCKS):
                    if name != "joint" or case.units <= 10:
                        p = diagnostics.two_sample_test(of(a), of(b)).p_value
                        rejected[name] += p < np.array(LEVELS)
                    else:
                        rejected[name] += np.nan
            cells = " | ".join(" / ".join(percent(share / number) for share in rejected[name]) for name in names)
            print(f"| {case.name} | {other} | {cells} |", flush=True)


_OF_BLOCKS = (diagnostics.block_marginals, diagnostics.block_pairs, diagnostics.block_joint)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--two-samples", action="store_true", help="only the tests of two runs")
    arguments = parser.parse_args()
    if arguments.speed:
        return speed()
    number = 20 if arguments.quick else arguments.runs
    if arguments.two_samples:
        return two_samples(number)
    false_alarms(number)
    power(max(number // 5, 10))
    coverage(max(number // 2, 10))
    two_samples(number)
    return None


if __name__ == "__main__":
    main()
