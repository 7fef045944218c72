"""How a run is carried on: in chunks short enough to be stopped between, and never beyond the memory."""

from __future__ import annotations

import os
import shutil
import signal as signals
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from boltzspike.errors import ValidationError
from boltzspike.samples import PASS_BYTES, Joining, Record, Samples
from boltzspike.spool import Spool

CHUNK_SECONDS = 0.25
"""Wall-clock time that a chunk is meant to take at least: how long a request to stop waits."""
MOST_STEPS = 2**46
"""Steps of a run, burn-in included: the random streams count them in 48 bits."""


@runtime_checkable
class Watcher(Protocol):
    """A ``progress`` that also wants to see each part of the run as it comes."""

    def watch(self, part: Samples) -> None:
        """Take the part."""


@dataclass
class StopRequests:
    """Which signal has asked to stop, if one has."""

    signal: signals.Signals | None = None
    _found: dict[signals.Signals, Any] = field(default_factory=dict)

    def restore(self) -> None:
        """Give the signals back to whom they belonged."""
        while self._found:
            signals.signal(*self._found.popitem())

    def take(self) -> None:
        """Listen to Ctrl-C and SIGTERM, in the main thread and where nobody else does."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number, untouched in (
            (signals.SIGINT, signals.default_int_handler),
            (signals.SIGTERM, signals.SIG_DFL),
        ):
            found = signals.getsignal(number)
            if found is untouched:
                self._found[number] = found
                signals.signal(number, self._asked)

    def _asked(self, number: int, _: Any) -> None:
        self.signal = signals.Signals(number)
        # the next one stops at once
        self.restore()


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Let the first Ctrl-C or SIGTERM ask to stop at the next chance; a second one breaks in as ever.

    A handler that a caller has set for himself is left alone.
    """
    requests = StopRequests()
    requests.take()
    try:
        yield requests
    finally:
        requests.restore()


