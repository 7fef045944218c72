#!/usr/bin/env python
"""Simulate the network in ``network.npz``, beside this script, in NEST >= 3.8, and leave its spikes.

    python run.py                                         # as run.json says
    python run.py --duration 1e5 --chains 16 --threads 8
    mpirun -n 4 python run.py --threads 8                 # with a NEST that was built with MPI

It needs NEST and NumPy, nothing else. Chains are independent copies of the network in one simulation. The spikes
go to ``spikes-0.npz`` (one file a rank): arrays ``chain``, ``unit`` and ``step``; a spike of step s is stamped
(s + 1) dt, and steps are counted from the end of the burn-in, so those of the burn-in are negative. ``bs.read`` of
this folder brings them back into boltzspike.

NEST's random numbers depend on the seed, the number of chains, and the number of threads times ranks.

``network.npz``: times in ms, potentials mV, capacitances nF, conductances uS, currents nA, rates Hz; the sign of a
weight says which synapse it drives.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import nest
import numpy as np

MILLI = 1e3
"""nF to pF, uS to nS, nA to pA."""
MODELS = {
    ("conductance", "exponential"): "iaf_cond_exp",
    ("conductance", "alpha"): "iaf_cond_alpha",
    ("current", "exponential"): "iaf_psc_exp",
    ("current", "alpha"): "iaf_psc_alpha",
}
NEVER, ALWAYS = 0, 1
"""Values of ``clamp``."""


def build(network, *, chains, seed, threads, v=None):
    """Build ``chains`` copies of a network; return the neurons (chain by chain) and the spike recorder."""
    nest.ResetKernel()
    # NEST takes seeds from 1 to 2^32 - 1
    nest.set(resolution=float(network["dt"]), local_num_threads=threads, rng_seed=seed % (2**32 - 1) + 1)
    neurons = create_neurons(network, chains, v)
    connect_background(network, neurons, chains)
    connect_shared(network, neurons, chains)
    connect_recurrent(network, neurons, chains)
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder, syn_spec={"delay": float(network["dt"])})
    return neurons, recorder


def create_neurons(network, chains, v=None):
    """Create the neurons, at v_reset or at ``v``, shape (chains, units)."""
    dt = float(network["dt"])
    conductance, alpha = network["model"] == "conductance", network["kernel"] == "alpha"
    tau_m, v_rest, v_thresh = (network[name].copy() for name in ("tau_m", "v_rest", "v_thresh"))
    # neurons that are held get no input; one held at 1 crosses threshold in one step
    never, always = network["clamp"] == NEVER, network["clamp"] == ALWAYS
    v_thresh[never] = 1e9
    tau_m[always] = dt
    v_rest[always] = v_thresh[always] + 10 * (v_thresh - network["v_reset"])[always]
    values = {
        "C_m": MILLI * network["c_m"],
        "E_L": v_rest,
        "V_th": v_thresh,
        "V_reset": network["v_reset"],
        "V_m": network["v_reset"],
        # NEST integrates once more after its refractory counter ran out: the shortest interval is t_ref + dt
        "t_ref": network["tau_refrac"] - dt,
        "tau_syn_ex": network["tau_syn_exc"],
        "tau_syn_in": network["tau_syn_inh"],
        "I_e": np.where(always, 0.0, MILLI * network["i_offset"]),
    }
    if conductance:
        values |= {
            "g_L": MILLI * network["c_m"] / tau_m,
            "E_ex": network["e_rev_exc"],
            "E_in": network["e_rev_inh"],
            # of an alpha synapse the mean is e times larger; that of the variable that feeds it, e / tau_syn
            "g_ex": MILLI * network["mean_exc"] * (np.e if alpha else 1),
            "g_in": MILLI * network["mean_inh"] * (np.e if alpha else 1),
        }
        if alpha:
            values["dg_ex"] = np.e * MILLI * network["mean_exc"] / network["tau_syn_exc"]
            values["dg_in"] = np.e * MILLI * network["mean_inh"] / network["tau_syn_inh"]
    else:
        values["tau_m"] = tau_m
    model = MODELS[str(network["model"]), str(network["kernel"])]
    copies = {name: np.tile(value, chains).tolist() for name, value in values.items()}
    if v is not None:
        copies["V_m"] = v.ravel().tolist()
    return nest.Create(model, len(v_rest) * chains, params=copies)


def connect(source, target, **synapse):
    """Connect node ``source[i]`` to node ``target[i]``; parameters of the synapse are numbers or arrays."""
    if len(target):
        arrays = {
            name: np.broadcast_to(np.asarray(value, dtype=float), target.shape).copy()
            for name, value in synapse.items()
            if name != "synapse_model"
        }
        model = {"synapse_model": synapse.get("synapse_model", "static_synapse")}
        nest.Connect(np.asarray(source), np.asarray(target), "one_to_one", model | arrays)


def in_chains(unit, neurons, network, chains):
    """Return the node of each unit in each chain, chain by chain."""
    first = neurons[0].global_id
    return (first + np.add.outer(np.arange(chains) * len(network["c_m"]), unit)).ravel().astype(np.int64)


def connect_background(network, neurons, chains):
    """Give each free neuron its own Poisson sources: a generator draws anew for each of its connections."""
    free = network["clamp"][network["background_unit"]] < 0
    unit, source, rate, weight = (
        network[f"background_{name}"][free] for name in ("unit", "source", "rate", "weight")
    )
    kinds = np.unique(np.stack([source, rate], axis=1), axis=0)
    for this_source, this_rate in kinds:
        alike = (source == this_source) & (rate == this_rate)
        generator = nest.Create("poisson_generator", params={"rate": float(this_rate)})
        target = in_chains(unit[alike], neurons, network, chains)
        weights = MILLI * np.tile(weight[alike], chains)
        connect(np.full(len(target), generator.global_id), target, weight=weights, delay=network["dt"])


def connect_shared(network, neurons, chains):
    """Let units draw from common sources: a parrot repeats the events of each source in each chain."""
    sources, dt = len(network["shared_rate"]), float(network["dt"])
    if not sources:
        return
    parrots = nest.Create("parrot_neuron", sources * chains)
    generators = nest.Create("poisson_generator", sources, params={"rate": network["shared_rate"].tolist()})
    nodes = parrots[0].global_id + np.arange(sources * chains)
    connect(np.tile(np.asarray(generators.tolist()), chains), nodes, weight=1.0, delay=dt)
    free = network["clamp"][network["shared_unit"]] < 0
    source, unit, weight = (network[f"shared_{name}"][free] for name in ("source", "unit", "weight"))
    repeated = (parrots[0].global_id + np.add.outer(np.arange(chains) * sources, source)).ravel()
    target = in_chains(unit, neurons, network, chains)
    connect(repeated, target, weight=MILLI * np.tile(weight, chains), delay=dt)


def connect_recurrent(network, neurons, chains):
    """Connect the neurons: U = 1, tau_rec = tau_syn, tau_fac = 0 is the renewing synapse, exactly."""
    free = network["clamp"][network["target"]] < 0
    source, target, weight, delay = (network[name][free] for name in ("source", "target", "weight", "delay"))
    ends = [in_chains(unit, neurons, network, chains) for unit in (source, target)]
    tiled = {"weight": MILLI * np.tile(weight, chains), "delay": np.tile(delay, chains)}
    if network["plasticity"] == "additive":
        connect(*ends, **tiled)
        return
    utilization, tau_fac = 1.0, 0.0
    if network["plasticity"] == "renewing":
        tau_rec = np.where(weight >= 0, network["tau_syn_exc"][target], network["tau_syn_inh"][target])
    else:
        utilization, tau_fac = float(network["U"]), float(network["tau_fac"])
        # NEST wants it above 0; after any interval of a step or more this one is fully recovered
        tau_rec = np.full(len(weight), max(float(network["tau_rec"]), 1e-6))
        # the weight is what a spike after rest adds; NEST multiplies it by U
        tiled["weight"] = tiled["weight"] / utilization
    # tsodyks_synapse, without the 2, returns NaN at tau_rec = tau_syn
    connect(
        *ends, synapse_model="tsodyks2_synapse", U=utilization, u=utilization, x=1.0,
        tau_rec=np.tile(tau_rec, chains), tau_fac=tau_fac, **tiled,
    )  # fmt: skip


def all_finite(network, neurons):
    """Tell whether no potential, conductance or synapse is NaN; one that is would stay so, in silence."""
    local = nest.GetLocalNodeCollection(neurons)
    names = ("V_m", "g_ex", "g_in") if network["model"] == "conductance" else ("V_m",)
    finite = not len(local) or all(np.isfinite(local.get(name)).all() for name in names)
    synapses = nest.GetConnections(source=neurons, synapse_model="tsodyks2_synapse")
    if finite and len(synapses):
        finite = all(np.isfinite(synapses.get(name)).all() for name in ("x", "u"))
    return bool(finite)


def spikes_of(recorder, neurons, network, *, start):
    """Return chain, unit and step of the recorded spikes; ``start``: time that counts as 0, ms."""
    events, n = recorder.events, len(network["c_m"])
    node = np.asarray(events["senders"], dtype=np.int64) - neurons[0].global_id
    step = np.rint((np.asarray(events["times"]) - start) / float(network["dt"])).astype(np.int64) - 1
    return node // n, node % n, step


def main():
    """Read, simulate, write."""
    here = Path(__file__).resolve().parent
    settings = json.loads((here / "run.json").read_text())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration", type=float, default=settings["duration"], help="ms a chain")
    parser.add_argument("--burn-in", type=float, default=settings["burn_in"], help="ms, before that")
    parser.add_argument("--chains", type=int, default=settings["chains"])
    parser.add_argument("--seed", type=int, default=settings["seed"])
    parser.add_argument("--threads", type=int, default=settings["threads"], help="of each rank")
    parser.add_argument("-o", "--output", type=Path, default=here, help="folder for the spikes")
    options = parser.parse_args()

    with np.load(here / "network.npz", allow_pickle=False) as file:
        network = dict(file)
    dt = float(network["dt"])
    neurons, recorder = build(network, chains=options.chains, seed=options.seed, threads=options.threads)
    burn_in, steps = round(options.burn_in / dt), round(options.duration / dt)
    began = time.perf_counter()
    nest.Simulate((burn_in + steps) * dt)
    seconds = time.perf_counter() - began
    if not all_finite(network, neurons):
        raise SystemExit("NEST left potentials or synapses that are not finite: nothing is written")

    chain, unit, step = spikes_of(recorder, neurons, network, start=burn_in * dt)
    rank, ranks = nest.Rank(), nest.NumProcesses()
    path = options.output / f"spikes-{rank}.npz"
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(
        partial, chain=chain, unit=unit, step=step, chains=options.chains, steps=steps, burn_in_steps=burn_in,
        dt=dt, seed=options.seed, rank=rank, ranks=ranks, seconds=seconds, simulator=f"NEST {nest.__version__}",
        threads=options.threads,
    )  # fmt: skip
    partial.replace(path)
    print(f"{path}: {len(step)} spikes of {options.chains} chains, {steps * dt:g} ms each, in {seconds:.3g} s")


if __name__ == "__main__":
    main()
