"""Time the calibration of many neurons by the density, on all cores: wall and CPU time per neuron.

    python benchmarks/sweep.py                        # 100 neurons x 13 points
    python benchmarks/sweep.py --full                 # 1,000 neurons x 13 points

The neurons are preset S1 with resets from threshold to one sigma below and rates from 1 to 10 kHz, at random.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import sys
import time

import numpy as np

import boltzspike as bs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="1,000 neurons")
    parser.add_argument("--points", type=int, default=13)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    count = 1000 if options.full else 100
    rng = np.random.default_rng(1)
    preset = bs.presets.S1
    neurons = [dataclasses.replace(preset.neuron, v_reset=-50.001 - x) for x in rng.random(count)]
    backgrounds = [
        bs.PoissonBackground(rates=[r, r], weights=[0.001, -0.001]) for r in 1e3 * 10 ** rng.random(count)
    ]

    def show(done: int, total: int) -> None:
        print(f"\r{done}/{total}", end="", file=sys.stderr, flush=True)

    start = time.perf_counter()
    found = bs.calibrate_many(
        neurons, backgrounds, points=options.points, processes=options.processes, progress=show
    )
    wall = time.perf_counter() - start
    print(file=sys.stderr)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = usage.ru_utime + usage.ru_stime
    alpha = [calibration.alpha for calibration in found]
    print(f"{count} neurons x {options.points} points, {options.processes} processes on {os.cpu_count()} cores")
    print(f"alpha from {min(alpha):.3f} to {max(alpha):.3f} mV")
    each = 1e3 / count
    print(f"wall {wall:.1f} s, {wall * each:.0f} ms a neuron; CPU {cpu:.1f} s, {cpu * each:.0f} ms a neuron")


if __name__ == "__main__":
    main()
