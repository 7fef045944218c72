#!/usr/bin/env python
"""Simulate the network in ``network.npz``, beside this script, through PyNN >= 0.12, and leave its spikes.

    python run.py nest                             # or brian2, neuron, ...: whatever backend PyNN has
    python run.py nest --duration 1e5 --chains 16
    python run.py spiNNaker --static               # a backend without short-term plasticity

It needs PyNN with the backend, and NumPy. Chains are independent copies of the network in one simulation. The
spikes go to ``spikes-0.npz``: arrays ``chain``, ``unit`` and ``step``; a spike of step s is stamped (s + 1) dt,
and steps are counted from the end of the burn-in, so those of the burn-in are negative. ``bs.read`` of this folder
brings them back into boltzspike.

What backends do differently is in ``BACKENDS``; one that is not there is taken for ideal, and was not run.
Measured distortions are in boltzspike's docs/interop.md.

``network.npz``: times in ms, potentials mV, capacitances nF, conductances uS, currents nA, rates Hz; the sign of a
weight says which synapse it drives.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CELLS = {"conductance": "IF_cond_exp", "current": "IF_curr_exp"}
RECEPTORS = {"exc": "excitatory", "inh": "inhibitory"}


@dataclass(frozen=True, kw_only=True)
class Backend:
    """What has to be known of a backend."""

    extra_steps: int = 0
    """By how many steps its shortest inter-spike interval is longer than tau_refrac."""
    first_stamp: int = 0
    """Time stamp of a spike of step 0, in steps."""
    tau_rec: float = 1e-3
    """Which tau_rec makes PyNN's Tsodyks-Markram synapse a renewing one, ms; see ``recurrent_synapse``."""
    events_a_step: float = np.inf
    """Most events that a Poisson source may have in a step on average; one of more is cut into several."""


BACKENDS = {
    # NEST integrates once more after its refractory counter ran out
    "nest": Backend(extra_steps=1, first_stamp=1),
    # its threshold is watched again from the step after the refractory period on
    "neuron": Backend(extra_steps=1, first_stamp=1),
    # its sources have at most one event a step; its resources recover with tau_syn, whatever tau_rec is, and are
    # 0 times infinity after 700 tau_rec of silence
    "brian2": Backend(tau_rec=1e9, events_a_step=0.01),
}


def build(sim, backend, network, *, chains, static):
    """Return the neurons, chain by chain."""
    dt, n = float(network["dt"]), len(network["c_m"])
    cell = {
        "cm": network["c_m"],
        "tau_m": network["tau_m"],
        "v_rest": network["v_rest"],
        "v_reset": network["v_reset"],
        "v_thresh": network["v_thresh"],
        "tau_refrac": network["tau_refrac"] - backend.extra_steps * dt,
        "tau_syn_E": network["tau_syn_exc"],
        "tau_syn_I": network["tau_syn_inh"],
        "i_offset": network["i_offset"],
    }
    if network["model"] == "conductance":
        cell |= {"e_rev_E": network["e_rev_exc"], "e_rev_I": network["e_rev_inh"]}
    kind = getattr(sim, CELLS[str(network["model"])])
    alike = {name: value[0] if np.ptp(value) == 0 else np.tile(value, chains) for name, value in cell.items()}
    neurons = sim.Population(n * chains, kind(**alike), label="neurons")
    neurons.initialize(v=np.tile(network["v_reset"], chains))
    neurons.record("spikes")
    connect_background(sim, backend, network, neurons, chains)
    connect_recurrent(sim, backend, network, neurons, chains, static)
    return neurons


def size(network, weight):
    """Return the weight as PyNN has it: positive for conductances, signed for currents."""
    return weight if network["model"] == "current" else np.abs(weight)


def connect_background(sim, backend, network, neurons, chains):
    """Give each neuron its own Poisson sources."""
    n, dt = len(network["c_m"]), float(network["dt"])
    for source in np.unique(network["background_source"]):
        here = network["background_source"] == source
        unit, rate, weight = (network[f"background_{name}"][here] for name in ("unit", "rate", "weight"))
        for sign, name in ((1, "exc"), (-1, "inh")):
            chosen = sign * weight > 0
            if not chosen.any():
                continue
            parts = int(max(1, np.ceil(rate[chosen].max() * dt / 1e3 / backend.events_a_step)))
            targets = np.repeat(np.add.outer(np.arange(chains) * n, unit[chosen]).ravel(), parts)
            rates = np.repeat(np.tile(rate[chosen] / parts, chains), parts)
            sizes = np.repeat(np.tile(size(network, weight[chosen]), chains), parts)
            poisson = sim.SpikeSourcePoisson(rate=rates if np.ptp(rates) else rates[0])
            sources = sim.Population(len(targets), poisson, label=f"background {source} {name}")
            pairs = [(k, int(target), float(weight), dt) for k, (target, weight) in enumerate(zip(targets, sizes))]
            sim.Projection(
                sources, neurons, sim.FromListConnector(pairs), sim.StaticSynapse(), receptor_type=RECEPTORS[name]
            )


