"""Run one machine in our engine and in every simulator that it is exported to; print the marginals side by side.

    python benchmarks/interop.py                  # five units, 32 chains of 20 s: some minutes
    python benchmarks/interop.py --quick          # ten times shorter, without the slow backend
    python benchmarks/interop.py --bits           # what n-bit weights and BrainScaleS-2's limits cost
    python benchmarks/interop.py --neuron PYTHON  # PyNN on NEURON alone, by an interpreter that has both

The machine: five units, weights and biases uniform within +-.6; preset S1, PSP rule, renewing synapses, dt .1 ms.
Each simulator runs the ``run.py`` that ``boltzspike export`` writes, in a process of its own, as users do. Errors
are standard errors over chains. It exits with 1 if a difference from our engine is beyond 4.5 standard errors and
what docs/interop.md states as the target's distortion.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

import boltzspike as bs

WAYS = {
    "NEST": ("nest", (), 0.003),
    "Brian2": ("brian2", (), 0.003),
    "PyNN nest": ("pynn", ("nest",), 0.003),
    "PyNN brian2": ("pynn", ("brian2",), 0.02),
    "PyNN nest --static": ("pynn", ("nest", "--static"), None),
}
"""Target, arguments of its run.py, stated distortion of a marginal (None: another network, no claim)."""
NEURON = {
    "PyNN neuron": ("pynn", ("neuron",), 0.003),
    "PyNN neuron --static": ("pynn", ("neuron", "--static"), None),
}
"""Apart, as it wants an environment of its own: ``pip install neuron pynn nrnutils`` and a C compiler."""
SLOW = ("PyNN brian2",)


def machine(n: int, seed: int = 3) -> bs.BoltzmannMachine:
    rng = np.random.default_rng(seed)
    weights = np.triu(rng.uniform(-0.6, 0.6, (n, n)), 1)
    return bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.uniform(-0.6, 0.6, n))


def run(folder: Path, python: str, arguments: tuple[str, ...], more: list[str]) -> bs.Result:
    # PyNN compiles NEURON's mechanisms by the nrnivmodl that is beside the interpreter
    path = f"{Path(python).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PATH": path}
    if python != sys.executable:
        environment.pop("PYTHONPATH", None)
    command = [python, str(folder / "run.py"), *arguments, *more]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    if done.returncode:
        sys.exit(f"{' '.join(command)}:\n{done.stderr[-3000:]}")
    return bs.read(folder)


def simulators(n: int, quick: bool, ways: dict[str, tuple], python: str) -> bool:
    target = machine(n)
    calibration = bs.calibrate(bs.presets.S1.neuron, bs.presets.S1.background)
    duration, chains = (2e3, 32) if quick else (2e4, 32)
    ours = bs.sample(target, calibration=calibration, rule="psp", duration=1e5, chains=64)
    exact = ours.exact()
    assert exact is not None
    found = {"boltzspike": ours}
    good = True
    with tempfile.TemporaryDirectory() as name:
        for way, (to, arguments, _) in ways.items():
            if quick and way in SLOW:
                continue
            folder = Path(name) / way.replace(" ", "-")
            bs.export(target, folder, to=to, calibration=calibration, rule="psp", duration=duration, chains=chains)
            more = ["--duration", "3000"] if way in SLOW else []
            found[way] = run(folder, python, arguments, more)
    print(f"{'unit':8s} {'exact':>7s}" + "".join(f"{way:>20s}" for way in found))
    for k in range(n):
        cells = [f"{r.marginals()[k]:11.4f} +- {r.marginals_error()[k]:.4f}" for r in found.values()]
        print(f"{target.names[k]:8s} {exact.marginals[k]:7.4f}" + "".join(f"{cell:>20s}" for cell in cells))
    for way, result in found.items():
        if way == "boltzspike":
            continue
        distortion = ways[way][2]
        difference = np.abs(result.marginals() - ours.marginals())
        error = np.hypot(result.marginals_error(), ours.marginals_error())
        line = f"{way}: largest difference from ours {difference.max():.4f}, {np.max(difference / error):.1f} SE"
        if distortion is not None and np.any(difference > distortion + 4.5 * error):
            good = False
            line += " DISAGREES"
        kl = result.kl_divergence()
        print(f"{line}; D_KL {kl.bias:.4f} +- {kl.error:.4f} (ours {ours.kl_divergence().bias:.4f})")
    return good


def limits() -> None:
    """Print what the limits of targets cost, averaged over machines."""
    calibration = bs.calibrate(bs.presets.S1.neuron, bs.presets.S1.background)
    with tempfile.TemporaryDirectory() as name:
        for seed in (3, 4, 5):
            for to, bits in (
                ("n-bit", 1),
                ("n-bit", 2),
                ("n-bit", 3),
                ("n-bit", 4),
                ("n-bit", 6),
                ("brainscales", 6),
            ):
                folder = Path(name) / f"{to}-{bits}-{seed}"
                done = bs.export(
                    machine(5, seed),
                    folder,
                    to=to,
                    bits=bits,
                    calibration=calibration,
                    rule="psp",
                    allow_loss=True,
                )
                text = next((loss.text for loss in done.losses if loss.feature == "predicted"), "nothing lost")
                print(f"machine {seed}, {to}, {bits} bits: {text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--units", type=int, default=5)
    parser.add_argument("--bits", action="store_true")
    parser.add_argument("--neuron", metavar="PYTHON", help="compare PyNN on NEURON alone, run by this interpreter")
    options = parser.parse_args()
    print(", ".join(f"{name} {version(name)}" for name in ("nest-simulator", "brian2", "PyNN", "numpy")))
    if options.bits:
        limits()
    elif not simulators(
        options.units, options.quick, NEURON if options.neuron else WAYS, options.neuron or sys.executable
    ):
        sys.exit("a simulator disagrees")


if __name__ == "__main__":
    main()
