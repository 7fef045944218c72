"""Training of machines with hidden units, over any sampler.

``models``: what is trained; ``samplers``: who visits the states of the two phases; ``trainer``: the loop, with its
checkpoints; ``measures``: how good a machine is, without its partition function; ``likelihood``: with it.

What has spiking networks in the loop is put together in ``boltzspike.pipeline.training``.
"""

from boltzspike.training.models import Model, class_rbm, full, layered, restricted
from boltzspike.training.samplers import ExactSampler, LayerGibbs, Sampler, Tempered, UnitSampler
from boltzspike.training.trainer import Epoch, Settings, Trained, train

__all__ = [
    "Epoch",
    "ExactSampler",
    "LayerGibbs",
    "Model",
    "Sampler",
    "Settings",
    "Tempered",
    "Trained",
    "UnitSampler",
    "class_rbm",
    "full",
    "layered",
    "restricted",
    "train",
]
