"""Measure what the placement of a simulated sweep's points is worth, at equal cost.

    python benchmarks/placement.py                    # presets S1 and S2, 400 repetitions (minutes)

Each repetition calibrates with ``points`` points of equal duration, once spread evenly over the range that
theory gives and once by ``calibrate``'s own placement. Printed: standard deviation of u0 and alpha over the
repetitions, in units of alpha, the mean of the stated errors, and the mean difference from the density.
"""

from __future__ import annotations

import argparse

import numpy as np

import boltzspike as bs
from boltzspike.calibration import Calibration, calibration_from_curve
from boltzspike.theory.membrane import leverage, membrane_statistics
from boltzspike.theory.predict import predict


def even(preset: bs.presets.Preset, points: int, **options: float) -> Calibration:
    neuron, background = preset.neuron, preset.background
    statistics = membrane_statistics(neuron, background)
    probe = neuron.v_thresh + statistics.sigma * np.linspace(-20, 20, 2001)
    low, high = np.interp([0.005, 0.995], predict(neuron, background, probe, method="adiabatic")[0], probe)
    x = neuron.i_offset + (np.linspace(low, high, points) - statistics.mu) / leverage(
        neuron, background, "i_offset"
    )
    curve = bs.response(neuron, background, i_offset=x, method="simulation", **options)
    return calibration_from_curve(curve, neuron, background, control="i_offset", version="")


def placed(preset: bs.presets.Preset, points: int, **options: float) -> Calibration:
    return bs.calibrate(
        preset.neuron, preset.background, control="i_offset", method="simulation", points=points, **options
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["S1", "S2"])
    parser.add_argument("--points", type=int, default=21)
    parser.add_argument("--duration", type=float, default=2000.0, help="ms per point and chain")
    parser.add_argument("--repetitions", type=int, default=400)
    options = parser.parse_args()
    print(
        f"{'':16}{'SD u0':>9}{'SD alpha':>9}{'stated':>9}{'stated':>9}{'bias u0':>9}{'bias alpha':>11}  (in alpha)"
    )
    for name in options.presets:
        preset = bs.presets.preset(name)
        truth = bs.calibrate(preset.neuron, preset.background, control="i_offset")
        spread = {}
        for label, method in (("even", even), ("placed", placed)):
            found = [
                method(preset, options.points, duration=options.duration, seed=seed)
                for seed in range(1, options.repetitions + 1)
            ]
            values = np.array([[c.u0, c.alpha] for c in found]) / truth.alpha
            stated = np.array([[c.u0_error, c.alpha_error] for c in found]) / truth.alpha
            bias = values.mean(axis=0) - np.array([truth.u0, truth.alpha]) / truth.alpha
            spread[label] = values.std(axis=0, ddof=1)
            row = "".join(f"{x:9.4f}" for x in (*spread[label], *stated.mean(axis=0), bias[0]))
            print(f"{name:6}{label:10}{row}{bias[1]:11.4f}", flush=True)
        ratio = (spread["even"] / spread["placed"]) ** 2
        print(f"{name:6}even costs {ratio[0]:.2f} (u0), {ratio[1]:.2f} (alpha) times as much for the same error")
        print(f"      one ratio of variances is known to {100 * 2 / np.sqrt(options.repetitions - 1):.0f} %")


if __name__ == "__main__":
    main()
