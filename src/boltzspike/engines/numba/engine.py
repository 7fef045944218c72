"""NumbaEngine: the default engine."""

from __future__ import annotations

import os

from boltzspike.engines import Runner, check_features
from boltzspike.engines.numba.exact import ExactRunner
from boltzspike.program import Program


class NumbaEngine:
    """Compiled CPU engine; the samples do not depend on the number of threads."""

    name = "numba"
    features = frozenset({"conductance", "current", "alpha", "renewing", "additive", "clamp"})

    def __init__(self, *, threads: int | None = None) -> None:
        """Use so many threads; ``None``: as many as this process may run on."""
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.threads = available if threads is None else threads

    def prepare(self, program: Program) -> Runner:
        """Return a runner."""
        check_features(self, program)
        return ExactRunner(program, threads=self.threads)
