"""A program as named arrays in the field's units, for simulators that know nothing of boltzspike.

These arrays are the contract between this library and the scripts that it writes (``export``) or runs
(``engines.nest``). Times in ms, potentials in mV, capacitances in nF, conductances in uS, currents in nA, rates in
Hz; the sign of a weight says which synapse it drives. n units, m recurrent synapses, b background sources in all
(each feeds one unit), p shared ones with q synapses.

| array | shape | |
|---|---|---|
| ``names`` | (n,) | of the units |
| ``dt`` | () | time step |
| ``model`` | () | ``"conductance"`` or ``"current"`` |
| ``kernel`` | () | ``"exponential"`` or ``"alpha"`` |
| ``c_m``, ``tau_m``, ``v_rest``, ``v_reset``, ``v_thresh``, ``tau_refrac``, ``i_offset``, ``tau_syn_exc``, ``tau_syn_inh``, ``e_rev_exc``, ``e_rev_inh`` | (n,) | of each neuron; reversal potentials are NaN in ``"current"`` |
| ``clamp`` | (n,) | 1: spikes at every chance, 0: never, -1: free |
| ``source``, ``target``, ``weight``, ``delay`` | (m,) | recurrent synapses |
| ``plasticity`` | () | ``"renewing"``, ``"additive"`` or ``"tsodyks-markram"`` (``boltzspike.model.synapse``) |
| ``U``, ``tau_rec``, ``tau_fac`` | () | of the last |
| ``background_unit``, ``background_source``, ``background_rate``, ``background_weight`` | (b,) | private Poisson sources; ``source`` counts those of a unit |
| ``shared_rate`` | (p,) | Poisson sources that several units share |
| ``shared_source``, ``shared_unit``, ``shared_weight`` | (q,) | their synapses |
| ``mean_exc``, ``mean_inh`` | (n,) | mean input, where a run starts: uS or nA |
"""  # noqa: E501

from __future__ import annotations

from typing import Any

import numpy as np

from boltzspike.model.description import Array, is_sparse
from boltzspike.program import Program
from boltzspike.units import hz

PORTABLE = frozenset(
    {"conductance", "current", "alpha", "renewing", "additive", "tsodyks-markram", "clamp", "sparse", "delays",
     "parallel-synapses", "shared-background"}
)  # fmt: skip
"""Features of a program that these arrays hold."""
PLASTICITIES = ("renewing", "additive", "tsodyks-markram")


def portable(program: Program) -> dict[str, Array]:
    """Return the arrays of a program whose features are all ``PORTABLE``."""
    p = program
    assert p.features <= PORTABLE, sorted(p.features - PORTABLE)
    target, source, weight, delay = p.synapses()
    unit, column = np.nonzero(p.background_rates)
    shared = _shared(p)
    return {
        "names": np.array(p.names, dtype=np.str_),
        "dt": np.array(p.dt),
        "model": np.array("conductance" if p.conductance_based else "current"),
        "kernel": np.array("alpha" if p.alpha else "exponential"),
        "c_m": p.c_m,
        "tau_m": p.c_m / p.g_l,
        "v_rest": p.v_rest,
        "v_reset": p.v_reset,
        "v_thresh": p.v_thresh,
        "tau_refrac": p.refractory_steps * p.dt,
        "i_offset": p.i_offset,
        "tau_syn_exc": p.tau_syn_exc,
        "tau_syn_inh": p.tau_syn_inh,
        "e_rev_exc": p.e_rev_exc,
        "e_rev_inh": p.e_rev_inh,
        "clamp": p.clamp,
        "source": source,
        "target": target,
        "weight": weight,
        "delay": delay * p.dt,
        "plasticity": np.array(next(name for name in PLASTICITIES if name in p.features)),
        "U": np.array(p.U),
        "tau_rec": np.array(p.tau_rec),
        "tau_fac": np.array(p.tau_fac),
        "background_unit": unit,
        "background_source": column,
        "background_rate": hz(p.background_rates[unit, column]),
        "background_weight": p.background_weights[unit, column],
        **shared,
        **dict(zip(("mean_exc", "mean_inh"), p.mean_input())),
    }


def _shared(program: Program) -> dict[str, Array]:
    pool: Any = program.pool
    if pool is None:
        empty = np.zeros(0)
        return {"shared_rate": empty, "shared_weight": empty} | {
            name: np.zeros(0, dtype=np.int64) for name in ("shared_source", "shared_unit")
        }
    weights = pool.weights.toarray() if is_sparse(pool.weights) else pool.weights
    unit, source = np.nonzero(weights)
    return {
        "shared_rate": hz(pool.rates),
        "shared_source": source,
        "shared_unit": unit,
        "shared_weight": weights[unit, source],
    }
