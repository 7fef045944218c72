"""NEST in a process of its own, at the engine's service: ``python worker.py FOLDER`` speaks lines of JSON.

Requests: ``{"build": file, "chains": .., "seed": .., "threads": .., "v": bool}`` with the network's arrays in that
npz, and ``{"steps": .., "voltages": [units] or null}``. Answers: ``{"done": steps}`` now and then, as a sign of
life, and at last ``{"file": npz}``, ``{"version": ..}``, ``{"missing": why}`` (no NEST, or none for this
NumPy) or ``{"error": text}``. What NEST prints goes to the errors.
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

SLICE_SECONDS = 1.0
"""Wall-clock time between signs of life."""


class Simulation:
    """One network under way."""

    def __init__(self, request):
        """Build it."""
        import numpy as np
        import run  # type: ignore[import-not-found]  # beside this file, whatever is installed

        # NEST updates in slices of the shortest delay; here that is one step, so slices of a run change nothing
        self.np, self.run, self.nest = np, run, run.nest
        with np.load(request["build"], allow_pickle=False) as file:
            self.network = dict(file)
        v = self.network.pop("initial_v") if request["v"] else None
        self.chains, self.dt = request["chains"], float(self.network["dt"])
        self.neurons, self.recorder = run.build(
            self.network, chains=self.chains, seed=request["seed"], threads=request["threads"], v=v
        )
        self.step, self.speed = 0, 100.0
        self.multimeter: Any = None
        self.seen: tuple[int, ...] = ()

    def advance(self, steps, voltages, say):
        """Simulate; return arrays."""
        if voltages is not None and tuple(voltages) != self.seen:
            self._watch(voltages)
        self.recorder.n_events = 0
        if self.multimeter is not None:
            self.multimeter.n_events = 0
        start, done = self.step * self.dt, 0
        while done < steps:
            now = min(max(1, int(self.speed * SLICE_SECONDS)), steps - done)
            began = time.perf_counter()
            self.nest.Simulate(now * self.dt)
            done += now
            self.speed = min(now / max(time.perf_counter() - began, 1e-6), 10 * self.speed)
            say({"done": done})
        self.step += steps
        if not self.run.all_finite(self.network, self.neurons):
            raise FloatingPointError("potentials or synapses in NEST are not finite")
        chain, unit, step = self.run.spikes_of(self.recorder, self.neurons, self.network, start=start)
        found = {"chain": chain, "unit": unit, "step": step + (self.step - steps)}
        if voltages is not None:
            found["voltages"] = self._voltages(steps, start)
        return found

    def _watch(self, units):
        self.seen = tuple(units)
        nodes = self.run.in_chains(self.np.asarray(units), self.neurons, self.network, self.chains)
        self.watched = self.nest.NodeCollection(nodes.tolist())
        self.multimeter = self.nest.Create("multimeter", params={"record_from": ["V_m"], "interval": self.dt})
        self.nest.Connect(self.multimeter, self.watched, syn_spec={"delay": self.dt})

    def _voltages(self, steps, start):
        """Return the potentials after every step, (chains, steps, units)."""
        np = self.np
        events, kept = self.multimeter.events, len(self.watched)
        place = np.searchsorted(np.asarray(self.watched.tolist()), np.asarray(events["senders"]))
        at = np.rint((np.asarray(events["times"]) - start) / self.dt).astype(np.int64) - 1
        v = np.full((kept, steps), np.nan)
        inside = (at >= 0) & (at < steps)
        v[place[inside], at[inside]] = np.asarray(events["V_m"])[inside]
        # a multimeter hands over what it logged one slice later: the last step is still with the neurons
        if steps:
            v[:, -1] = self.watched.get("V_m") if kept > 1 else [self.watched.get("V_m")]
        assert np.isfinite(v).all(), "a step without a potential"
        return v.reshape(self.chains, -1, steps).transpose(0, 2, 1)


def main():
    """Answer requests until the input ends."""
    # what NEST prints goes to the errors: the answers stand alone
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    folder, answered = Path(sys.argv[1]), 0
    simulation: Any = None

    def say(message):
        print(json.dumps(message), file=answers, flush=True)

    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "build" in request:
                simulation = Simulation(request)
                say({"version": simulation.nest.__version__})
                continue
            found = simulation.advance(request["steps"], request["voltages"], say)
            answered += 1
            path = folder / f"answer-{answered}.npz"
            simulation.np.savez(path, **found)
            say({"file": str(path)})
        except ImportError as error:
            traceback.print_exc()
            say({"missing": str(error)})
        except Exception as error:
            traceback.print_exc()
            say({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
