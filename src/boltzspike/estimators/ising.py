"""Samplers with the interfaces of other packages."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from boltzspike.calibration import Calibration
from boltzspike.errors import MissingDependency, require
from boltzspike.formats.ising import from_bqm
from boltzspike.pipeline import sample

try:
    import dimod
except ImportError:
    raise MissingDependency('LIFSampler needs dimod: pip install "boltzspike[ising]"') from None

CHAINS = 64


class LIFSampler(dimod.Sampler):
    """Sample binary quadratic models with LIF neurons, as a ``dimod.Sampler``.

    ``p(s) ~ exp(-beta E(s))``. Reads are draws of up to 64 independent networks, ``draw_every`` ms apart.

    Parameters
    ----------
    calibration
        Of the neuron; ``None``: preset S1, from theory.
    rule, engine, dt, threads
        As in ``boltzspike.sample``; ``rule=None``: that function's default.

    Examples
    --------
    >>> bqm = dimod.BinaryQuadraticModel({"a": -0.5}, {"ab": 0.5}, 0.0, "SPIN")
    >>> sampleset = LIFSampler().sample(bqm, num_reads=200, seed=1)
    >>> len(sampleset), sorted(sampleset.variables)
    (200, ['a', 'b'])
    """

    def __init__(
        self,
        *,
        calibration: Calibration | None = None,
        rule: str | None = None,
        engine: str = "numba",
        dt: float = 0.1,
        threads: int | None = None,
    ) -> None:
        self._options: dict[str, Any] = {
            "calibration": calibration,
            "engine": engine,
            "dt": dt,
            "threads": threads,
        }
        if rule is not None:
            self._options["rule"] = rule

    @property
    def parameters(self) -> dict[str, list[str]]:
        """Parameters of ``sample``."""
        return {"num_reads": [], "beta": [], "seed": [], "burn_in": [], "draw_every": []}

    @property
    def properties(self) -> dict[str, Any]:
        """What the sampler is."""
        return {"description": "LIF neurons in the high-conductance state", "chains": CHAINS}

    def sample(
        self,
        bqm: Any,
        *,
        num_reads: int = 100,
        beta: float = 1.0,
        seed: int = 1,
        burn_in: float = 1000.0,
        draw_every: float = 100.0,
        **parameters: Any,
    ) -> Any:
        """Return samples of a binary quadratic model.

        Parameters
        ----------
        bqm
            The model, SPIN or BINARY.
        num_reads
            Number of samples.
        beta
            Inverse temperature.
        seed
            The same seed gives the same samples.
        burn_in
            Time discarded at the start of each chain, ms.
        draw_every
            Time between two samples of a chain, ms; short of the autocorrelation time, reads are correlated.
        parameters
            dimod's convention: unknown ones are passed over with its warning.

        Returns
        -------
        A ``dimod.SampleSet``; its ``info`` holds the seconds of sampling and the approximation.
        """
        self.remove_unknown_kwargs(**parameters)
        require(
            isinstance(num_reads, int | np.integer) and num_reads >= 1, "num_reads", "an integer >= 1", num_reads
        )
        labels = list(bqm.variables)
        if not labels:
            return dimod.SampleSet.from_samples_bqm(np.empty((num_reads, 0), dtype=np.int8), bqm)
        chains = min(int(num_reads), CHAINS)
        draws = math.ceil(num_reads / chains)
        result = sample(
            from_bqm(bqm, beta=beta), duration=draws * draw_every, chains=chains, seed=seed, burn_in=burn_in,
            draw_every=draw_every, **self._options,
        )  # fmt: skip
        # draw by draw, so that a rest that is cut off is shared among the chains
        z = result.z.transpose(1, 0, 2).reshape(-1, len(labels))[:num_reads]
        states = 2 * z - 1 if bqm.vartype is dimod.SPIN else z
        info = {name: result.configuration[name] for name in ("wall_seconds", "approximation")}
        return dimod.SampleSet.from_samples_bqm((states.astype(np.int8), labels), bqm, info=info)
