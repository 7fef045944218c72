import importlib

from boltzspike.engines import REGISTRY


def features_of(engine):
    """Return what an engine declares to have: of its class, as to make one may take its simulator or a GPU."""
    module, _, attribute = REGISTRY[engine].partition(":")
    return getattr(importlib.import_module(module), attribute).features
