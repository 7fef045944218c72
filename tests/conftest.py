import subprocess
import sys

import numpy as np
import pytest

import boltzspike as bs


@pytest.fixture
def rng():
    return np.random.default_rng(20161)


@pytest.fixture(scope="session")
def s1_calibration():
    return bs.calibrate(bs.presets.S1.neuron, bs.presets.S1.background)


@pytest.fixture
def random_machine(rng):
    """Return a maker of machines with weights and biases uniform in +-scale."""

    def make(n, scale=0.6):
        weights = np.triu(rng.uniform(-scale, scale, (n, n)), 1)
        return bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.uniform(-scale, scale, n))

    return make


@pytest.fixture(scope="session")
def boltzspike():
    """Return a function that runs the command line as a process of its own."""

    def command(*arguments):
        return subprocess.run(
            [sys.executable, "-c", "from boltzspike.cli import main; main()", *map(str, arguments)],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return command


@pytest.fixture(scope="session")
def run():
    """Return a function that runs a command in this process; its errors are raised."""
    from typer.testing import CliRunner

    from boltzspike.cli import app

    def command(*arguments):
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return command


@pytest.fixture
def render():
    """Return a function that draws a figure, or that of axes, and returns its pixels: some ink, none cut off."""

    def rendered(drawn):
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(drawn.figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[..., :3].min(axis=-1)
        assert (pixels < 250).mean() > 0.005, "the picture is empty"
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert edge.min() == 255, "something is cut off at the edge of the picture"
        return pixels

    return rendered
