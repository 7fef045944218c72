"""Measure this library's engines and their peers on the same network, in one interleaved run.

    python benchmarks/engines.py                       # N = 5 to 5000; 1 and 64 chains: half an hour
    python benchmarks/engines.py --quick               # N = 5, 100, 1000: some minutes
    python benchmarks/engines.py --units 100 --chains 1 --engines numba c++ nest
    python benchmarks/engines.py --machine             # what this machine can do at most

The network: preset S1 at p(z=1) near 1/2, dense symmetric Gaussian weights of either sign, sd .0022 uS / sqrt(N),
renewing synapses, delay .1 ms, dt = .1 ms; private Poisson sources. NEST: iaf_cond_exp, tsodyks2_synapse with
U = 1, tau_rec = tau_syn, tau_fac = 0, poisson_generator, t_ref less a step. Brian2: cpp_standalone, exponential
Euler, PoissonInput; its compilation counts as setup. Both run the script of ``boltzspike export``. Chains are
copies of the network in one simulation. Each engine is a process of its own (``workers.py``); all make the same
steps, by turns.

First all must agree on p(z=1), averaged over units and, of up to 20 units, for each: within a Student bound (a
false alarm in 1e4) of standard errors from blocks of 100 ms, ten correlation times (fewer where a run is shorter),
and .002 for what the integration schemes of the peers do. Otherwise it says so and exits with 1.

Then: ns of a neuron-step, CPU time on one core and wall time on more, medians with the fastest in brackets; how
many times faster than real time all chains together are; the time over that of ``numba`` on as many cores, at the
same number of chains, and over that of its 64: median of the repeats' ratios, the lowest and highest; peak memory
of the process; seconds before the first run. The reference engine makes fewer steps.
"""

from __future__ import annotations

import argparse
import importlib.resources
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from native import peaks
from scipy import stats

from boltzspike.export.simulators import SIMULATORS
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.presets import S1
from boltzspike.model.synapse import Synapse
from boltzspike.portable import portable
from boltzspike.program import compile_program

HERE = Path(__file__).parent
SCRIPTS = {
    name: str(Path(str(importlib.resources.files(SIMULATORS[name].script[0]))) / SIMULATORS[name].script[1])
    for name in ("nest", "brian2")
}
DT, BURN_IN = 0.1, 500.0
CPU_SECONDS = 3.0
"""Aim for a run of the slowest engine; a third of it where the table is short."""
FALSE_ALARM = 1e-4
SCHEME = 2e-3
"""Difference of p(z=1) that is allowed to integration schemes: what exponential Euler and RKF45 do with a step."""
MANY = 64
"""Chains that numba runs as well where a peer runs one: what it takes for a neuron-step of many samples."""
COST = {"nest": 500.0, "brian2": 100.0, "numba-exact": 250.0}
"""Rough ns of a neuron-step, to plan the length of a run."""
REFERENCE_STEP = 4e-4
"""Seconds of a step of the reference engine at least, however small the network."""
LARGEST = {"reference": 100, "numba-exact": 1000}
"""Units: above, an engine would need minutes a run."""
MOST_SYNAPSES = 26_000_000
"""In all copies: NEST takes about 120 bytes for each."""


