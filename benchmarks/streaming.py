"""Memory of a run that records every draw and is written to a file, for several durations, each a process.

    python benchmarks/streaming.py                       # 40 units, 64 chains: a few minutes on one core
    python benchmarks/streaming.py --durations 100 400 --in-memory

"own" is the peak of the memory that is the process's own (RssAnon, looked at every 20 ms), without files that are
mapped: of those the system keeps what it has room for. "resident" counts these too.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np


class Own(threading.Thread):
    """Watches the process's own memory."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0

    def run(self) -> None:
        """Look."""
        while True:
            status = Path("/proc/self/status").read_text()
            self.peak = max(self.peak, int(status.partition("RssAnon:")[2].split()[0]))
            time.sleep(0.02)

    def take(self) -> float:
        """Return the peak since the last call in MB."""
        time.sleep(0.05)
        peak, self.peak = self.peak, 0
        return peak / 1024


def answers(result):
    result.marginals(), result.marginals_error(), result.pairs(), result.test_pairs()


def child(options):
    import boltzspike as bs

    rng = np.random.default_rng(1)
    n = options.units
    weights = np.triu(rng.normal(0, 0.5 / np.sqrt(n), (n, n)), 1)
    # only 12 of the units are coupled, so that there is an exact answer
    weights[12:] = weights[:, 12:] = 0
    machine = bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.normal(0, 0.3, n))
    bs.sample(machine, rule="psp", duration=100, chains=options.chains)
    path = Path(options.folder) / "r.nc"
    own, found, times = Own(), [], []
    own.start()
    found.append(own.take())
    begun = time.perf_counter()

    def taken() -> None:
        nonlocal begun
        times.append(time.perf_counter() - begun)
        found.append(own.take())
        begun = time.perf_counter()

    spool = None if options.in_memory else options.folder
    result = bs.sample(
        machine, rule="psp", duration=options.duration * 1e3, chains=options.chains, threads=1, spool=spool
    )
    taken()
    result.save(path)
    taken()
    answers(result)
    taken()
    del result
    answers(bs.read(path))
    taken()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    states = options.units * options.chains * options.duration * 100 / 1e6
    print(f"{options.duration:10d} {states:8.0f} {path.stat().st_size / 1e6:8.0f} ", end="")
    print(f"{found[0]:8.0f} " + " ".join(f"{mb:6.0f} ({s:4.0f} s)" for mb, s in zip(found[1:], times)), end="")
    print(f" {resident:9.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=40)
    parser.add_argument("--chains", type=int, default=64)
    parser.add_argument("--durations", type=int, nargs="+", default=[100, 400, 1600], help="s per chain")
    parser.add_argument("--in-memory", action="store_true", help="without a spool, to compare")
    parser.add_argument("--duration", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.duration:
        return child(options)
    print(f"{options.units} units, {options.chains} chains, a draw each 10 ms; MB (and seconds)")
    print(f"{'s a chain':>10s} {'states':>8s} {'file':>8s} {'start':>8s} {'sample':>15s} {'save':>15s} ", end="")
    print(f"{'answers':>15s} {'read, answers':>15s} {'resident':>9s}", flush=True)
    same = ["--units", str(options.units), "--chains", str(options.chains)]
    same += ["--in-memory"] if options.in_memory else []
    for duration in options.durations:
        with tempfile.TemporaryDirectory(dir=os.getcwd()) as folder:
            command = [sys.executable, __file__, *same, "--duration", str(duration), "--folder", folder]
            subprocess.run(command, check=True)
    return None


if __name__ == "__main__":
    main()
