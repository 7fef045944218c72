"""The room that knows every other: what users call, put together.

``responses``: from a neuron to its calibration; ``sampling``: from a target to samples; ``sampling_networks``:
from a network as it is; ``runs``: what both have in common; ``queries``: many pieces of evidence about one target;
``references``: what they are compared with; ``translations``: what has networks in the loop; ``budgets``: where
their bias comes from; ``running_networks``: one run, under all of them.
"""

from boltzspike.pipeline.budgets import check_budget, error_budget
from boltzspike.pipeline.exports import export, read
from boltzspike.pipeline.queries import sample_queries
from boltzspike.pipeline.references import reference
from boltzspike.pipeline.responses import (
    burst_statistics,
    calibrate,
    calibrate_many,
    design,
    design_synapse,
    response,
)
from boltzspike.pipeline.running_networks import ABSTRACT, Progress
from boltzspike.pipeline.sampling import sample
from boltzspike.pipeline.training import train
from boltzspike.pipeline.translations import (
    calibrate_network,
    tune,
    with_network,
    working_point,
)
from boltzspike.pipeline.until import sample_until

__all__ = [
    "ABSTRACT",
    "Progress",
    "burst_statistics",
    "calibrate",
    "calibrate_many",
    "calibrate_network",
    "check_budget",
    "design",
    "design_synapse",
    "error_budget",
    "export",
    "read",
    "reference",
    "response",
    "sample",
    "sample_queries",
    "sample_until",
    "train",
    "tune",
    "with_network",
    "working_point",
]
