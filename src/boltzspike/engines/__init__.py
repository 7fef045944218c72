"""Engines: how a program is run. They know ``Program`` and ``samples`` and nothing above them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

from boltzspike.errors import UnsupportedFeature, ValidationError, suggestion
from boltzspike.program import Program
from boltzspike.samples import Record, Samples

if TYPE_CHECKING:
    from boltzspike.inputs import Initial

State = Any
"""What a runner needs to go on: opaque to all but the engine that made it."""


class Runner(Protocol):
    """A program made ready to run."""

    @property
    def approximation(self) -> str:
        """What was approximated, in words for the result."""
        ...

    @property
    def cpu(self) -> str:
        """Where states repeat bit for bit: the CPU's architecture or instruction set, for checkpoints."""
        ...

    def init(self, *, seed: int, chains: int, initial: Initial | None = None) -> State:
        """Return the state before the first step: at rest, or as ``initial`` says."""
        ...

    def run(self, state: State, steps: int, record: Record) -> tuple[Samples, State]:
        """Advance by ``steps``; ``state`` is left as it was. run(a) then run(b) is run(a + b), bit for bit."""
        ...


class Engine(Protocol):
    """A way to run programs."""

    name: str
    features: frozenset[str]
    chain_keyed: bool
    """Whether the samples of chain k are a function of seed and k alone; if not, the numbers of chains and threads
    change them, but not their distribution."""

    def prepare(self, program: Program) -> Runner:
        """Return a runner, or raise ``UnsupportedFeature``: an engine never approximates in silence."""
        ...


REGISTRY = {
    "reference": "boltzspike.engines.reference:ReferenceEngine",
    "numba": "boltzspike.engines.numba.engine:NumbaEngine",
    "numba-exact": "boltzspike.engines.numba.engine:NumbaExactEngine",
    "cuda": "boltzspike.engines.cuda.engine:CudaEngine",
    "nest": "boltzspike.engines.nest.engine:NestEngine",
}


def get_engine(name: str | Engine, *, threads: int | None = None) -> Engine:
    """Return the engine of that name; its packages are imported now. An engine is returned as it is.

    Parameters
    ----------
    name
        A key of ``REGISTRY``.
    threads
        How many threads it may use; ``None``: as many as there are cores. The samples of an engine that is
        ``chain_keyed`` don't depend on it.
    """
    if not isinstance(name, str):
        return name
    if name not in REGISTRY:
        raise ValidationError(f"engine: no engine named {name!r}{suggestion(name, REGISTRY)}")
    module, _, attribute = REGISTRY[name].partition(":")
    engine: Engine = getattr(importlib.import_module(module), attribute)(threads=threads)
    return engine


def check_features(engine: Engine, program: Program) -> None:
    """Raise ``UnsupportedFeature`` naming what the program uses and the engine lacks."""
    missing = sorted(program.features - engine.features)
    if missing:
        raise UnsupportedFeature(
            f"the {engine.name} engine does not support: {', '.join(missing)} "
            f"(it supports: {', '.join(sorted(engine.features))})"
        )
