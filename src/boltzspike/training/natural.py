"""The natural gradient: a step as long in every direction of the law, however flat the likelihood is there.

The gradient is multiplied by the inverse of Fisher's information, which for a Boltzmann machine is the covariance
of its sufficient statistics (S. Amari, "Natural gradient works efficiently in learning", Neural Computation 10,
251 (1998)). The covariance is over the states of the free phase, in the loop those of the spiking network itself.
The ridge is that with which ``tune`` moves a translation.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from boltzspike.errors import UnsupportedFeature, require
from boltzspike.model.description import Array
from boltzspike.training.models import Model, Statistics
from boltzspike.translation.tuned import Covariance
from boltzspike.translation.working_point import WorkingPoint

LARGEST_STEP = 0.5
"""No parameter moves further in one step."""


def natural_step(
    model: Model, free: Statistics, gradient: dict[str, Array], rate: float,
    parameters: Literal["all", "biases"] = "all",
) -> dict[str, Array]:  # fmt: skip
    """Return ``rate (C + ridge)^-1 gradient`` for ``weights`` and ``biases``, in the form of the model's.

    C is the covariance over ``free.states`` of the statistics of the ``parameters`` that move; none moves further
    than ``LARGEST_STEP``.

    Raises
    ------
    UnsupportedFeature
        Where the sampler keeps no states.
    ValidationError
        Where there are fewer states than parameters: their covariance has no inverse.
    """
    if free.states is None:
        raise UnsupportedFeature(
            "Settings.optimizer: 'natural' needs a sampler that keeps the free phase's states"
        )
    n, at = model.n_units, model.n_visible
    if model.coupled is None:
        coupled = np.zeros((n, n), dtype=bool)
        coupled[:at, at:] = True
        couplings = np.zeros((n, n))
        couplings[:at, at:] = gradient["weights"]
    else:
        coupled, couplings = model.coupled, gradient["weights"]
    if parameters == "biases":
        coupled = np.zeros_like(coupled)
    size = n + int(np.triu(coupled | coupled.T, 1).sum())
    require(
        len(free.states) >= size, "states of the free phase (chains, steps)",
        f"at least the {size} parameters, for optimizer='natural'", len(free.states),
    )  # fmt: skip
    covariance = Covariance(WorkingPoint.of_samples(free.states, "free phase"), coupled)
    step = rate * covariance.solve(covariance.vector(gradient["biases"], couplings))
    biases, weights = covariance.split(np.clip(step, -LARGEST_STEP, LARGEST_STEP))
    return {"weights": weights[:at, at:] if model.coupled is None else weights, "biases": biases}
