import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import boltzspike as bs


def run_script(folder, *arguments, timeout=900):
    """Run ``run.py`` of an exported folder as a user would, without boltzspike on its path."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, Path(folder) / "run.py", *map(str, arguments)],
        capture_output=True, text=True, env=environment, timeout=timeout, check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def machine():
    """Return a maker of machines within +-.6: the PSP rule samples them well."""

    def make(n, seed=3):
        rng = np.random.default_rng(seed)
        weights = np.triu(rng.uniform(-0.6, 0.6, (n, n)), 1)
        return bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.uniform(-0.6, 0.6, n))

    return make
