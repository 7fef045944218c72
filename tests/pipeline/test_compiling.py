import numpy as np
import pytest

import boltzspike as bs
from boltzspike.compilation import REACH
from boltzspike.formats.bayes import from_pgmpy
from boltzspike.pipeline import compiling
from boltzspike.pipeline.compiling import compiled_for_sampling


def example(name):
    import warnings

    from pgmpy.utils import get_example_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return from_pgmpy(get_example_model(name))


def test_a_network_within_reach_is_fitted_and_nothing_else_is_tried(monkeypatch):
    monkeypatch.setattr(compiling, "relaxation_time", None)
    made = compiled_for_sampling(bs.networks.asia(), {"dysp": "yes"})
    assert made.report.route == "fitted"
    assert made.report.largest_weight <= REACH


def test_beyond_reach_the_route_that_mixes_faster_is_taken():
    """Gibbs sampling of sachs from a start common to all chains is nearer to the truth by the route chosen."""
    network = example("sachs")
    made = {route: compiled_for_sampling(network, route=route) for route in ("fitted", "monomials")}
    assert min(m.report.largest_weight for m in made.values()) > REACH
    chosen = compiled_for_sampling(network)
    assert chosen.report.route == "monomials"
    errors = {}
    for route, compiled in made.items():
        result = bs.sample(compiled, engine="gibbs", duration=1e4, chains=32, seed=3)
        sampled, exact = result.posterior(), result.exact_posterior()
        errors[route] = np.mean([abs(sampled[v][s] - exact[v][s]) for v in sampled for s in sampled[v]])
    assert errors["monomials"] < errors["fitted"]


@pytest.mark.parametrize("route", ["monomials", "assignments"])
def test_the_route_that_is_asked_for_is_taken(route):
    assert compiled_for_sampling(bs.networks.sprinkler(), route=route).report.route == route