def in_chunks(
    runner: Any,
    state: Any,
    steps: int,
    record: Record,
    *,
    least: int,
    requests: StopRequests,
    parts: int = 1,
    progress: Callable[[int, int], None] | None = None,
    spool: Path | None = None,
) -> tuple[Joining, Any]:
    """Run ``steps`` in chunks of about ``CHUNK_SECONDS`` until they are done or a stop is asked for.

    The samples don't depend on the chunks.

    Parameters
    ----------
    least
        Steps of the first chunk.
    parts
        Equal parts of the run that ``Occupancy`` keeps apart.
    spool
        Folder to keep rasters in, on its disk, while the run goes on; ``None``: in memory.

    Returns
    -------
    The parts, not yet joined, and the state after them.
    """
    joining = Joining() if spool is None else Spool(spool, record, steps)
    ends = [steps * (k + 1) // parts for k in range(parts)]
    chunk = least
    # a thread of its own: in the main one, Python would not look at signals until a compiled loop is done
    with ThreadPoolExecutor(1) as worker:
        begun = time.perf_counter()
        joining.add(worker.submit(runner.run, state, 0, record).result()[0])
        # what a chunk costs beside its steps, large tables above all, is to be a small part of it
        meant = max(CHUNK_SECONDS, 10 * (time.perf_counter() - begun))
        while joining.steps < steps and requests.signal is None:
            done, begun = joining.steps, time.perf_counter()
            now = min(chunk, next(end for end in ends if end > done) - done)
            part, state = worker.submit(runner.run, state, now, record).result()
            joining.add(part, apart=done in ends)
            if progress:
                if isinstance(progress, Watcher):
                    progress.watch(part)
                progress(joining.steps, steps)
            seconds = max(time.perf_counter() - begun, 1e-6)
            # no more than ten times longer: the first chunks are not typical
            chunk = max(1, int(now * min(meant / seconds, 10)))
    return joining, state


def check_memory(
    record: Record,
    steps: int,
    chains: int,
    units: int,
    shortest: int,
    *,
    delay: int = 1,
    synapses: int | None = None,
    memory: int | None = None,
    spool: Path | None = None,
) -> None:
    """Raise, before anything is allocated, if a run, or what is to be recorded of it, does not fit into memory.

    With a ``spool``, rasters have to fit on its disk instead.

    Parameters
    ----------
    shortest
        Shortest refractory period in steps.
    delay
        Longest delay in steps.
    synapses
        Number of weights that are stored; ``None``: all to all.
    memory
        Bytes; ``None``: what this machine has.
    """
    if memory is None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    taken = bytes_of(record, steps, chains, units, shortest, delay=delay, synapses=synapses)
    if spool is not None:
        rasters = {name: taken.pop(name) for name in RASTERS if name in taken}
        if "states" in rasters:
            # a bit each in the spool; in the file two or three, and the energy of each draw
            draws = float(chains) * (steps // record.draws_every)
            rasters["states"] = draws * (units / 2 + 8)
        _check_room(rasters, shutil.disk_usage(spool).free, "the {} that are left on the disk of " + str(spool))
    _check_room(taken, memory, "this machine's {} of memory")


def _check_room(taken: Mapping[str, float], room: float, where: str) -> None:
    total = sum(taken.values())
    if total < room:
        return
    most = max(taken, key=lambda name: taken[name])
    field_name, remedy = _REMEDIES[most]
    raise ValidationError(
        f"{field_name}: must leave the run within {where.format(f'{room / 2**30:.0f} GiB')}, got one that "
        f"takes {total / 2**30:.3g} GiB, {taken[most] / 2**30:.3g} of it for {most}; {remedy}"
    )


RASTERS = ("states", "spikes", "voltages", "energies")
"""What grows with the duration."""


_REMEDIES = {
    "the state of all chains": ("chains", "run fewer chains"),
    "the weights": ("network", "take a smaller network"),
    "states": ("duration", 'record less often, or record="moments"'),
    "spikes": ("duration", "run shorter, or count them on the way (Record.intervals, Record.occupancy)"),
    "voltages": ("duration", "run shorter, or record fewer units"),
    "energies": ("duration", "record them less often"),
    "pairs": ("record", "record no pairs"),
    "joint states": ("record", "take fewer units (Record.joint) or chains"),
    "intervals": ("record", "take fewer or wider bins"),
}


def bytes_of(
    record: Record,
    steps: int,
    chains: int,
    units: int,
    shortest: int,
    *,
    delay: int = 1,
    synapses: int | None = None,
) -> dict[str, float]:
    """Return about how many bytes a run takes for what.

    Parts are joined at the end: for a moment all that is kept is there twice. Sums are there three times: so far,
    of the part, and of both.
    """
    n, runs = float(units), float(chains) * units
    voltages = units if isinstance(record.voltages, bool) else len(record.voltages)
    taken = {
        # a dozen numbers and the spikes under way, before and after a pass; what a pass leaves
        "the state of all chains": 2 * 8 * runs * (12 + delay) + 2 * PASS_BYTES,
        # of the network, of the program, and as the kernel reads them
        "the weights": (8 + 8 + 4) * (n**2 if synapses is None else 2 * float(synapses)),
    }
    if record.states_every:
        # diagnostics unpack them
        taken["states"] = (1 + 2 / 8) * runs * (steps // record.states_every)
    if record.spikes:
        # no neuron spikes more than once a refractory period
        taken["spikes"] = 2 * 24 * runs * (steps // shortest)
    if record.voltages:
        taken["voltages"] = 2 * 8 * float(chains) * voltages * steps
    if record.energy is not None:
        taken["energies"] = 2 * 8 * float(chains) * (steps // record.energy.every)
    if record.pairs_every:
        taken["pairs"] = 3 * 8 * n**2
    if record.joint:
        taken["joint states"] = 3 * 8 * float(chains) * 2 ** len(record.joint)
    if record.intervals is not None:
        taken["intervals"] = 3 * 8 * (n * (record.intervals.number + record.intervals.longest) + 2 * runs)
    return taken
