"""A Bayesian network compiled for sampling: by the route asked for, else by the one that mixes faster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boltzspike.compilation import REACH, Compiled, compile_bayes
from boltzspike.errors import UnsupportedFeature
from boltzspike.model.bayesnet import BayesianNetwork, Evidence
from boltzspike.pipeline.translations import relaxation_time

STRONGER = 2.0


def compiled_for_sampling(
    network: BayesianNetwork,
    evidence: Evidence | None = None,
    *,
    route: str | None = None,
    likelihoods: Mapping[str, Any] | None = None,
    **options: Any,
) -> Compiled:
    """Return the compiled network.

    Fitted units, while their weights are within reach of the rules that do not simulate the network. Beyond,
    mixing decides what sampling makes of a machine, and neither fitted nor exact units mix faster throughout:
    those of the shorter relaxation time are taken, where it is known of both. Weights of more than ``STRONGER``
    times those of fitted units are more than synapses can do.

    Parameters
    ----------
    route
        As in ``compile_bayes``; ``None``: see above.
    options
        Of ``compile_bayes``; ``reach`` is ``REACH`` unless given.
    """
    options = {"reach": REACH, **options}
    make = lambda by: compile_bayes(network, evidence, likelihoods=likelihoods, route=by, **options)
    if route is not None:
        return make(route)
    fitted = make("fitted")
    if fitted.report.largest_weight <= REACH:
        return fitted
    try:
        exact = make("monomials")
    except UnsupportedFeature:
        return fitted
    if exact.report.largest_weight > STRONGER * fitted.report.largest_weight:
        return fitted
    relaxation, of_exact = (relaxation_time(made.machine.to_boltzmann()) for made in (fitted, exact))
    faster = relaxation is not None and of_exact is not None and of_exact < relaxation
    return exact if faster else fitted
