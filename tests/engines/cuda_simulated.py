"""What the tests of the cuda engine run in a process whose numba.cuda is the simulator (see test_cuda.py)."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
from numba.cuda.simulator import kernelapi
from numba.np import numpy_support

from boltzspike.engines.cuda.engine import CudaEngine

# a thread of a block is a thread here, and a barrier waits until each has had its turn: for 5 ms, if left alone
sys.setswitchinterval(2e-5)


_allocating = threading.Lock()


def _shared_array(self, shape, dtype, alignment=None):
    """As the simulator does, but threads that come at once get the same array: it lets each make its own."""
    caller = sys._getframe(1)
    at = caller.f_code, caller.f_lineno
    with _allocating:
        if at not in self._allocations:
            self._allocations[at] = np.zeros(shape, numpy_support.as_dtype(dtype))
        return self._allocations[at]


kernelapi.FakeCUDAShared.array = _shared_array


def run(program, parts, record, *, chains=2, seed=2**40 + 3, dtype="float64", initial=None, limits=None):
    """Return the samples of consecutive parts of one run, of so many steps each; ``limits`` are of the runner."""
    from boltzspike.engines.cuda import runner as room

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (limits or {}).items():
            patch.setattr(room, name, value)
        return _run(program, parts, record, chains, seed, dtype, initial)


def _run(program, parts, record, chains, seed, dtype, initial):
    runner = CudaEngine(dtype=np.dtype(dtype).type).prepare(program)
    state, samples = runner.init(seed=seed, chains=chains, initial=initial), []
    for steps in parts:
        part, state = runner.run(state, steps, record)
        samples.append(part)
    return samples


def saved_and_read(program, path, record):
    """Return what a run leaves that goes on from a saved state, and what it leaves in one go."""
    from boltzspike.checkpoint import read_state, save_state

    runner = CudaEngine().prepare(program)
    _, half = runner.run(runner.init(seed=5, chains=2), 120, record)
    save_state(path, half, runner, "cuda", program)
    read = read_state(path, runner, "cuda", program, like=runner.init(seed=5, chains=2))
    return runner.run(read, 80, record)[0], runner.run(half, 80, record)[0]


def prepare(program, **options):
    """Return what was approximated."""
    return CudaEngine(**options).prepare(program).approximation


def count_events(means, words):
    """Return the events that words are worth to the source with the last of the means."""
    from numba import cuda

    from boltzspike.engines.cuda.kernel import CELLS, GUIDE_SHIFT, count_events
    from boltzspike.engines.cuda.runner import poisson_tables

    tables = poisson_tables(np.array([means]))
    bounds, law = tables["bounds"], tables["law"][0, -1]

    @cuda.jit
    def kernel(words, guide, bounds, none, found):
        for i in range(len(words)):
            at = guide[law * CELLS + (words[i] >> np.uint32(GUIDE_SHIFT))]
            found[i] = count_events(bounds, at, words[i]) - none[law]

    found = np.zeros(len(words), dtype=np.int64)
    kernel[1, 1](words, tables["guide"], bounds, tables["none"], found)
    return found.tolist()
