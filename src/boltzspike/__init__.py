"""boltzspike: neural sampling with LIF neurons in the high-conductance state.

A description goes in on the left, samples with honest error bars come out on the right::

    import boltzspike as bs

    machine = bs.BoltzmannMachine(weights=[[0, 1], [1, 0]], biases=[-0.5, 0.2])
    result = bs.sample(machine, duration=1e5, chains=64, seed=1)
    result.marginals(), result.kl_divergence()
"""

from boltzspike.calibration import Calibration, NetworkCalibration, ResponseCurve
from boltzspike.compilation import Compiled, compile_bayes
from boltzspike.errors import (
    BoltzspikeError,
    BoltzspikeWarning,
    CalibrationError,
    Interrupted,
    MissingDependency,
    MissingDevice,
    SimulatorError,
    UnsupportedFeature,
    ValidationError,
)
from boltzspike.inputs import Initial
from boltzspike.model import networks, presets
from boltzspike.model.background import PoissonBackground, ReplayedBackground, SharedBackground
from boltzspike.model.bayesnet import BayesianNetwork
from boltzspike.model.boltzmann import BoltzmannMachine, RestrictedBoltzmannMachine
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import LIF, CurrentLIF, RandomRefractory
from boltzspike.model.schedule import Piecewise, Wave
from boltzspike.model.synapse import Synapse
from boltzspike.pipeline import (
    calibrate,
    calibrate_many,
    calibrate_network,
    design,
    design_synapse,
    export,
    read,
    reference,
    response,
    sample,
    sample_queries,
    sample_until,
    train,
    tune,
)
from boltzspike.posterior import PosteriorResult
from boltzspike.result import Reference, Result
from boltzspike.samples import Record
from boltzspike.theory.membrane import effective_currents
from boltzspike.translation import Translation, translate

__all__ = [
    "LIF",
    "BayesianNetwork",
    "BoltzmannMachine",
    "BoltzspikeError",
    "BoltzspikeWarning",
    "Calibration",
    "CalibrationError",
    "Compiled",
    "CurrentLIF",
    "Initial",
    "Interrupted",
    "MissingDependency",
    "MissingDevice",
    "NetworkCalibration",
    "Piecewise",
    "PoissonBackground",
    "PosteriorResult",
    "RandomRefractory",
    "Record",
    "Reference",
    "ReplayedBackground",
    "ResponseCurve",
    "RestrictedBoltzmannMachine",
    "Result",
    "SharedBackground",
    "SimulatorError",
    "SpikingNetwork",
    "Synapse",
    "Translation",
    "UnsupportedFeature",
    "ValidationError",
    "Wave",
    "calibrate",
    "calibrate_many",
    "calibrate_network",
    "compile_bayes",
    "design",
    "design_synapse",
    "effective_currents",
    "export",
    "networks",
    "presets",
    "read",
    "reference",
    "response",
    "sample",
    "sample_queries",
    "sample_until",
    "train",
    "translate",
    "tune",
]
