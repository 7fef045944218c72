"""What saving and reading a result of 1 GB of states costs, each in a process of its own.

python benchmarks/results.py [--gigabytes 1]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import boltzspike as bs

UNITS, CHAINS = 100, 8


def write(path, gigabytes):
    rng = np.random.default_rng(1)
    weights = np.triu(rng.normal(0, 0.1, (UNITS, UNITS)), 1)
    machine = bs.BoltzmannMachine(weights=weights + weights.T, biases=np.zeros(UNITS))
    draws = int(gigabytes * 1e9 / UNITS / CHAINS)
    result = bs.sample(machine, engine="gibbs", duration=10.0 * draws, chains=CHAINS, burn_in=100.0)
    begun = time.perf_counter()
    result.save(path)
    print(f"states of {gigabytes:g} GB as int8, {Path(path).stat().st_size / 1e6:.0f} MB on disk: "
          f"saved in {time.perf_counter() - begun:.1f} s")  # fmt: skip


PARTS = {
    "import boltzspike and xarray": lambda result: None,
    "descriptions": lambda result: result.configuration["seed"],
    "one chain of one unit": lambda result: result.states.isel(chain=0, unit=0).to_numpy(),
    "1000 draws of all": lambda result: result.states.isel(draw=slice(0, 1000)).to_numpy(),
    "all states, packed": lambda result: result.samples.packed.bits.shape,
}


def read(path, part):
    import xarray  # noqa: F401

    begun = time.perf_counter()
    if part != "import boltzspike and xarray":
        PARTS[part](bs.read(path))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{part}: {time.perf_counter() - begun:.2f} s, peak {peak:.0f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        return (
            read(arguments.file, arguments.part)
            if arguments.part != "write"
            else write(arguments.file, arguments.gigabytes)
        )
    with tempfile.TemporaryDirectory() as folder:
        for part in ("write", *PARTS):
            options = ["--file", f"{folder}/r.nc", "--part", part, "--gigabytes", str(arguments.gigabytes)]
            subprocess.run([sys.executable, __file__, *options], check=True)
    return None


if __name__ == "__main__":
    main()
