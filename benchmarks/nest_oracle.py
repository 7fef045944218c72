"""Simulate a specification in NEST, alone in its process, and leave the spikes.

    python benchmarks/nest_oracle.py SPECIFICATION.json SPIKES.npz

The specification says everything in boltzspike's units (ms, mV, nF, uS, nA, Hz); this script imports NEST and
NumPy alone, so that nothing of boltzspike can make the two agree. Keys: ``dt``, ``duration``, ``burn_in``,
``seed``, ``copies``; ``units``, one neuron each (the fields of LIF or CurrentLIF); ``rates`` and
``background_weights`` of the private Poisson sources of every neuron; optional ``weights`` (renewing, [target,
source]) with ``delay``; ``refractory_compensation`` (default true).

``SPIKES.npz``: arrays ``chain`` (copy), ``unit``, ``step`` (a spike of step s is stamped (s + 1) dt, counted from
the end of the burn-in; those of the burn-in have a negative step), and ``finite``, ``seconds``.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import nest
import numpy as np

MILLI = 1e3
"""nF to pF, uS to nS, nA to pA."""


def neuron_parameters(unit: dict[str, Any], dt: float, compensated: bool) -> tuple[str, dict[str, float]]:
    """Return NEST's model and parameters of a neuron."""
    # NEST integrates once more after its refractory counter ran out: the shortest interval is t_ref + dt
    values = {
        "C_m": MILLI * unit["c_m"],
        "E_L": unit["v_rest"],
        "V_th": unit["v_thresh"],
        "V_reset": unit["v_reset"],
        "V_m": unit["v_reset"],
        "t_ref": unit["tau_refrac"] - (dt if compensated else 0.0),
        "tau_syn_ex": unit["tau_syn_exc"],
        "tau_syn_in": unit["tau_syn_inh"],
        "I_e": MILLI * unit["i_offset"],
    }
    if "e_rev_exc" in unit:
        g_l = MILLI * unit["c_m"] / unit["tau_m"]
        return "iaf_cond_exp", {**values, "g_L": g_l, "E_ex": unit["e_rev_exc"], "E_in": unit["e_rev_inh"]}
    return "iaf_psc_exp", {**values, "tau_m": unit["tau_m"]}


def build(spec: dict[str, Any], threads: int = 1) -> tuple[list[Any], Any]:
    """Make the network of a specification; return its populations, a unit's copies each, and the recorder."""
    dt, copies, units = spec["dt"], spec["copies"], spec["units"]
    nest.ResetKernel()
    nest.set(resolution=dt, local_num_threads=threads, rng_seed=spec["seed"], print_time=False)

    populations = []
    for unit in units:
        model, values = neuron_parameters(unit, dt, spec.get("refractory_compensation", True))
        populations.append(nest.Create(model, copies, params=values))
    recorder = nest.Create("spike_recorder")
    couplings = np.asarray(spec.get("weights", np.zeros((len(units), len(units)))))
    # NEST updates in slices of the shortest delay; that of noise and recorder changes nothing but the speed
    delay = spec["delay"] if np.any(couplings) else 1.0
    for rate, weight in zip(spec["rates"], spec["background_weights"]):
        source = nest.Create("poisson_generator", params={"rate": rate})  # an independent train for each target
        for population in populations:
            nest.Connect(source, population, syn_spec={"weight": MILLI * weight, "delay": delay})
    first = np.array([min(population.tolist()) for population in populations])
    copy = np.arange(copies)
    for name in ("tau_syn_exc", "tau_syn_inh"):
        target, source = np.nonzero(couplings > 0 if name == "tau_syn_exc" else couplings < 0)
        if not len(target):
            continue
        pairs = [np.add.outer(first[ends], copy).ravel() for ends in (source, target)]
        taus = np.array([unit[name] for unit in units])[target].repeat(copies)
        ones = np.ones(len(taus))
        # a spike sets the trace back to its full value; tsodyks_synapse would return NaN at tau_rec = tau_psc
        synapse = {
            "synapse_model": "tsodyks2_synapse", "weight": MILLI * couplings[target, source].repeat(copies),
            "delay": spec["delay"] * ones, "U": ones, "u": ones, "x": ones, "tau_rec": taus, "tau_fac": 0 * ones,
        }  # fmt: skip
        nest.Connect(*pairs, "one_to_one", synapse)
    for population in populations:
        nest.Connect(population, recorder)
    return populations, recorder


def simulate(spec: dict[str, Any]) -> dict[str, Any]:
    """Run NEST and return what goes into the file."""
    started = time.perf_counter()
    dt, copies, units = spec["dt"], spec["copies"], spec["units"]
    populations, recorder = build(spec)
    nest.Simulate(spec["burn_in"] + spec["duration"])

    # a potential that is NaN never spikes again and a conductance never recovers: both would still be there
    readable = ("V_m", "g_ex", "g_in") if "e_rev_exc" in units[0] else ("V_m",)
    finite = all(np.isfinite(population.get(name)).all() for population in populations for name in readable)
    synapses = nest.GetConnections(synapse_model="tsodyks2_synapse")
    if len(synapses):
        finite = finite and all(np.isfinite(synapses.get(name)).all() for name in ("x", "u"))
    events = recorder.events
    node = np.asarray(events["senders"]) - min(populations[0].tolist())
    step = np.rint((np.asarray(events["times"]) - spec["burn_in"]) / dt).astype(np.int64) - 1
    return {
        "chain": node % copies,
        "unit": node // copies,
        "step": step,
        "finite": finite,
        "seconds": time.perf_counter() - started,
    }


if __name__ == "__main__":
    with open(sys.argv[1]) as specification:
        found = simulate(json.load(specification))
    np.savez(sys.argv[2], **found)
