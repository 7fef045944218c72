"""What a machine's marginals are: exact, or by long Gibbs sampling."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Mapping

import numpy as np

from boltzspike.errors import BoltzspikeWarning, require
from boltzspike.model.boltzmann import Machine, clamp_indices
from boltzspike.result import Reference
from boltzspike.samples import Record
from boltzspike.theory.exact import Exact, exact_given


def reference(
    machine: Machine,
    clamp: Mapping[int | str, int] | None = None,
    *,
    error: float = 2e-3,
    updates: float = 3e8,
    seed: int = 1,
    threads: int | None = None,
    known: Exact | None = None,
) -> Reference:
    """Return the marginals under evidence: exact where that is in reach, else by long Gibbs sampling.

    The chains of the Gibbs samples begin at random states and double their length, the first half discarded, until
    the largest standard error is below ``error``. The errors come from the spread of the chains, so chains that
    don't mix show; a mode that none of them found does not.

    Parameters
    ----------
    machine
        The machine.
    clamp
        Evidence, ``{unit name or index: 0 or 1}``.
    error
        Largest standard error of a marginal that is wanted of the Gibbs samples.
    updates
        Updates of units to stop before all the same, 1000 sweeps at least; a warning then says what was reached.
    seed, threads
        Of the Gibbs samples.
    known
        The exact moments, where they have been computed already.
    """
    from boltzspike import abstract  # imports Numba

    evidence = clamp_indices(machine, clamp or {})
    moments = known or exact_given(machine, evidence)
    if moments is not None:
        return Reference(
            marginals=moments.marginals, error=np.zeros(machine.n_units), exact=True, method=moments.method
        )
    require(error > 0, "error", "> 0", error)
    conditioned, free = machine.given(evidence)
    plain = conditioned.to_boltzmann()
    runner = abstract.Gibbs(plain.weights, plain.biases, threads=threads or os.cpu_count() or 1)
    state = runner.init(seed=seed, chains=_REFERENCE_CHAINS)
    z = np.random.default_rng(seed).integers(0, 2, state.z.shape, dtype=np.int8)
    state = dataclasses.replace(state, z=z)
    _, state = runner.run(state, _REFERENCE_SWEEPS, Record())
    sweeps, worst, per_chain = _REFERENCE_SWEEPS, np.inf, np.zeros(z.shape)
    while sweeps == _REFERENCE_SWEEPS or (worst > error and 2 * sweeps * z.size <= updates):
        per_chain[:] = 0
        passes = sweeps // _REFERENCE_SWEEPS
        for _ in range(passes):
            samples, state = runner.run(state, _REFERENCE_SWEEPS, Record(states_every=1))
            assert samples.states is not None
            per_chain += samples.states.mean(axis=1) / passes
        sweeps *= 2
        worst = float(per_chain.std(axis=0, ddof=1).max() / np.sqrt(_REFERENCE_CHAINS))
    if worst > error:
        warnings.warn(
            f"reference: the marginals by Gibbs sampling are known to {worst:.2g} only, not to {error:.2g}; the "
            "chains mix slowly, or more updates are needed (updates=)",
            BoltzspikeWarning,
            stacklevel=2,
        )
    marginals, errors = np.zeros(machine.n_units), np.zeros(machine.n_units)
    marginals[list(evidence)] = list(evidence.values())
    marginals[free] = per_chain.mean(axis=0)
    errors[free] = per_chain.std(axis=0, ddof=1) / np.sqrt(_REFERENCE_CHAINS)
    method = f"Gibbs sampling, {_REFERENCE_CHAINS} chains of {sweeps} sweeps"
    return Reference(marginals=marginals, error=errors, exact=False, method=method)


_REFERENCE_CHAINS, _REFERENCE_SWEEPS = 64, 500
