import pytest

import boltzspike as bs
from boltzspike.compilation import REACH
from boltzspike.formats.bayes import from_pgmpy
from boltzspike.pipeline import compiling
from boltzspike.pipeline.compiling import compiled_for_sampling
from boltzspike.pipeline.translations import relaxation_time


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
    network = example("sachs")
    made = {route: compiled_for_sampling(network, route=route) for route in ("fitted", "monomials")}
    assert min(m.report.largest_weight for m in made.values()) > REACH
    relaxation = {route: relaxation_time(m.machine.to_boltzmann()) for route, m in made.items()}
    assert relaxation["monomials"] < 0.9 * relaxation["fitted"]
    assert compiled_for_sampling(network).report.route == "monomials"


@pytest.mark.parametrize("route", ["monomials", "assignments"])
def test_the_route_that_is_asked_for_is_taken(route):
    assert compiled_for_sampling(bs.networks.sprinkler(), route=route).report.route == route
