"""boltzspike: neural sampling with LIF neurons in the high-conductance state.

A description goes in on the left, samples with honest error bars come out on the right::

    import boltzspike as bs

    machine = bs.BoltzmannMachine(weights=[[0, 1], [1, 0]], biases=[-0.5, 0.2])
    result = bs.sample(machine, duration=1e5, chains=64, seed=1)
    result.marginals(), result.kl_divergence()
"""

from boltzspike.calibration import Calibration, NetworkCalibration, ResponseCurve
from boltzspike.errors import (
    BoltzspikeError,
    BoltzspikeWarning,
    CalibrationError,
    MissingDependency,
    UnsupportedFeature,
    ValidationError,
)
from boltzspike.model import presets
from boltzspike.model.background import PoissonBackground
from boltzspike.model.boltzmann import BoltzmannMachine, RestrictedBoltzmannMachine
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import LIF, CurrentLIF
from boltzspike.model.synapse import Synapse
from boltzspike.pipeline import (
    calibrate,
    calibrate_many,
    calibrate_network,
    design,
    read,
    reference,
    response,
    sample,
    tune,
)
from boltzspike.result import Reference, Result
from boltzspike.translation import Translation, translate

__all__ = [
    "LIF",
    "BoltzmannMachine",
    "BoltzspikeError",
    "BoltzspikeWarning",
    "Calibration",
    "CalibrationError",
    "CurrentLIF",
    "MissingDependency",
    "NetworkCalibration",
    "PoissonBackground",
    "Reference",
    "ResponseCurve",
    "RestrictedBoltzmannMachine",
    "Result",
    "SpikingNetwork",
    "Synapse",
    "Translation",
    "UnsupportedFeature",
    "ValidationError",
    "calibrate",
    "calibrate_many",
    "calibrate_network",
    "design",
    "presets",
    "read",
    "reference",
    "response",
    "sample",
    "translate",
    "tune",
]
