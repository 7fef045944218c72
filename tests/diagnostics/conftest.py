import numpy as np
import pytest

import boltzspike as bs
from boltzspike.abstract import Neural
from boltzspike.samples import Record


@pytest.fixture(scope="session")
def neural():
    """Return a sampler of known law: Buesing's neurons, 20 steps a refractory period, a draw every 5."""

    def sample(weights, biases, *, chains=32, draws=500, seed=1, tau=20):
        sampler = Neural(np.asarray(weights, dtype=float), np.asarray(biases, dtype=float), tau=tau)
        _, state = sampler.run(sampler.init(seed=seed, chains=chains), 1000, Record())
        return sampler.run(state, draws * 5, Record(states_every=5))[0].states

    return sample


@pytest.fixture(scope="session")
def target():
    """Return a machine of five units."""
    rng = np.random.default_rng(1)
    weights = np.triu(rng.normal(0, 0.6, (5, 5)), 1)
    return bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.normal(0, 0.6, 5))