@dataclass
class Case:
    """One engine on one network."""

    engine: str
    threads: int
    n: int
    chains: int
    steps: int
    process: Any = None
    folder: Path = Path()
    setup: float = 0.0
    rss: float = 0.0
    ns: list[float] = field(default_factory=list)
    counts: list[np.ndarray] = field(default_factory=list)

    def start(self, spec: dict[str, Any], folder: Path) -> None:
        """Build the network in a process of its own."""
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        path = self.folder / "specification.json"
        here = {"threads": self.threads, "steps": self.steps, "copies": self.chains, "folder": str(self.folder)}
        path.write_text(json.dumps({**spec, **here}))
        one = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
        # on a machine that has other work, a team that waits by spinning would take the core from its own members
        several = {"OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        environment = {**os.environ, **(one if self.threads == 1 else several)}
        if self.threads > 1:
            environment.pop("OMP_NUM_THREADS", None)
        self.log = open(self.folder / "log.txt", "w")  # noqa: SIM115  as long as the process
        self.process = subprocess.Popen(
            [sys.executable, HERE / "workers.py", self.engine, path], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment,
        )  # fmt: skip
        self.setup = self.answer()["setup"]

    def answer(self) -> dict[str, float]:
        """Read what the process says."""
        line = self.process.stdout.readline()
        if not line:
            self.log.flush()
            sys.exit(f"{self.engine}, N = {self.n}:\n" + (self.folder / "log.txt").read_text()[-2000:])
        return json.loads(line)

    def run(self) -> None:
        """Run once."""
        print(file=self.process.stdin, flush=True)
        found = self.answer()
        seconds = found["cpu"] if self.threads == 1 else found["wall"]
        self.ns.append(seconds * 1e9 / (self.steps * self.n * self.chains))
        self.rss = found["rss"]
        self.counts.append(np.load(self.folder / "COUNTS.npy"))

    def stop(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.log.close()

    def p(self, block: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Return p(z=1), of the mean over units first, then of each of up to 20; errors; degrees of freedom."""
        p = np.concatenate(self.counts) / block
        each = p if self.n <= 20 else p[:, :0]
        values = np.concatenate([p.mean(axis=1, keepdims=True), each], axis=1)
        return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values)), len(values) - 1


def specification(n: int, fewest: int, folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    w = np.triu(rng.normal(0, 0.0022 / np.sqrt(n), (n, n)), 1)
    path = folder / f"weights-{n}.npy"
    np.save(path, w + w.T)
    neuron = replace(S1.neuron, v_rest=-50.7)
    network = SpikingNetwork(neurons=neuron, backgrounds=S1.background, weights=w + w.T, synapse=Synapse(delay=DT))
    arrays = path.with_suffix(".npz")
    np.savez(arrays, **portable(compile_program(network, dt=DT)))
    values = {k: v for k, v in asdict(neuron).items() if k != "kernel"}
    return {
        "dt": DT, "burn_in": BURN_IN, "seed": 1, "delay": DT, "units": [values] * n,
        "rates": S1.background.rates.tolist(), "background_weights": S1.background.weights.tolist(),
        "weights_file": str(path), "network_file": str(arrays), "scripts": SCRIPTS, "block": min(1000, fewest),
    }  # fmt: skip


def cases_of(n: int, chains: int, engines: list[str], cores: int, quick: bool) -> list[Case]:
    """Return the cases of one network; all make as many steps."""
    synapses = chains * n * n
    seconds = CPU_SECONDS / 3 if quick else CPU_SECONDS
    present = [
        e for e in engines if n <= LARGEST.get(e, n) and (synapses <= MOST_SYNAPSES or e in ("numba", "c++"))
    ]
    slowest = max(COST.get(engine, 1.0) * n * chains for engine in present)
    steps = int(np.clip(seconds * 1e9 / slowest, 1000, 400_000)) // 1000 * 1000
    cases = []
    for engine in present:
        copies = sorted({chains, MANY}) if engine == "numba" else [chains]
        for count in copies:
            several = cores > 1 and ((engine == "numba" and count > 1) or (engine == "nest" and not quick))
            for threads in (1, cores) if several else (1,):
                fewer = min(steps, round(seconds / REFERENCE_STEP)) if engine == "reference" else steps
                cases.append(Case(engine, threads, n, count, fewer))
    return cases


def agree(cases: list[Case], block: int) -> bool:
    """Print p(z=1) of every engine and say whether it is that of the first."""
    first, *others = [case for case in cases if case.threads == 1]
    p, error, freedom = first.p(block)
    print(f"  p(z=1): {first.engine} {p[0]:.4f} +- {error[0]:.4f}", end="")
    good = True
    for other in others:
        q, other_error, other_freedom = other.p(block)
        combined = np.hypot(error, other_error)
        # Welch's degrees of freedom: few blocks have long tails
        welch = combined**4 / (error**4 / freedom + other_error**4 / other_freedom)
        within = combined * stats.t.isf(FALSE_ALARM / 2 / len(p), welch) + SCHEME
        bad = int(np.sum(np.abs(p - q) > within))
        worst = np.abs((p - q) / combined).max()
        copies = f" x {other.chains}" if other.chains != first.chains else ""
        print(f"; {other.engine}{copies} {q[0] - p[0]:+.4f} +- {combined[0]:.4f} (z <= {worst:.1f})", end="")
        print(f" DISAGREES in {bad} of {len(p)}" if bad else "", end="")
        good = good and not bad
    print()
    return good


def report(cases: list[Case]) -> None:
    """Print the cases of one network."""
    for case in cases:
        speed = f"{np.median(case.ns):.2f} [{min(case.ns):.2f}]"
        times = 1e6 * DT / (np.median(case.ns) * case.n)
        ratios = ""
        for chains in (case.chains, MANY):
            ours = [c for c in cases if c.engine == "numba" and c.chains == chains]
            ours = [c for c in ours if c.threads == case.threads] or ours
            ratio = np.array(case.ns) / np.array(ours[0].ns) if ours and case.engine != "numba" else None
            text = "" if ratio is None else f"{np.median(ratio):.3g} ({ratio.min():.3g} to {ratio.max():.3g})"
            ratios += f" {text:>22s}"
        print(
            f"  {case.engine:12s} {case.n:5d} {case.chains:6d} {case.threads:5d} {speed:>20s} {times:10.4g}"
            f"{ratios} {case.rss:7.0f} {case.setup:7.1f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+")
    parser.add_argument("--chains", type=int, nargs="+")
    parser.add_argument("--engines", nargs="+", default=["numba", "c++", "nest", "brian2", "reference"])
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--machine", action="store_true", help="print the machine's peaks alone")
    options = parser.parse_args()
    repeats = options.repeats or (3 if options.quick else 7)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def load() -> str:
        return f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True)
    versions = ", ".join(f"{name} {version(name)}" for name in ("numba", "numpy", "nest-simulator", "brian2"))
    print(f"{processor()}, {cores} cores, Python {platform.python_version()}, {versions}", end="")
    print(f", commit {commit.stdout.strip()}")
    for name, value in peaks().items():
        print(f"  {name}: {value:.3g}")
    if options.machine:
        return

    print(
        f"  {'engine':12s} {'N':>5s} {'chains':>6s} {'cores':>5s} {'ns/neuron-step':>20s} {'x real time':>10s}"
        f" {'time over numba':>22s} {'... of 64 chains':>22s} {'MB':>7s} {'setup s':>7s}"
    )
    plan = [(5, 1), (5, 64), (100, 1), (1000, 1)] if options.quick else None
    units, chain_counts = options.units or [5, 20, 100, 1000, 5000], options.chains or [1, 64]
    if plan is None or options.units or options.chains:
        plan = [(n, chains) for n in units for chains in chain_counts]
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for n, chains in plan:
            cases = cases_of(n, chains, options.engines, cores, options.quick)
            spec = specification(n, min(case.steps for case in cases), folder)
            for case in cases:
                case.start(spec, folder)
            for _ in range(repeats):
                for case in cases:
                    case.run()
            for case in cases:
                case.stop()
            print(f"N = {n}, {chains} chain(s), {cases[0].steps} steps, {load()}")
            good = agree(cases, spec["block"]) and good
            report(cases)
    if not good:
        sys.exit("the engines do not agree on p(z=1)")


def processor() -> str:
    path = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in path.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
