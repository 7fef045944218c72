"""Print what a unit's update costs without membranes, beside peers and beside the spiking network.

    python benchmarks/abstract.py                      # three minutes
    python benchmarks/abstract.py --units 20 --chains 64 --repeats 9

One core, CPU time, states kept every sweep (or every tau steps), medians [fastest] of runs in turns. A sweep gives
a sample of each unit; for the spiking network (S1, dt = .1 ms, numba) that is one refractory period, 100 steps.
Before it is timed each sampler's marginals must be the reference's within five standard errors.

- NumPy: sequential Gibbs, each update an array operation over all chains, float64.
- scikit-learn: ``BernoulliRBM.gibbs``, the RBM rows only (visible = hidden = N/2).
- dwave-samplers: ``SimulatedAnnealingSampler`` held at beta = 1, proposal "Gibbs"; it keeps the last state only.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np

import boltzspike as bs
from boltzspike.abstract import Gibbs, Neural
from boltzspike.engines import get_engine
from boltzspike.program import compile_program
from boltzspike.samples import Record

UPDATES = 3_000_000
BURN_IN = 200
TAU = 20
Run = Callable[[int], np.ndarray | None]
"""Sweeps -> states (chains, sweeps, units), or the last ones (chains, 1, units)."""


def machine(kind: str, n: int) -> bs.BoltzmannMachine | bs.RestrictedBoltzmannMachine:
    rng = np.random.default_rng(n)
    if kind == "RBM":
        weights = rng.normal(0, 1 / np.sqrt(n), (n // 2, n // 2))
        hidden, visible = -weights.sum(axis=0) / 2, -weights.sum(axis=1) / 2
        return bs.RestrictedBoltzmannMachine(weights=weights, visible_biases=visible, hidden_biases=hidden)
    weights = np.triu(rng.normal(0, 1 / np.sqrt(n), (n, n)), 1)
    if kind == "sparse":  # a ring with chords: every unit has four neighbours
        near = np.diag(np.ones(n - 1), 1) + np.diag(np.ones(max(n - 4, 0)), 4)[:n, :n] if n > 4 else 1.0
        weights = np.sign(weights) * near
    weights = weights + weights.T
    return bs.BoltzmannMachine(weights=weights, biases=rng.normal(0, 0.5, n) - weights.sum(axis=1) / 2)


def ours(plain: bs.BoltzmannMachine, chains: int, name: str) -> Run:
    weights, biases = np.asarray(plain.weights), np.asarray(plain.biases)
    every = TAU if name == "buesing" else 1
    if name == "buesing":
        runner: Gibbs | Neural = Neural(weights, biases, tau=TAU)
    else:
        runner = Gibbs(weights, biases, scan="random" if name == "gibbs-random" else "sequential")
    state = runner.init(seed=1, chains=chains)

    def run(sweeps: int) -> np.ndarray | None:
        nonlocal state
        samples, state = runner.run(state, sweeps * every, Record(states_every=every))
        return samples.states

    return run


def spiking(plain: bs.BoltzmannMachine, chains: int) -> Run:
    preset = bs.presets.S1
    calibration = bs.calibrate(preset.neuron, preset.background, control=preset.control)
    program = compile_program(bs.translate(plain, calibration, rule="psp").network, dt=0.1)
    runner = get_engine("numba", threads=1).prepare(program)
    state = runner.init(seed=1, chains=chains)

    def run(sweeps: int) -> np.ndarray | None:
        nonlocal state
        samples, state = runner.run(state, sweeps * 100, Record(states_every=100))
        return samples.states

    return run


def numpy_gibbs(plain: bs.BoltzmannMachine, chains: int) -> Run:
    weights, biases = np.asarray(plain.weights), np.asarray(plain.biases)
    rng, z = np.random.default_rng(1), np.zeros((plain.n_units, chains))

    def run(sweeps: int) -> np.ndarray:
        states = np.empty((chains, sweeps, len(biases)), dtype=np.int8)
        for sweep in range(sweeps):
            for k in range(len(biases)):
                z[k] = rng.random(chains) * (1 + np.exp(-(biases[k] + weights[k] @ z))) < 1
            states[:, sweep] = z.T
        return states

    return run


def sklearn_gibbs(rbm: bs.RestrictedBoltzmannMachine, chains: int) -> Run:
    from sklearn.neural_network import BernoulliRBM

    model = BernoulliRBM(n_components=rbm.weights.shape[1])
    model.components_ = np.asarray(rbm.weights).T
    model.intercept_visible_, model.intercept_hidden_ = rbm.visible_biases, rbm.hidden_biases
    model.random_state_ = np.random.RandomState(1)
    v = np.zeros((chains, rbm.n_visible))

    def run(sweeps: int) -> np.ndarray:
        nonlocal v
        states = np.zeros((chains, sweeps, rbm.n_units), dtype=np.int8)
        for sweep in range(sweeps):
            # _sample_hiddens and _sample_visibles are what .gibbs does, without its validation
            v = model._sample_visibles(model._sample_hiddens(v, model.random_state_), model.random_state_)
            states[:, sweep, : rbm.n_visible] = v
        return states

    return run


def dwave(plain: bs.BoltzmannMachine, chains: int) -> Run:
    import dimod
    from dwave.samplers import SimulatedAnnealingSampler

    k, j = np.nonzero(np.triu(plain.weights))
    bqm = dimod.BinaryQuadraticModel(
        {i: -b for i, b in enumerate(plain.biases)},
        {(int(a), int(b)): -plain.weights[a, b] for a, b in zip(k, j)},
        "BINARY",
    )
    sampler, seed = SimulatedAnnealingSampler(), 0

    def run(sweeps: int) -> np.ndarray:
        nonlocal seed
        seed += 1
        found = sampler.sample(
            bqm, num_reads=chains, beta_schedule_type="custom", beta_schedule=np.ones(sweeps),
            proposal_acceptance_criteria="Gibbs", seed=seed,
        )  # fmt: skip
        order = np.argsort(found.variables)
        return np.asarray(found.record.sample[:, None, order])

    return run


def agrees(name: str, run: Run, truth: bs.Reference, visible: slice) -> None:
    run(BURN_IN)
    states = [run(200) for _ in range(5)]
    per_chain = np.mean([s.mean(axis=1) for s in states if s is not None], axis=0)[:, visible]
    error = np.hypot(per_chain.std(axis=0, ddof=1) / np.sqrt(len(per_chain)), truth.error[visible])
    worst = np.max(np.abs(per_chain.mean(axis=0) - truth.marginals[visible]) / np.maximum(error, 1e-4))
    if worst > 5:
        raise SystemExit(f"{name}: a marginal is {worst:.1f} standard errors from the reference")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[6, 20, 100, 1000])
    parser.add_argument("--chains", type=int, default=64)
    parser.add_argument("--kinds", nargs="+", default=["dense", "sparse", "RBM"])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(
        f"{llvm.get_host_cpu_name()}, {platform.system()}, Python {platform.python_version()}, one core, ", end=""
    )
    print(f"{options.chains} chains")
    print(f"{'':7s} {'N':>5s}  {'':28s} {'ns per unit and sample':>24s} {'against gibbs':>14s}")
    for kind in options.kinds:
        for n in options.units:
            row(kind, n, options.chains, options.repeats)


def row(kind: str, n: int, chains: int, repeats: int) -> None:
    target = machine(kind, n)
    plain = target.to_boltzmann() if isinstance(target, bs.RestrictedBoltzmannMachine) else target
    runs: dict[str, Run] = {name: ours(plain, chains, name) for name in ("gibbs", "gibbs-random", "buesing")}
    runs["NumPy"] = numpy_gibbs(plain, chains)
    runs["dwave-samplers"] = dwave(plain, chains)
    if isinstance(target, bs.RestrictedBoltzmannMachine):
        runs["scikit-learn"] = sklearn_gibbs(target, chains)
    runs["spiking network"] = spiking(plain, chains)
    truth = bs.reference(target, threads=1)
    for name, run in runs.items():
        if name == "spiking network":
            run(1)  # its marginals are the translation's, not the target's
            continue
        seen = slice(n // 2) if name == "scikit-learn" else slice(None)
        if n <= 100 or name in ("gibbs", "gibbs-random", "buesing"):
            agrees(f"{kind}, {n} units, {name}", run, truth, seen)
        else:
            run(1)
    slow = {"NumPy": 20, "dwave-samplers": 10, "scikit-learn": 10, "spiking network": 20, "buesing": 4}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            sweeps = max(4, UPDATES // (n * chains * slow.get(name, 1)))
            start = time.process_time()
            run(sweeps)
            times[name].append((time.process_time() - start) * 1e9 / (sweeps * n * chains))
    base = np.array(times["gibbs"])
    for name, taken in times.items():
        ratio = np.median(np.array(taken) / base)
        speed = f"{np.median(taken):.2f} [{min(taken):.2f}]"
        label = f"{name} ({TAU} steps a sample)" if name == "buesing" else name
        print(f"{kind:7s} {n:5d}  {label:28s} {speed:>24s} {ratio:14.1f}", flush=True)


if __name__ == "__main__":
    main()
