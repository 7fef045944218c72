"""Print the memory that a run takes above the import, for what is recorded and for how long.

    python benchmarks/memory.py                      # N = 1000, 64 chains: about five minutes on one core
    python benchmarks/memory.py --units 100 --durations 100 1000 --records moments

Every run is a process of its own; its peak resident memory is compared with that after ``import boltzspike`` and
after the engine is imported and its kernel compiled or loaded. The machine: random weights, sd .5 / sqrt(N).
"""

from __future__ import annotations

import argparse
import subprocess
import sys

CHILD = """
import resource, sys
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
import boltzspike as bs
after_import = peak()
record, n, chains, duration, threads = sys.argv[1], *map(int, sys.argv[2:])
import numpy as np
rng = np.random.default_rng(1)
small = bs.BoltzmannMachine(weights=np.zeros((60, 60)), biases=rng.normal(size=60))
options = dict(rule="psp", threads=threads, record=record)
bs.sample(small, duration=100, burn_in=0, chains=2, **options).marginals_error
after_engine = peak()
w = np.triu(rng.normal(size=(n, n)) * 0.5 / np.sqrt(n), 1)
machine = bs.BoltzmannMachine(weights=w + w.T, biases=rng.normal(size=n) * 0.3)
del w
result = bs.sample(machine, duration=duration, burn_in=100, chains=chains, **options)
result.marginals(), result.marginals_error(), result.pairs()
how = result.configuration
print(after_import, after_engine, peak(), how["wall_seconds"] * 1e9 / (duration / 0.1 * n * chains))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--chains", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--durations", type=int, nargs="+", default=[100, 1000, 4000], help="ms per chain")
    parser.add_argument("--records", nargs="+", default=["moments", "states"])
    options = parser.parse_args()
    print(f"N = {options.units}, {options.chains} chains, {options.threads} thread(s); MB of peak resident memory")
    print(
        f"{'record':>10s} {'ms/chain':>9s} {'import':>8s} {'+ engine':>9s} {'run':>7s} {'above import':>13s}",
        end="",
    )
    print(f" {'above engine':>13s} {'ns/neuron-step':>15s}")
    for record in options.records:
        for duration in options.durations:
            command = [record, options.units, options.chains, duration, options.threads]
            done = subprocess.run(
                [sys.executable, "-c", CHILD, *map(str, command)], capture_output=True, text=True, check=True
            )
            imported, engine, run, speed = map(float, done.stdout.split())
            print(
                f"{record:>10s} {duration:9d} {imported:8.0f} {engine:9.0f} {run:7.0f} {run - imported:13.0f}",
                end="",
            )
            print(f" {run - engine:13.0f} {speed:15.2f}", flush=True)


if __name__ == "__main__":
    main()
