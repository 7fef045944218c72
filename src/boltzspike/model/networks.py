"""Small Bayesian networks: of the literature, and random ones."""

from __future__ import annotations

import numpy as np

from boltzspike.model.bayesnet import BayesianNetwork

_YES_NO = ("yes", "no")


def asia() -> BayesianNetwork:
    """Return the chest clinic: S. L. Lauritzen, D. J. Spiegelhalter, J. R. Stat. Soc. B 50, 157 (1988)."""
    return BayesianNetwork(
        states=dict.fromkeys(("asia", "tub", "smoke", "lung", "bronc", "either", "xray", "dysp"), _YES_NO),
        parents={
            "tub": ["asia"], "lung": ["smoke"], "bronc": ["smoke"], "either": ["lung", "tub"], "xray": ["either"],
            "dysp": ["bronc", "either"],
        },
        tables={
            "asia": [0.01, 0.99],
            "tub": [[0.05, 0.95], [0.01, 0.99]],
            "smoke": [0.5, 0.5],
            "lung": [[0.1, 0.9], [0.01, 0.99]],
            "bronc": [[0.6, 0.4], [0.3, 0.7]],
            "either": [[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]],
            "xray": [[0.98, 0.02], [0.05, 0.95]],
            "dysp": [[[0.9, 0.1], [0.8, 0.2]], [[0.7, 0.3], [0.1, 0.9]]],
        },
    )  # fmt: skip


def sprinkler() -> BayesianNetwork:
    """Return the wet grass with four variables, as in S. Russell, P. Norvig, Artificial Intelligence (1995)."""
    return BayesianNetwork(
        states=dict.fromkeys(("cloudy", "sprinkler", "rain", "wet"), _YES_NO),
        parents={"sprinkler": ["cloudy"], "rain": ["cloudy"], "wet": ["sprinkler", "rain"]},
        tables={
            "cloudy": [0.5, 0.5],
            "sprinkler": [[0.1, 0.9], [0.5, 0.5]],
            "rain": [[0.8, 0.2], [0.2, 0.8]],
            "wet": [[[0.99, 0.01], [0.9, 0.1]], [[0.9, 0.1], [0.0, 1.0]]],
        },
    )


def visual_perception() -> BayesianNetwork:
    """Return the Knill-Kersten illusion: does a step in reflectance or the objects' shape explain a shading.

    D. C. Knill, D. Kersten, Nature 351, 228 (1991), made a network of four binary variables by D. Pecevski et al.,
    PLoS Comput. Biol. 7, e1002294 (2011), and sampled with LIF neurons by D. Probst et al., Front. Comput.
    Neurosci. 9, 13 (2015): reflectance step and shape explain the shading together (exclusive or), the shape alone
    explains the contour. The probabilities .85 and .15 are as remembered of these papers, whose tables were not at
    hand.
    """
    likely, unlikely = [0.15, 0.85], [0.85, 0.15]
    return BayesianNetwork(
        states={
            "reflectance": ("uniform", "step"),
            "shape": ("flat", "cylindrical"),
            "shading": ("uniform", "stepped"),
            "contour": ("straight", "curved"),
        },
        parents={"shading": ["reflectance", "shape"], "contour": ["shape"]},
        tables={
            "reflectance": [0.5, 0.5],
            "shape": [0.5, 0.5],
            "shading": [[unlikely, likely], [likely, unlikely]],
            "contour": [unlikely, likely],
        },
    )


def random_network(variables: int, rng: np.random.Generator) -> BayesianNetwork:
    """Return a network of so many binary variables, each with up to three parents.

    Probabilities are drawn from Beta(.4, .4), within .01 to .99; of variables with parents a seventh are 0 or 1.
    """
    names = [f"v{k}" for k in range(variables)]
    parents, tables = {}, {}
    for k, name in enumerate(names):
        chosen = sorted(rng.choice(k, size=min(k, int(rng.integers(4))), replace=False)) if k else []
        p = rng.beta(0.4, 0.4, size=(2,) * len(chosen)).clip(0.01, 0.99)
        if chosen:
            p = np.where(rng.random(p.shape) < 1 / 7, np.round(p), p)
        parents[name] = [names[j] for j in chosen]
        tables[name] = np.stack([p, 1 - p], axis=-1)
    return BayesianNetwork(states=dict.fromkeys(names, _YES_NO), parents=parents, tables=tables)
