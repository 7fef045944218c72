"""Measure posteriors of Bayesian networks of up to 10 variables: spiking and compiled machine against exact.

The evidence sets of each network are: none, and states of one to three variables that a draw from the network
showed, so that they are as likely as evidence is. Errors are over all states of all variables not observed.
``--seed`` draws others and leaves out those of the default seed, on which defaults were chosen: held-out queries.

python benchmarks/bayes.py [--seed N] [--engine NAME] [--rule NAME] [--route NAME] [--duration MS] [--queries N]
    [--begun] [--changing] [--compile-only NETWORK ... [--observed]]
"""

import argparse
import warnings

import numpy as np

import boltzspike as bs
from boltzspike.errors import UnsupportedFeature
from boltzspike.formats.bayes import from_pgmpy
from boltzspike.pipeline import working_point
from boltzspike.pipeline.compiling import compiled_for_sampling
from boltzspike.pipeline.translations import in_states

CHOSEN_ON = 8
"""Seed of the evidence sets on which depth and bound were chosen."""
SMALL = ("visual_perception", "sprinkler", "cancer", "earthquake", "survey", "asia")


def network_of(name):
    """Return one of ours, or one that comes with pgmpy."""
    if hasattr(bs.networks, name):
        return getattr(bs.networks, name)()
    from pgmpy.utils import get_example_model

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`get_example_model` is deprecated", FutureWarning)
        return from_pgmpy(get_example_model(name))


def evidence_sets(network, number, seed):
    """Return so many sets of evidence, none that defaults were chosen on unless the seed is theirs."""
    seen = [] if seed == CHOSEN_ON else evidence_sets(network, 6, CHOSEN_ON)
    rng = np.random.default_rng(seed)
    sets = [] if seen else [{}]
    while len(sets) < number:
        state = np.zeros(network.n_variables, dtype=int)
        for k in network.order():
            row = network.tables[k][tuple(state[v] for v in network.scope(k)[:-1])]
            state[k] = rng.choice(len(row), p=row)
        most = max(1, min(3, network.n_variables - 2))
        chosen = rng.choice(network.n_variables, size=rng.integers(1, most + 1), replace=False)
        evidence = {network.names[k]: network.states[k][state[k]] for k in sorted(chosen)}
        if evidence not in [*sets, *seen]:
            sets.append(evidence)
    return sets


def off(result, evidence):
    shown, exact = result.posterior(), result.exact_posterior()
    return np.array([abs(shown[v][s] - exact[v][s]) for v in shown if v not in evidence for s in shown[v]])


def begun(compiled, arguments):
    """Return a start in states of the machine's working point, by short Gibbs sampling where units are many."""
    point, rng = working_point(compiled.machine), np.random.default_rng(arguments.seed)
    chosen = rng.choice(len(point.states), arguments.chains, p=point.probabilities)
    return in_states(point.states[chosen], 100, rng)


def compiled(network, evidence, arguments, **more):
    return compiled_for_sampling(
        network, evidence, route=arguments.route, bound=arguments.bound, depth=arguments.depth,
        encoding=arguments.encoding, invalid=arguments.invalid, **more,
    )  # fmt: skip


def sampled(compiled, arguments, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bs.BoltzspikeWarning)
        return bs.sample(
            compiled, chains=arguments.chains, rule=arguments.rule, seed=1, engine=arguments.engine, **more
        )


def one_by_one(network, arguments):
    """Yield (evidence, what was compiled, result): a run for each evidence set."""
    for evidence in evidence_sets(network, arguments.queries, arguments.seed):
        made = compiled(network, evidence, arguments)
        start = begun(made, arguments) if arguments.begun else None
        yield evidence, made, sampled(made, arguments, duration=arguments.duration, initial=start)


def in_one_run(network, arguments):
    """Yield the same for one network of neurons, whose evidence changes."""
    sets = evidence_sets(network, arguments.queries, arguments.seed)
    made = compiled(network, {}, arguments, kept={name for evidence in sets for name in evidence})
    course = [(k * arguments.duration, evidence) for k, evidence in enumerate(sets)]
    result = sampled(made, arguments, duration=len(sets) * arguments.duration, evidence_course=course)
    for evidence, (_, _, episode) in zip(sets, result.episodes(settle=200.0), strict=True):
        yield evidence, made, episode


