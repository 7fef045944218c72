"""The two engines of this room: the fast one, the default, and the exact one that it is tested against."""

from __future__ import annotations

import os

from boltzspike.engines import Runner, check_features
from boltzspike.engines.numba.exact import ExactRunner
from boltzspike.engines.numba.fast import FastRunner, unsupported
from boltzspike.program import Program


class NumbaExactEngine:
    """The reference engine's loop, compiled: float64, exact exponential, exact Poisson counts, the same spikes."""

    name = "numba-exact"
    features = frozenset(
        {"conductance", "current", "alpha", "renewing", "additive", "tsodyks-markram", "clamp", "sparse", "delays",
         "jitter", "parallel-synapses", "random-refractory", "shared-background", "replay", "varying-bias",
         "varying-clamp", "varying-rates", "waves"}
    )  # fmt: skip
    chain_keyed = True

    def __init__(self, *, threads: int | None = None) -> None:
        """Use so many threads; ``None``: as many as this process may run on."""
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.threads = available if threads is None else threads

    def prepare(self, program: Program) -> Runner:
        """Return a runner."""
        check_features(self, program)
        return ExactRunner(program, threads=self.threads)


class NumbaEngine(NumbaExactEngine):
    """Explicit vectors in float32; what they don't cover runs on the exact path, and the runner says so."""

    name = "numba"

    def prepare(self, program: Program) -> Runner:
        """Return a runner."""
        check_features(self, program)
        reason = unsupported(program)
        if reason is not None:
            return ExactRunner(program, threads=self.threads, fallen_back=reason)
        return FastRunner(program, threads=self.threads)
