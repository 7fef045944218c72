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