def spiking(arguments):
    print(
        f"{'network':18} {'queries':>7} {'units':>7} {'max |W|':>7} {'compiled':>9} {'mean':>6} {'largest':>7} "
        f"{'noise':>6}  worst query"
    )
    everything = []
    runs = in_one_run if arguments.changing else one_by_one
    for name in arguments.networks:
        network = network_of(name)
        errors, noise, units, weights, compiled_errors, worst = [], [], [], [], [], (0.0, {})
        for evidence, compiled, result in runs(network, arguments):
            error = off(result, evidence)
            errors.append(error)
            noise += [e for states in result.posterior_error().values() for e in states.values()]
            units.append(compiled.report.n_units)
            weights.append(compiled.report.largest_weight)
            compiled_errors.append(compiled.report.marginal_error)
            worst = max(worst, (float(error.max()), evidence), key=lambda pair: pair[0])
        flat = np.concatenate(errors)
        everything.append(flat)
        shown = ",".join(f"{v}={s}" for v, s in worst[1].items()) or "no evidence"
        print(
            f"{name:18} {len(errors):7} {min(units):3}-{max(units):3} {max(weights):7.2f} "
            f"{max(compiled_errors):9.1e} {flat.mean():6.4f} {flat.max():7.4f} {np.mean(noise):6.4f}  {shown}",
            flush=True,
        )
    flat = np.concatenate(everything)
    print(f"{'all':18} {'':7} {'':7} {'':7} {'':9} {flat.mean():6.4f} {flat.max():7.4f}")


def compiling(arguments):
    print(
        f"{'network':18} {'route':12} {'variables':>9} {'units':>6} {'auxiliary':>9} {'max |W|':>8} "
        f"{'seconds':>7} {'marginals':>9} {'D_KL':>8}"
    )
    for name in arguments.compile_only:
        network = network_of(name)
        for route in arguments.routes:
            try:
                r = bs.compile_bayes(network, route=route).report
            except UnsupportedFeature as error:
                print(f"{name:18} {route:12} {error}")
                continue
            error = "unknown" if r.marginal_error is None else f"{r.marginal_error:.1e}"
            divergence = "unknown" if r.kl_divergence is None else f"{r.kl_divergence:.1e}"
            print(
                f"{name:18} {route:12} {r.n_variables:9} {r.n_units:6} {r.n_auxiliary:9} {r.largest_weight:8.1f} "
                f"{r.seconds:7.2f} {error:>9} {divergence:>8}",
                flush=True,
            )


def observing(arguments):
    print(f"{'network':18} {'route':12} {'observed':>8} {'marginals':>9}  worst")
    for name in arguments.compile_only:
        network = network_of(name)
        for route in arguments.routes:
            errors = []
            for variable, states in zip(network.names, network.states):
                for state in states:
                    try:
                        report = bs.compile_bayes(network, {variable: state}, route=route).report
                    except bs.ValidationError:  # it has probability zero
                        continue
                    errors.append((report.marginal_error, f"{variable}={state}"))
            error, evidence = max(errors)
            print(f"{name:18} {route:12} {len(errors):8} {error:9.1e}  {evidence}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rule", help="translation rule; default: the best")
    parser.add_argument("--engine", default="numba", help="numba, or gibbs and buesing: without membranes")
    parser.add_argument("--route", help="fitted, monomials or assignments; default: what `sample` takes")
    parser.add_argument("--bound", type=float, default=bs.compile_bayes.__kwdefaults__["bound"])
    parser.add_argument("--depth", type=float, help="impossible combinations get exp(-depth)")
    parser.add_argument("--invalid", type=float, help="share of draws in which a variable may show no state")
    parser.add_argument("--encoding", default="one-hot", help="one-hot, domain-wall or bits")
    parser.add_argument("--seed", type=int, default=CHOSEN_ON, help="of the evidence sets")
    parser.add_argument("--networks", nargs="+", default=SMALL)
    parser.add_argument("--queries", type=int, default=6, help="evidence sets a network")
    parser.add_argument("--duration", type=float, default=2e4, help="biological ms per chain")
    parser.add_argument("--chains", type=int, default=64)
    parser.add_argument(
        "--begun",
        action="store_true",
        help="chains begin with the machine's law: is mixing the limit?",
    )
    parser.add_argument(
        "--changing", action="store_true", help="one run a network, in which the evidence changes: held neurons"
    )
    parser.add_argument("--compile-only", nargs="+", help="networks to compile without sampling")
    parser.add_argument(
        "--observed", action="store_true", help="with --compile-only: the largest error over every state observed"
    )
    parser.add_argument("--routes", nargs="+", default=["monomials", "fitted", "assignments"])
    arguments = parser.parse_args()
    if arguments.compile_only:
        (observing if arguments.observed else compiling)(arguments)
    else:
        spiking(arguments)


if __name__ == "__main__":
    main()
