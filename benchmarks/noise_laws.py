"""Print by how much each law of the background moves p(z=1), from the law with five exact moments.

    python benchmarks/noise_laws.py                     # 4e5 ms a chain: some minutes
    python benchmarks/noise_laws.py --duration 1e6 --sets S1 S2

Of each set, 48 uncoupled units (12 at each of four mean potentials, threshold + (-1.5, -.5, .5, 1.5) sigma) run in
32 chains under each law; differences and their standard errors, from chains, in units of 1e-4. In brackets: laws
that the engine would not choose by itself.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np

from boltzspike.engines.numba.fast import FastRunner
from boltzspike.engines.numba.noise import LAWS, background_noise
from boltzspike.errors import UnsupportedFeature
from boltzspike.model.background import PoissonBackground
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.presets import S1, S2, Preset, S5a
from boltzspike.program import Program, compile_program
from boltzspike.samples import Record
from boltzspike.theory.membrane import leverage, membrane_statistics

DEVIATIONS = np.repeat([-1.5, -0.5, 0.5, 1.5], 12)
CHAINS, BURN_IN, SEED = 32, 3000, 7
SHOWN = ("eight-point", "three-point", "exact Poisson")


def at_rate(preset: Preset, rate: float, weights: tuple[float, float]) -> Preset:
    """Return a preset with two sources of this rate, Hz, and these weights, uS."""
    return dataclasses.replace(preset, background=PoissonBackground(rates=[rate, rate], weights=list(weights)))


def quick(preset: Preset, tau: float, rate: float) -> Preset:
    """Return a preset with tau_syn = tau_refrac = tau, ms, and weights that keep the variance at this rate."""
    neuron = dataclasses.replace(preset.neuron, tau_syn_exc=tau, tau_syn_inh=tau, tau_refrac=tau)
    before = np.mean(preset.background.rates) * preset.neuron.tau_syn_exc
    weights = preset.background.weights * np.sqrt(before / (rate * tau))
    return dataclasses.replace(
        preset, neuron=neuron, background=PoissonBackground(rates=[rate, rate], weights=weights.tolist())
    )


SETS = {
    "S1": S1,
    "S2": S2,
    "S5a": S5a,
    "S1, 2800 Hz": at_rate(S1, 2800.0, (0.001, -0.0013)),
    "S1, 1000 Hz": at_rate(S1, 1000.0, (0.00173, -0.00173)),
    "S1, 700 Hz": at_rate(S1, 700.0, (0.002, -0.002)),
    "S1, 400 Hz": at_rate(S1, 400.0, (0.002, -0.002)),
    "S1, tau 5 ms": quick(S1, 5.0, 3000.0),
    "S1, tau 2 ms, 5000 Hz": quick(S1, 2.0, 5000.0),
}


def program(preset: Preset) -> Program:
    """Return 48 uncoupled units about the threshold."""
    statistics = membrane_statistics(preset.neuron, preset.background)
    shift = preset.neuron.v_thresh + DEVIATIONS * statistics.sigma - statistics.mu
    v_rest = preset.neuron.v_rest + shift / leverage(preset.neuron, preset.background, "v_rest")
    neurons = [dataclasses.replace(preset.neuron, v_rest=v) for v in v_rest]
    n = len(neurons)
    return compile_program(
        SpikingNetwork(neurons=neurons, backgrounds=preset.background, weights=np.zeros((n, n)))
    )


def shares(compiled: Program, law: str, steps: int) -> np.ndarray:
    """Return p(z=1) of each chain and potential, (chains, 4)."""
    runner = FastRunner(compiled, threads=1, law=law)
    _, state = runner.run(runner.init(seed=SEED, chains=CHAINS), BURN_IN, Record())
    samples, _ = runner.run(state, steps, Record(occupancy=True))
    return samples.gathered.occupancy.on.reshape(CHAINS, 4, 12).mean(axis=2) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration", type=float, default=4e5, help="ms a chain")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    options = parser.parse_args()
    assert set(SHOWN) < set(LAWS)
    print(f"{'set':20s} {'law':16s} {'difference at -1.5, -.5, .5, 1.5 sigma, 1e-4':>48s}")
    for name in options.sets:
        compiled = program(SETS[name])
        steps = round(options.duration / compiled.dt)
        truth = shares(compiled, "fine three-point", steps)
        chosen = background_noise(compiled).words.removeprefix("noise: ").split(",")[0]
        for law in SHOWN:
            try:
                got = shares(compiled, law, steps)
            except UnsupportedFeature as error:
                print(f"{name:20s} {error}")
                continue
            difference = got.mean(axis=0) - truth.mean(axis=0)
            error = np.sqrt((got.var(axis=0, ddof=1) + truth.var(axis=0, ddof=1)) / CHAINS)
            cells = ", ".join(f"{d * 1e4:.1f}({e * 1e4:.1f})" for d, e in zip(difference, error))
            print(f"{name:20s} {law if law == chosen else f'({law})':16s} {cells:>48s}", flush=True)


if __name__ == "__main__":
    main()
