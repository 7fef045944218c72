"""One engine on one network, alone in its process: what ``engines.py`` starts and asks.

    python benchmarks/workers.py ENGINE SPECIFICATION.json

It builds the network, prints a line of JSON (``setup``: seconds until then, compilation and burn-in included), and
then answers every line on its input with one run of ``steps`` and a line of JSON: ``cpu`` and ``wall`` seconds of
the steps alone, ``rss`` (peak, MB). The run's counts are left in ``COUNTS.npy`` beside the specification: steps
with z = 1, int64 (blocks, units), a block being one chain for ``block`` steps.

The specification is that of ``nest_oracle.py``, with ``weights_file`` (npy, [target, source]), ``threads``,
``steps``, ``block``. The processes of NEST and Brian2 import nothing of boltzspike.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray
Run = Callable[[], tuple[float, float, Array, float]]
"""Runs the steps once; returns CPU seconds, wall seconds, counts, peak RSS in MB."""


def clocks() -> Array:
    return np.array([time.process_time(), time.perf_counter()])


def own_peak() -> float:
    # not ru_maxrss, which begins with that of the process that forked this one
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def counted(spec: dict[str, Any], chain: Array, unit: Array, step: Array) -> Array:
    """Return the steps with z = 1 from spikes, (blocks, units); a spike counts where it falls."""
    units, copies = len(spec["units"]), spec["copies"]
    blocks = spec["steps"] // spec["block"]
    kept = (step >= 0) & (step < blocks * spec["block"])
    block = chain[kept] * blocks + step[kept] // spec["block"]
    spikes = np.bincount(block * units + unit[kept], minlength=copies * blocks * units)
    refractory = np.array([round(neuron["tau_refrac"] / spec["dt"]) for neuron in spec["units"]])
    return spikes.reshape(-1, units) * refractory


def boltzspike_network(spec: dict[str, Any]) -> Any:
    import boltzspike as bs
    from boltzspike.program import compile_program

    network = bs.SpikingNetwork(
        neurons=[bs.LIF(**neuron) for neuron in spec["units"]],
        backgrounds=bs.PoissonBackground(rates=spec["rates"], weights=spec["background_weights"]),
        weights=spec["weights"],
        synapse=bs.Synapse(delay=spec["delay"]),
    )
    return compile_program(network, dt=spec["dt"])


def own(engine: str) -> Callable[[dict[str, Any]], Run]:
    """Return the builder of an engine of this library: states every tau_refrac, which is what ``sample`` keeps."""

    def build(spec: dict[str, Any]) -> Run:
        from native import native_runner

        from boltzspike.engines import get_engine
        from boltzspike.samples import Record

        program = boltzspike_network(spec)
        if engine == "c++":
            runner: Any = native_runner(program)
        else:
            runner = get_engine(engine, threads=spec["threads"]).prepare(program)
        every = int(program.refractory_steps.max())
        record = Record(states_every=every)
        state = runner.init(seed=spec["seed"], chains=spec["copies"])
        _, state = runner.run(state, round(spec["burn_in"] / spec["dt"]), record)

        def run() -> tuple[float, float, Array, float]:
            nonlocal state
            start = clocks()
            samples, state = runner.run(state, spec["steps"], record)
            cpu, wall = clocks() - start
            blocks, draws = spec["steps"] // spec["block"], spec["block"] // every
            z = samples.states[:, : blocks * draws].reshape(-1, draws, len(spec["units"]))
            return cpu, wall, z.sum(axis=1) * every, own_peak()

        return run

    return build


def nest(spec: dict[str, Any]) -> Run:
    import nest
    from nest_oracle import build

    populations, recorder = build(spec, threads=spec["threads"])
    nest.Simulate(spec["burn_in"])
    first = min(populations[0].tolist())

    def run() -> tuple[float, float, Array, float]:
        recorder.n_events = 0
        begin = nest.biological_time
        start = clocks()
        nest.Simulate(spec["steps"] * spec["dt"])
        cpu, wall = clocks() - start
        events = recorder.events
        node = np.asarray(events["senders"]) - first
        step = np.rint((np.asarray(events["times"]) - begin) / spec["dt"]).astype(np.int64) - 1
        return cpu, wall, counted(spec, node % spec["copies"], node // spec["copies"], step), own_peak()

    return run


def brian2(spec: dict[str, Any]) -> Run:
    import brian2 as b
    from brian2 import Hz, mV, nA, nF, second, uS

    ms = b.ms
    folder = tempfile.mkdtemp(dir=spec["folder"])
    b.set_device("cpp_standalone", build_on_run=False, directory=folder)
    assert spec["threads"] == 1, "its own clock is CPU time"
    b.defaultclock.dt = spec["dt"] * ms
    unit, copies, n = spec["units"][0], spec["copies"], len(spec["units"])
    assert all(other == unit for other in spec["units"]), "units that are alike are constants here: faster"
    drive = 1e-3 * np.multiply(spec["rates"], spec["background_weights"])
    mean = unit["tau_syn_exc"] * drive[drive > 0].sum(), -unit["tau_syn_inh"] * drive[drive < 0].sum()
    constants = {
        "c": unit["c_m"] * nF, "gl": unit["c_m"] / unit["tau_m"] * uS, "el": unit["v_rest"] * mV,
        "ee": unit["e_rev_exc"] * mV, "ei": unit["e_rev_inh"] * mV, "vt": unit["v_thresh"] * mV,
        "vr": unit["v_reset"] * mV, "i0": unit["i_offset"] * nA, "tau_refrac": unit["tau_refrac"] * ms,
        "tau_e": unit["tau_syn_exc"] * ms, "tau_i": unit["tau_syn_inh"] * ms,
    }  # fmt: skip
    # renewing: all synapses of a neuron share its trace, so a spike adds w (1 - exp(-ISI/tau_syn)) to a target
    group = b.NeuronGroup(
        n * copies,
        """dv/dt = (gl*(el - v) + ge*(ee - v) + gi*(ei - v) + i0) / c : volt (unless refractory)
        dge/dt = -ge / tau_e : siemens
        dgi/dt = -gi / tau_i : siemens
        increment_e : 1
        increment_i : 1
        last : second""",
        threshold="v >= vt",
        reset="v = vr; increment_e = 1 - exp((last - t)/tau_e); increment_i = 1 - exp((last - t)/tau_i); last = t",
        refractory="tau_refrac",
        method="exponential_euler",
        namespace=constants,
    )
    group.v, group.last = unit["v_reset"] * mV, -1 * second
    group.ge, group.gi = mean[0] * uS, mean[1] * uS
    objects: list[Any] = [group]
    for rate, weight in zip(spec["rates"], spec["background_weights"]):
        # a binomial number of many rare sources: faster than poisson() in run_regularly, by a fifth
        rare = 1000
        objects.append(
            b.PoissonInput(group, "ge" if weight > 0 else "gi", rare, rate / rare * Hz, abs(weight) * uS)
        )
    for sign, kind in ((1, "e"), (-1, "i")):
        target, source = np.nonzero(sign * spec["weights"] > 0)
        copy = np.arange(copies)
        synapses = b.Synapses(
            group,
            group,
            "w : siemens",
            on_pre=f"g{kind}_post += w * increment_{kind}_pre",
            delay=spec["delay"] * ms,
        )
        synapses.connect(
            i=np.add.outer(source * copies, copy).ravel(), j=np.add.outer(target * copies, copy).ravel()
        )
        synapses.w = np.abs(spec["weights"][target, source]).repeat(copies) * uS
        objects.append(synapses)
    monitor = b.SpikeMonitor(group)
    network = b.Network(*objects, monitor)
    device = b.get_device()
    network.run(spec["burn_in"] * ms)
    clock = "double(std::clock()) / CLOCKS_PER_SEC"
    device.insert_code("main", f"double before = {clock};")
    network.run(spec["steps"] * spec["dt"] * ms)
    device.insert_code("main", f'std::ofstream("clock.txt") << {clock} - before;')
    device.build(run=False, compile=True, directory=folder, with_output=False, clean=False)
    files = [Path(folder) / "results" / device.get_array_filename(monitor.variables[name]) for name in ("i", "t")]

    def run() -> tuple[float, float, Array, float]:
        """Run the program from the start: every run has a burn-in and a seed of its own."""
        program = subprocess.Popen(["./main", "--results_dir", "results/"], cwd=folder, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
        assert program.returncode == 0
        cpu = float((Path(folder) / "clock.txt").read_text())
        node, seconds = np.fromfile(files[0], np.int32).astype(np.int64), np.fromfile(files[1])
        step = np.rint((seconds * 1e3 - spec["burn_in"]) / spec["dt"]).astype(np.int64)
        return cpu, float("nan"), counted(spec, node % copies, node // copies, step), used.ru_maxrss / 1e3

    return run


ENGINES: dict[str, Callable[[dict[str, Any]], Run]] = {
    "numba": own("numba"),
    "c++": own("c++"),
    "numba-exact": own("numba-exact"),
    "reference": own("reference"),
    "nest": nest,
    "brian2": brian2,
}


def main() -> None:
    # what the peers print goes to the errors: the answers stand alone
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    engine, path = sys.argv[1], Path(sys.argv[2])
    spec = json.loads(path.read_text())
    spec["weights"] = np.load(spec["weights_file"])
    start = time.perf_counter()
    run = ENGINES[engine](spec)
    if engine != "brian2":
        run()  # a first run compiles what the burn-in did not
    print(json.dumps({"setup": time.perf_counter() - start}), file=answers, flush=True)
    for _ in sys.stdin:
        cpu, wall, counts, rss = run()
        np.save(path.with_name("COUNTS.npy"), counts)
        print(json.dumps({"cpu": cpu, "wall": wall, "rss": rss}), file=answers, flush=True)


if __name__ == "__main__":
    main()
