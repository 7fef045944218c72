"""Every picture that boltzspike draws, one file each.

    python examples/gallery.py -o FOLDER [--quick]

Pictures of a neuron (the preset S1), of a run (five units with normal weights and biases), and of an RBM of
handwritten digits. ``boltzspike.pictures`` computes what they show, ``boltzspike.plots`` draws it.
"""

import argparse
from pathlib import Path

import numpy as np

import boltzspike as bs
from boltzspike import pictures

DIGITS = Path(__file__).with_name("digits-rbm.json")


def of_a_neuron(calibration):
    """Yield pictures of one neuron under its background."""
    yield "response", pictures.response(calibration, methods=["density", "burst"])
    yield "free-membrane", pictures.free_membrane(calibration)
    yield "psp", pictures.psp(calibration).figure


def five_units(calibration, duration):
    """Return a run of a machine small enough for its joint distribution."""
    rng = np.random.default_rng(3)
    weights = np.triu(rng.normal(size=(5, 5)), 1)
    machine = bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.normal(size=5), names=list("abcde"))
    return bs.sample(machine, calibration=calibration, duration=duration, chains=64, rule="psp")


def of_a_run(result):
    """Yield pictures of the samples of a small machine, and of the network that drew them."""
    opened = pictures.opening(result, duration=300)
    yield "trace", pictures.trace(opened)
    yield "raster", pictures.raster(opened).figure
    yield "marginals", result.plot_marginals().figure
    yield "joint", result.plot_joint().figure
    yield "agreement", pictures.agreement(result)
    yield "pairs", pictures.pair_agreement(result)
    yield "divergence", pictures.divergence(result).figure
    yield "weights", pictures.weights(result).figure
    yield "budget", pictures.budget(result, duration=min(result.configuration["duration_ms"], 2e4)).figure


def of_an_rbm(machine, calibration, duration):
    """Yield pictures of a machine whose units make up an image: weights, draws, moves between digits."""
    yield "receptive-fields", pictures.receptive_fields(machine)
    result = bs.sample(machine, calibration=calibration, duration=duration, chains=64)
    yield "images", pictures.images(result)
    yield "modes", pictures.modes(result).figure
    yield "raster-rbm", pictures.raster(pictures.opening(result, duration=1000)).figure


def main():
    """Draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    small, large = (5e3, 2e3) if arguments.quick else (1e5, 1e4)
    calibration = bs.calibrate(bs.presets.S1.neuron, bs.presets.S1.background)
    everything = [
        of_a_neuron(calibration),
        of_a_run(five_units(calibration, small)),
        of_an_rbm(bs.read(DIGITS), calibration, large),
    ]
    for chapter in everything:
        for name, figure in chapter:
            path = arguments.output / f"{name}.png"
            figure.savefig(path, dpi=110)
            print("wrote", path, flush=True)


if __name__ == "__main__":
    main()
