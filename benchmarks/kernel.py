"""Print the speed of the fast CPU kernel in ns per neuron-step, on one core and on all.

    python benchmarks/kernel.py                    # N = 5 to 5000, 1 and 64 chains: about a minute
    python benchmarks/kernel.py --units 5 20 --chains 64 --repeats 21
    python benchmarks/kernel.py --crossover        # lanes = chains against lanes = units: CHAIN_LANES_UP_TO
    python benchmarks/kernel.py --laws             # what the laws of the background cost
    python benchmarks/kernel.py --silent           # without spikes: the loop over rows alone
    python benchmarks/kernel.py --records          # what it costs to record
    python benchmarks/kernel.py --sweep            # a simulated calibration: 150 points, 1e5 ms each

The network: preset S1 at p(z=1) near 1/2, dense Gaussian weights of either sign, sd .0022 uS / sqrt(N), renewing
synapses, delay .1 ms, dt = .1 ms, states kept every 10 ms. One core: CPU time of the process. All cores: wall
time, and CPU time apart: where that is what one core takes, threads do not stand in each other's way. Every case
is run once to compile and warm up (shown apart), then the cases take turns; medians, with the fastest in brackets.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from dataclasses import dataclass, field

import llvmlite.binding as llvm
import numba
import numpy as np

import boltzspike as bs
from boltzspike.engines.numba.fast import FastRunner
from boltzspike.engines.numba.noise import LAWS
from boltzspike.gathered import Bins
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.presets import S1
from boltzspike.program import Program, compile_program
from boltzspike.samples import Energy, Record

FEWEST_STEPS = 300
"""Time steps of a run, at least."""
EVERY = 100


def program(n: int, v_rest: float = -50.7) -> Program:
    rng = np.random.default_rng(n)
    w = np.triu(rng.normal(0, 0.0022 / np.sqrt(n), (n, n)), 1)
    network = SpikingNetwork(neurons=S1.neuron, backgrounds=S1.background, weights=w + w.T)
    return compile_program(network).with_values(v_rest=np.full(n, v_rest))


@dataclass
class Case:
    """One line of the table."""

    label: str
    runner: FastRunner
    n: int
    chains: int
    cores: int
    neuron_steps: int
    first_call: float = 0.0
    p: float = float("nan")
    times: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    record: Record = field(default_factory=lambda: Record(states_every=EVERY))

    def __post_init__(self) -> None:
        self.steps = max(FEWEST_STEPS, self.neuron_steps // (self.n * self.chains))
        start = time.perf_counter()
        state = self.runner.init(seed=1, chains=self.chains)
        _, state = self.runner.run(state, 1, self.record)
        self.first_call = time.perf_counter() - start
        _, self.state = self.runner.run(state, 500, Record())

    def run(self) -> None:
        """Time one run."""
        before = np.array([time.perf_counter(), time.process_time()])
        samples, _ = self.runner.run(self.state, self.steps, self.record)
        wall, cpu = (time.perf_counter(), time.process_time()) - before
        a_step = 1e9 / (self.steps * self.n * self.chains)
        self.cpu.append(cpu * a_step)
        self.times.append((cpu if self.cores == 1 else wall) * a_step)
        if samples.packed is not None:
            self.p = float(samples.states.mean())


def records(n: int) -> dict[str, Record]:
    """Return what may be recorded, by name."""
    energy = Energy(every=EVERY, weights=np.zeros((n, n)), biases=np.zeros(n))
    return {
        "nothing": Record(),
        "states": Record(states_every=EVERY),
        "occupancy": Record(occupancy=True),
        "pairs": Record(pairs_every=EVERY),
        'occupancy, pairs ("moments")': Record(occupancy=True, pairs_every=EVERY),
        "joint states of 5 units": Record(joint=tuple(range(5))),
        "joint states of 16 units": Record(joint=tuple(range(min(n, 16)))),
        "intervals and bursts": Record(intervals=Bins()),
        "energy": Record(energy=energy),
        "spikes": Record(spikes=True),
    }


def measure(cases: list[Case], repeats: int) -> None:
    for _ in range(repeats):
        for case in cases:
            case.run()
    print(
        f"{'':34s} {'N':>5s} {'chains':>6s} {'cores':>5s} {'ns/neuron-step':>20s} {'CPU':>15s} {'p':>5s}"
        f" {'first call, s':>14s}"
    )
    for case in cases:
        speed, cpu = (f"{np.median(times):.2f} [{min(times):.2f}]" for times in (case.times, case.cpu))
        print(
            f"{case.label:34s} {case.n:5d} {case.chains:6d} {case.cores:5d} {speed:>20s} {cpu:>15s} {case.p:5.2f}"
            f" {case.first_call:14.2f}"
        )


def sweep(repeats: int) -> None:
    """Print what ``calibrate(method="simulation")`` takes on all cores."""
    bs.calibrate(S1.neuron, S1.background, method="simulation", points=150, chains=2, duration=1000.0)
    times = []
    for _ in range(repeats):
        start = np.array([time.perf_counter(), time.process_time()])
        found = bs.calibrate(S1.neuron, S1.background, method="simulation", points=150, chains=2, duration=5e4)
        times.append([time.perf_counter(), time.process_time()] - start)
    wall, cpu = np.median(times, axis=0)
    best = np.min(times, axis=0)
    print(
        f"150 points x 2 chains x 5e4 ms: {wall:.2f} s [{best[0]:.2f}], CPU time {cpu:.2f} s [{best[1]:.2f}]; ",
        end="",
    )
    print(
        f"u0 = {found.u0:.4f} +- {found.u0_error:.4f} mV, alpha = {found.alpha:.4f} +- {found.alpha_error:.4f} mV"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=None)
    parser.add_argument("--chains", type=int, nargs="+", default=None)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--neuron-steps", type=int, default=30_000_000, help="of a run; more for many cores")
    parser.add_argument("--crossover", action="store_true")
    parser.add_argument("--laws", action="store_true")
    parser.add_argument("--silent", action="store_true")
    parser.add_argument("--records", action="store_true")
    parser.add_argument("--sweep", action="store_true")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(
        f"{llvm.get_host_cpu_name()}, {cores} cores, {platform.system()}, Python {platform.python_version()}, ",
        end="",
    )
    print(f"numba {numba.__version__}")

    if options.sweep:
        sweep(options.repeats)
        return
    cases = []
    if options.crossover:
        for n in options.units or [8, 16, 24, 32, 48, 64, 80]:
            p = program(n)
            for chains in options.chains or [64]:
                for layout in ("chains", "units"):
                    runner = FastRunner(p, threads=1, layout=layout)
                    cases.append(Case(f"lanes = {layout}", runner, n, chains, 1, options.neuron_steps))
    elif options.records:
        for n in options.units or [5, 20, 100, 1000]:
            runner = FastRunner(program(n), threads=1)
            for chains in options.chains or [64]:
                cases += [
                    Case(name, runner, n, chains, 1, options.neuron_steps, record=kept)
                    for name, kept in records(n).items()
                ]
    elif options.laws:
        for n in options.units or [20, 100]:
            p = program(n)
            for law in LAWS:
                cases.append(Case(law, FastRunner(p, threads=1, law=law), n, 16, 1, options.neuron_steps))
    else:
        for n in options.units or [5, 20, 100, 1000, 5000]:
            p = program(n, -56.0) if options.silent else program(n)
            for chains in options.chains or [1, 64]:
                for threads in (1, cores) if chains > 1 and cores > 1 else (1,):
                    runner = FastRunner(p, threads=threads)
                    label = f"{runner.approximation[7:]}, lanes = {runner.scaled.layout}"
                    cases.append(Case(label, runner, n, chains, threads, options.neuron_steps))
    measure(cases, options.repeats)


if __name__ == "__main__":
    main()
