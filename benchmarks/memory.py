"""Print the memory that a run takes above the import, for what is recorded and for how long.

    python benchmarks/memory.py                      # N = 1000, 64 chains: a few minutes on one core
    python benchmarks/memory.py --units 100 --durations 100 1000 --records moments

Every run is a process of its own; its peak resident memory is compared with that after ``import boltzspike``, and
after the import of the engine and with it Numba. What the run takes includes the machine itself (random weights,
sd .5 / sqrt(N): 8 N^2 bytes, and more while they are made) and the compilation of the kernel.
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
import boltzspike.engines.numba.engine
after_engine = peak()
record, n, chains, duration, threads = sys.argv[1], *map(int, sys.argv[2:])
import numpy as np
rng = np.random.default_rng(1)
w = np.triu(rng.normal(size=(n, n)) * 0.5 / np.sqrt(n), 1)
machine = bs.BoltzmannMachine(weights=w + w.T, biases=rng.normal(size=n) * 0.3)
del w
result = bs.sample(
    machine, duration=duration, burn_in=100, chains=chains, rule="psp", threads=threads, record=record
)
result.marginals(), result.marginals_error(), result.pairs()
print(after_import, after_engine, peak())
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
    columns = ("record", "ms/chain", "import", "engine", "run", "above import", "above engine")
    print(" ".join(f"{title:>12s}" for title in columns))
    for record in options.records:
        for duration in options.durations:
            command = [record, options.units, options.chains, duration, options.threads]
            done = subprocess.run(
                [sys.executable, "-c", CHILD, *map(str, command)], capture_output=True, text=True, check=True
            )
            imported, engine, run = map(float, done.stdout.split())
            values = (imported, engine, run, run - imported, run - engine)
            print(f"{record:>12s} {duration:12d} " + " ".join(f"{v:12.0f}" for v in values), flush=True)


if __name__ == "__main__":
    main()
