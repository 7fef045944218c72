"""One engine on one network, alone in its process: what ``engines.py`` starts and asks.

    python benchmarks/workers.py ENGINE SPECIFICATION.json

It builds the network, prints a line of JSON (``setup``: seconds until then, compilation and burn-in included), and
then answers every line on its input with one run of ``steps`` and a line of JSON: ``cpu`` and ``wall`` seconds of
the steps alone, ``rss`` (peak, MB). The run's counts are left in ``COUNTS.npy`` beside the specification: steps
with z = 1, int64 (blocks, units), a block being one chain for ``block`` steps.

The specification says everything in boltzspike's units (ms, mV, nF, uS, nA, Hz): ``dt``, ``burn_in``, ``seed``,
``copies``, ``delay``; ``units``, one neuron each (the fields of LIF); ``rates`` and ``background_weights`` of the
private Poisson sources of every neuron; ``weights_file`` (npy, [target, source], renewing); ``threads``,
``steps``, ``block``. NEST and Brian2 run the scripts that ``boltzspike export`` writes, ``scripts``, with the same
network as ``network_file``; their processes import nothing of boltzspike.
"""

from __future__ import annotations

import importlib.util
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


def script(spec: dict[str, Any], name: str) -> tuple[Any, dict[str, Array]]:
    """Return the script that the library writes for a simulator, as a module, and the arrays that it reads."""
    found = importlib.util.spec_from_file_location(f"{name}_script", spec["scripts"][name])
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    with np.load(spec["network_file"]) as file:
        return module, dict(file)


def nest(spec: dict[str, Any]) -> Run:
    import nest

    run_script, network = script(spec, "nest")
    neurons, recorder = run_script.build(
        network, chains=spec["copies"], seed=spec["seed"], threads=spec["threads"]
    )
    nest.Simulate(spec["burn_in"])

    def run() -> tuple[float, float, Array, float]:
        recorder.n_events = 0
        begin = nest.biological_time
        start = clocks()
        nest.Simulate(spec["steps"] * spec["dt"])
        cpu, wall = clocks() - start
        chain, unit, step = run_script.spikes_of(recorder, neurons, network, start=begin)
        return cpu, wall, counted(spec, chain, unit, step), own_peak()

    return run


def brian2(spec: dict[str, Any]) -> Run:
    import brian2 as b

    folder = tempfile.mkdtemp(dir=spec["folder"])
    b.set_device("cpp_standalone", build_on_run=False, directory=folder)
    assert spec["threads"] == 1, "its own clock is CPU time"
    run_script, arrays = script(spec, "brian2")
    _, monitor, objects = run_script.build(arrays, chains=spec["copies"])
    network, n = b.Network(*objects), len(spec["units"])
    device = b.get_device()
    network.run(spec["burn_in"] * b.ms)
    clock = "double(std::clock()) / CLOCKS_PER_SEC"
    device.insert_code("main", f"double before = {clock};")
    network.run(spec["steps"] * spec["dt"] * b.ms)
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
        return cpu, float("nan"), counted(spec, node // n, node % n, step), used.ru_maxrss / 1e3

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
