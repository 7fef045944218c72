"""Samplers and estimators with the interfaces of other packages; each is imported when it is first asked for."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "LIFSampler": "boltzspike.estimators.ising",
    "BoltzspikeClassifier": "boltzspike.estimators.learning",
    "BoltzspikeRBM": "boltzspike.estimators.learning",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