def connect_recurrent(sim, backend, network, neurons, chains, static):
    """Connect the neurons."""
    n = len(network["c_m"])
    for sign, name in ((1, "exc"), (-1, "inh")):
        chosen = sign * network["weight"] > 0
        if not chosen.any():
            continue
        ends = [
            np.add.outer(np.arange(chains) * n, network[end][chosen]).ravel().tolist()
            for end in ("source", "target")
        ]
        sizes = np.tile(size(network, network["weight"][chosen]), chains).tolist()
        delays = np.tile(network["delay"][chosen], chains).tolist()
        connector = sim.FromListConnector(list(zip(*ends, sizes, delays)))
        synapse = recurrent_synapse(sim, backend, network, static)
        sim.Projection(neurons, neurons, connector, synapse, receptor_type=RECEPTORS[name])


def recurrent_synapse(sim, backend, network, static):
    """Return the synapse: renewing as U = 1, tau_facil = 0 and tau_rec -> 0.

    PyNN's Tsodyks-Markram synapse has three states: what was released is inactive for tau_syn, then recovers with
    tau_rec. So it is tau_rec = 0, not tau_syn, that leaves 1 - exp(-T/tau_syn) to a spike after the interval T.
    (At tau_rec = tau_syn NEST returns NaN.)
    """
    if static or network["plasticity"] == "additive":
        return sim.StaticSynapse()
    return sim.TsodyksMarkramSynapse(U=1.0, tau_rec=backend.tau_rec, tau_facil=1e-6)


def main():
    """Read, simulate, write."""
    here = Path(__file__).resolve().parent
    settings = json.loads((here / "run.json").read_text())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend", help="nest, brian2, neuron, ...: the module of PyNN")
    parser.add_argument("--duration", type=float, default=settings["duration"], help="ms a chain")
    parser.add_argument("--burn-in", type=float, default=settings["burn_in"], help="ms, before that")
    parser.add_argument("--chains", type=int, default=settings["chains"])
    parser.add_argument("--seed", type=int, default=settings["seed"])
    parser.add_argument("--static", action="store_true", help="no short-term plasticity: PSPs add up")
    parser.add_argument("-o", "--output", type=Path, default=here, help="folder for the spikes")
    options = parser.parse_args()

    with np.load(here / "network.npz", allow_pickle=False) as file:
        network = dict(file)
    dt, n = float(network["dt"]), len(network["c_m"])
    backend = BACKENDS.get(options.backend, Backend())
    sim = importlib.import_module(f"pyNN.{options.backend}")
    extra: dict[str, object] = {}
    if options.backend == "nest":
        # off the grid, PyNN's default, current-based neurons are others, with the refractory period exact
        extra |= {"rng_seed": options.seed % (2**32 - 1) + 1, "spike_precision": "on_grid"}
    if options.backend == "neuron":
        # all Poisson sources draw from one generator
        extra |= {"native_rng_baseseed": options.seed % 2**31}
    if options.backend == "brian2":
        import brian2

        brian2.prefs.codegen.target = "numpy"
        brian2.seed(options.seed)
    longest = max(1.0, float(np.max(network["delay"], initial=dt)))
    sim.setup(timestep=dt, min_delay=dt, max_delay=longest, **extra)
    neurons = build(sim, backend, network, chains=options.chains, static=options.static)
    burn_in, steps = round(options.burn_in / dt), round(options.duration / dt)
    began = time.perf_counter()
    sim.run((burn_in + steps) * dt)
    seconds = time.perf_counter() - began
    trains = neurons.get_data("spikes").segments[0].spiketrains
    times = [np.asarray(train.rescale("ms").magnitude) for train in trains]
    sim.end()

    node = np.repeat(np.arange(n * options.chains), [len(train) for train in times])
    step = np.rint(np.concatenate(times) / dt).astype(np.int64) - backend.first_stamp - burn_in
    path = options.output / "spikes-0.npz"
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(
        partial, chain=node // n, unit=node % n, step=step, chains=options.chains, steps=steps,
        burn_in_steps=burn_in, dt=dt, seed=options.seed, rank=0, ranks=1, seconds=seconds, threads=1,
        simulator=f"PyNN {importlib.import_module('pyNN').__version__}, {options.backend}"
        + (", static synapses" if options.static else ""),
    )  # fmt: skip
    partial.replace(path)
    print(f"{path}: {len(step)} spikes of {options.chains} chains, {steps * dt:g} ms each, in {seconds:.3g} s")


if __name__ == "__main__":
    main()
