"""Compile the C++ of benchmarks/cpp and call it: the kernels by hand, and what the machine can do at most."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from boltzspike.engines.numba.fast import FastRunner
from boltzspike.engines.numba.row import ROW

HERE = Path(__file__).parent / "cpp"
FLAGS = ["-O3", "-march=native", "-ffp-contract=off", "-std=c++17", "-shared", "-fPIC"]
"""No contraction: the code says itself what is fused, as LLVM is told, so that the bits are the same."""

_TABLES = (
    "parameters", "bias", "jumps", "relaxation", "renewal", "scales", "weights", "refractory", "targets",
    "connections", "parameter_stride", "noise_stride", "renewal_length",
)  # fmt: skip
"""The fields of ``Tables`` in the order of kernels.cpp."""
_BLOCK = ("dynamics", "increments", "free_at", "generator", "arriving", "sources", "spiking")


def compiled(source: str, *flags: str) -> ctypes.CDLL:
    """Return a shared library made of a file of ``cpp``."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library.so"
        subprocess.run(["g++", *FLAGS, *flags, HERE / source, "-o", library], check=True)
        return ctypes.CDLL(str(library))


def _struct(**fields: Any) -> ctypes.Structure:
    """Return a C structure of pointers (arrays) and 64-bit integers."""
    kinds = [(k, ctypes.c_void_p if isinstance(v, np.ndarray) else ctypes.c_int64) for k, v in fields.items()]
    kind = type("Struct", (ctypes.Structure,), {"_fields_": kinds})
    return kind(*(v.ctypes.data if isinstance(v, np.ndarray) else v for v in fields.values()))


def native_runner(program: Any, *, layout: str | None = None) -> FastRunner:
    """Return the fast runner with the C++ kernel in place of its own. It keeps states, no spikes."""
    runner = FastRunner(program, threads=1, layout=layout)
    scaled = runner.scaled
    covered = program.conductance_based and scaled.noise.bits_a_draw == 3 and scaled.traces == 1
    assert covered, "kernels.cpp does preset S1"
    function = getattr(compiled("kernels.cpp", f"-DDEGREE={scaled.degree}"), f"{scaled.layout[:-1]}_lanes")
    function.restype = None

    def kernel(first, last, steps, first_slot, slots, units, traces, tables, blocks, output):
        assert not output.spike_step.size
        constants = _struct(**{name: getattr(tables, name) for name in _TABLES})
        together = ROW if scaled.layout == "chains" else 1
        numbers = [ctypes.c_int64(number) for number in (steps, first_slot, slots, units)]
        for b in range(first, last):
            states = output.states[b * together : (b + 1) * together]
            state = _struct(
                **{name: getattr(blocks, name)[b] for name in _BLOCK}, states=states, chains=len(states),
                draws=states.shape[1], every=output.every, until_draw=output.until_draw,
            )  # fmt: skip
            function(*numbers, ctypes.byref(constants), ctypes.byref(state))

    runner.kernel = kernel
    return runner


def peaks(repeats: int = 7) -> dict[str, float]:
    """Return the best of a few measurements on one core: GHz, GFLOP/s of float32, GB/s read and copied."""
    library = compiled("peaks.cpp")
    library.read_sum.restype = library.multiply_adds.restype = ctypes.c_float
    small, large = np.ones(2**17, np.float32), np.ones(2**26, np.float32)
    there = np.empty_like(large)

    def pointer(array: np.ndarray) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    def rate(work: float, call: Any) -> float:
        best = np.inf
        for _ in range(repeats):
            start = time.process_time()
            call()
            best = min(best, time.process_time() - start)
        return work / best / 1e9

    rounds = 10_000_000

    def read_small() -> None:
        for _ in range(200):
            library.read_sum(pointer(small), ctypes.c_int64(small.size))

    return {
        "clock, GHz": rate(16 * rounds, lambda: library.dependent_adds(ctypes.c_int64(rounds))),
        "float32 multiply-add, GFLOP/s": rate(192 * rounds, lambda: library.multiply_adds(ctypes.c_int64(rounds))),
        "read of 0.5 MB, GB/s": rate(200 * small.nbytes, read_small),
        "read of 256 MB, GB/s": rate(
            large.nbytes, lambda: library.read_sum(pointer(large), ctypes.c_int64(large.size))
        ),
        "copy of 256 MB, GB/s moved": rate(
            2 * large.nbytes, lambda: library.copy(pointer(there), pointer(large), ctypes.c_int64(large.size))
        ),
    }
