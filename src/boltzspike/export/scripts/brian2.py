#!/usr/bin/env python
"""Simulate the network in ``network.npz``, beside this script, in Brian2 >= 2.9, and leave its spikes.

    python run.py                                  # as run.json says; compiled C++ (half a minute, once a run)
    python run.py --target numpy --duration 1e3    # no compiler needed; slow
    python run.py --chains 16 --seed 7

It needs Brian2 and NumPy, nothing else. Chains are independent copies of the network in one simulation. The spikes
go to ``spikes-0.npz``: arrays ``chain``, ``unit`` and ``step``; a spike of step s is stamped (s + 1) dt, and steps
are counted from the end of the burn-in, so those of the burn-in are negative. ``bs.read`` of this folder brings
them back into boltzspike.

``network.npz``: times in ms, potentials mV, capacitances nF, conductances uS, currents nA, rates Hz; the sign of a
weight says which synapse it drives.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import brian2 as b
import numpy as np
from brian2 import Hz, ms, mV, nA, nF, uS

UNITS = {"volt": mV, "second": ms, "farad": nF, "siemens": uS, "amp": nA}


def build(network, *, chains):
    """Return the neurons (chain by chain), their spike monitor, and all objects of the simulation."""
    b.defaultclock.dt = float(network["dt"]) * ms
    neurons = create_neurons(network, chains)
    monitor = b.SpikeMonitor(neurons, name="spikes")
    return neurons, monitor, [
        neurons, monitor, *connect_background(network, neurons), *connect_recurrent(network, neurons, chains),
    ]  # fmt: skip


def create_neurons(network, chains):
    """Create the neurons at v_reset, their synaptic variables at their stationary means."""
    conductance = network["model"] == "conductance"
    dimension = "siemens" if conductance else "amp"
    parameters = {
        "c_m": "farad", "v_rest": "volt", "v_reset": "volt", "v_thresh": "volt", "tau_m": "second",
        "tau_refrac": "second", "tau_syn_exc": "second", "tau_syn_inh": "second", "i_offset": "amp",
    } | ({"e_rev_exc": "volt", "e_rev_inh": "volt"} if conductance else {})  # fmt: skip
    # what is alike in all units is a constant: faster
    constants, declarations, varied = {}, [], {}
    for name, of_what in parameters.items():
        value = network[name]
        # (both synaptic ones or none: synapses ask the neuron for them)
        if np.ptp(value) == 0 and (one_tau(network) or not name.startswith("tau_syn")):
            constants[name] = value[0] * UNITS[of_what]
        else:
            declarations.append(f"{name} : {of_what} (constant)")
            varied[name] = np.tile(value, chains) * UNITS[of_what]
    current = "g_exc*(e_rev_exc - v) + g_inh*(e_rev_inh - v)" if conductance else "g_exc - g_inh"
    held = np.any(network["clamp"] >= 0)
    if held:
        declarations.append("clamp : integer (constant)")
    variables, emission, more = short_term(network)
    neurons = b.NeuronGroup(
        len(network["c_m"]) * chains,
        "\n".join(
            [
                f"dv/dt = (v_rest - v)/tau_m + ({current} + i_offset)/c_m : volt (unless refractory)",
                f"dg_exc/dt = -g_exc/tau_syn_exc : {dimension}",
                f"dg_inh/dt = -g_inh/tau_syn_inh : {dimension}",
                *declarations,
                *variables,
            ]
        ),
        # linear in each variable: the exact solution for synaptic variables that are constant within a step
        method="exponential_euler",
        threshold="clamp == 1 or (clamp == -1 and v >= v_thresh)" if held else "v >= v_thresh",
        reset="\n".join(["v = v_reset", *emission]),
        # Brian2's shortest interval is tau_refrac, as in boltzspike; NEST's is a step longer
        refractory="tau_refrac",
        namespace=constants | more,
        name="neurons",
    )
    for name, value in varied.items():
        setattr(neurons, name, value)
    if held:
        neurons.clamp = np.tile(network["clamp"], chains)
    if variables:
        neurons.last = -1e6 * ms
    neurons.v = np.tile(network["v_reset"], chains) * mV
    for name in ("exc", "inh"):
        level = network[f"mean_{name}"] * step_mean(network, name)
        setattr(neurons, f"g_{name}", np.tile(level, chains) * UNITS[dimension])
    return neurons


def step_mean(network, name):
    """Return the mean of exp(-t/tau_syn) over a step, of each unit.

    The membrane is to see a synaptic variable's mean over the step, not its value at the beginning; the variables
    are linear, so all that is added to them is scaled instead.
    """
    x = network["dt"] / network[f"tau_syn_{name}"]
    return -np.expm1(-x) / x


def short_term(network):
    """Return variables, statements at a spike, and constants for what a spike carries to all its targets.

    All synapses of a neuron share its spikes, so their state is kept once, in the neuron. It holds for delays up
    to the shortest refractory period: then the next spike comes after the arrival.
    """
    if network["plasticity"] == "additive":
        return [], [], {}
    if network["plasticity"] == "renewing":
        if one_tau(network):
            variables = ["carried_exc : 1", "carried_inh : 1"]
            emission = [f"carried_{name} = 1 - exp((last - t)/tau_syn_{name})" for name in ("exc", "inh")]
        else:
            variables, emission = ["interval : second"], ["interval = t - last"]
        return [*variables, "last : second"], [*emission, "last = t"], {}
    emission = [
        # both from the values at the last spike
        "left = resources*(1 - utilization)",
        "resources = 1 - (1 - left)*exp((last - t)/tau_rec)",
        "utilization = U + utilization*(1 - U)*exp((last - t)/tau_fac)",
        "carried = resources*utilization/U",
        "last = t",
    ]
    variables = ["resources : 1", "utilization : 1", "left : 1", "carried : 1", "last : second"]
    # a time constant of 0 means none
    times = {name: max(float(network[name]), 1e-6) * ms for name in ("tau_rec", "tau_fac")}
    return variables, emission, {"U": float(network["U"]), **times}


def unit_of(network):
    """Return the unit of synaptic weights."""
    return uS if network["model"] == "conductance" else nA


def one_tau(network):
    """Tell whether all units have the same synaptic time constants."""
    return all(np.ptp(network[f"tau_syn_{name}"]) == 0 for name in ("exc", "inh"))


def connect_background(network, neurons):
    """Return the private Poisson sources of all neurons."""
    n, dt, inputs = len(network["c_m"]), float(network["dt"]), []
    chains = len(neurons) // n
    unit, column = network["background_unit"], network["background_source"]
    for source in np.unique(column):
        here = column == source
        rate, weight = np.zeros(n), np.zeros(n)
        rate[unit[here]], weight[unit[here]] = network["background_rate"][here], network["background_weight"][here]
        for sign, name in ((1, "exc"), (-1, "inh")):
            driven = sign * weight > 0
            size = np.abs(weight) * step_mean(network, name)
            if driven.all() and np.ptp(rate) == 0 and np.ptp(size) == 0:
                # many rare sources, whose number of events is binomial, are a Poisson source to 1e-3, and faster
                rare = max(1000, int(np.ceil(rate[0] * dt)))
                inputs.append(
                    b.PoissonInput(neurons, f"g_{name}", rare, rate[0] / rare * Hz, size[0] * unit_of(network))
                )
            elif driven.any():
                once = 1e9 * ms
                neurons.namespace[f"rate_{name}_{source}"] = b.TimedArray(
                    np.tile(np.where(driven, rate, 0.0), (1, chains)) * Hz, dt=once
                )
                neurons.namespace[f"weight_{name}_{source}"] = b.TimedArray(
                    np.tile(size, (1, chains)) * unit_of(network), dt=once
                )
                events = f"poisson(rate_{name}_{source}(t, i)*dt)"
                neurons.run_regularly(f"g_{name} += weight_{name}_{source}(t, i)*{events}", when="synapses")
    return inputs


def connect_recurrent(network, neurons, chains):
    """Return the recurrent synapses."""
    n, copies, objects = len(network["c_m"]), np.arange(chains), []
    renewing = network["plasticity"] == "renewing"
    for sign, name in ((1, "exc"), (-1, "inh")):
        chosen = sign * network["weight"] > 0
        if not chosen.any():
            continue
        source, target = network["source"][chosen], network["target"][chosen]
        carried = {"additive": "", "tsodyks-markram": "*carried_pre"}.get(str(network["plasticity"]))
        if renewing and one_tau(network):
            carried = f"*carried_{name}_pre"
        elif renewing:
            carried = f"*(1 - exp(-interval_pre/tau_syn_{name}_post))"
        synapses = b.Synapses(
            neurons, neurons, f"w : {'siemens' if network['model'] == 'conductance' else 'amp'}",
            on_pre=f"g_{name}_post += w{carried}", name=f"recurrent_{name}",
        )  # fmt: skip
        pre, post = (np.add.outer(copies * n, unit).ravel() for unit in (source, target))
        synapses.connect(i=pre, j=post)
        scaled = np.abs(network["weight"][chosen]) * step_mean(network, name)[target]
        synapses.w = np.tile(scaled, chains) * unit_of(network)
        delay = network["delay"][chosen]
        synapses.delay = (delay[0] if np.ptp(delay) == 0 else np.tile(delay, chains)) * ms
        objects.append(synapses)
    return objects


def main():
    """Read, simulate, write."""
    here = Path(__file__).resolve().parent
    settings = json.loads((here / "run.json").read_text())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration", type=float, default=settings["duration"], help="ms a chain")
    parser.add_argument("--burn-in", type=float, default=settings["burn_in"], help="ms, before that")
    parser.add_argument("--chains", type=int, default=settings["chains"])
    parser.add_argument("--seed", type=int, default=settings["seed"])
    parser.add_argument("--target", choices=["standalone", "cython", "numpy"], default="standalone")
    parser.add_argument("-o", "--output", type=Path, default=here, help="folder for the spikes")
    options = parser.parse_args()

    with np.load(here / "network.npz", allow_pickle=False) as file:
        network = dict(file)
    if options.target == "standalone":
        b.set_device("cpp_standalone", directory=None)  # in a temporary folder
    else:
        b.prefs.codegen.target = options.target
    b.seed(options.seed)
    neurons, monitor, objects = build(network, chains=options.chains)
    dt, n = float(network["dt"]), len(network["c_m"])
    burn_in, steps = round(options.burn_in / dt), round(options.duration / dt)
    began = time.perf_counter()
    b.Network(*objects).run((burn_in + steps) * dt * ms)
    seconds = time.perf_counter() - began
    if not np.isfinite(neurons.v[:] / mV).all():
        raise SystemExit("Brian2 left potentials that are not finite: nothing is written")

    node = np.asarray(monitor.i[:], dtype=np.int64)
    step = np.rint(np.asarray(monitor.t[:] / ms) / dt).astype(np.int64) - burn_in
    path = options.output / "spikes-0.npz"
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(
        partial, chain=node // n, unit=node % n, step=step, chains=options.chains, steps=steps,
        burn_in_steps=burn_in, dt=dt, seed=options.seed, rank=0, ranks=1, seconds=seconds, threads=1,
        simulator=f"Brian2 {b.__version__}, {options.target}",
    )  # fmt: skip
    partial.replace(path)
    print(f"{path}: {len(step)} spikes of {options.chains} chains, {steps * dt:g} ms each, in {seconds:.3g} s")


if __name__ == "__main__":
    main()
