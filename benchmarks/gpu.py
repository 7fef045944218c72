"""Check the cuda engine on a GPU, then print its speed in ns per neuron-step; or count its instructions.

    python benchmarks/gpu.py                       # needs an NVIDIA GPU: N = 5, 100, 1000
    python benchmarks/gpu.py --units 5 --chains 65536
    python benchmarks/gpu.py --count               # needs no GPU, but CUDA's libnvvm and ptxas (CUDA_HOME)

The network is that of kernel.py. First, in float64, the spikes of 2,000 steps must be those of numba-exact, and in
float32 p(z=1) of every unit must agree with it within 4.5 standard errors; else nothing is timed. A timed run
holds transfers and launch; medians, with the fastest in brackets, and the aggregated speed against real time.

``--count``: instructions of the machine code (sm_90) in the loop over steps, one unit a thread: all paths taken
together, unrolled loops, spikes and records too; and the fewest on any way around the loop, which is that of a
refractory unit in a step without arrivals or events, so a bound from below. What Philox makes of it; registers.
"""

from __future__ import annotations

import argparse
import heapq
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from kernel import EVERY, program

from boltzspike.errors import BoltzspikeError
from boltzspike.samples import Record

DT = 0.1
STEPS_OF_CHECK = 2_000
NEURON_STEPS = 10_000_000_000
"""Of a timed run, at least about."""
CAPABILITY = (9, 0)
PHILOX = 0xD2511F53
"""A constant of its first round."""
BRANCH, ALWAYS, INSTRUCTION = 0x947, 7, 16
"""Opcode of a branch (low twelve bits), the predicate that is always true, and bytes of an instruction."""


def check(units: int) -> None:
    """Raise unless the GPU does what numba-exact does."""
    from boltzspike.engines import get_engine
    from boltzspike.engines.cuda.engine import CudaEngine

    p, record = program(units), Record(spikes=True)
    exact, double = get_engine("numba-exact").prepare(p), CudaEngine(dtype=np.float64).prepare(p)
    ours, theirs = (r.run(r.init(seed=7, chains=3), STEPS_OF_CHECK, record)[0].spikes for r in (double, exact))
    same = all(np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in ("chain", "unit", "step"))
    if not same:
        raise SystemExit(f"N = {units}: the spikes in float64 are not those of numba-exact")
    chains = max(32, 2_000 // units)
    means = []
    for seed, engine in enumerate(("cuda", "numba-exact")):
        runner = get_engine(engine).prepare(p)
        _, state = runner.run(runner.init(seed=seed, chains=chains), 1_000, Record())
        occupancy = runner.run(state, 4_000, Record(occupancy=True))[0].gathered.occupancy
        means.append(occupancy.on[:, 0] / 4_000)
    error = np.hypot(*(m.std(axis=0, ddof=1) / np.sqrt(chains) for m in means))
    apart = np.abs(means[0].mean(axis=0) - means[1].mean(axis=0)) / error
    if not np.all(apart < 4.5):
        raise SystemExit(f"N = {units}: p(z=1) in float32 is off by {apart.max():.1f} standard errors")
    print(f"N = {units}: {len(theirs.step)} spikes in float64 are those of numba-exact; p(z=1) in float32 "
          f"within {apart.max():.1f} standard errors (mean {means[0].mean():.3f})")  # fmt: skip


def measure(units: int, chains: int | None, repeats: int) -> None:
    from boltzspike.engines import get_engine

    runner: Any = get_engine("cuda").prepare(program(units))
    chains = chains or max(1024, 2**21 // units)
    steps = max(NEURON_STEPS // (units * chains), 1) // EVERY * EVERY + EVERY
    for name, record in {
        "states and occupancy": Record(states_every=EVERY, occupancy=True),
        "occupancy": Record(occupancy=True),
    }.items():
        times, begin = [], time.perf_counter()
        _, state = runner.run(runner.init(seed=1, chains=chains), EVERY, record)
        first = time.perf_counter() - begin
        for _ in range(repeats):
            begin = time.perf_counter()
            _, state = runner.run(state, steps, record)
            times.append(time.perf_counter() - begin)
        ns = np.array(times) / (units * chains * steps) * 1e9
        real_time = chains * steps * DT * 1e-3 / np.median(times)
        print(f"N = {units}, {chains} chains, {steps} steps, {name}: {np.median(ns):.5f} [{ns.min():.5f}] ns per "
              f"neuron-step, {real_time:.3g} x real time; first call {first:.1f} s; {runner.device}")  # fmt: skip


def without_gpu() -> None:
    """Let numba-cuda compile for ``CAPABILITY`` where it finds neither driver nor NVRTC, which it asks for."""
    import numba
    from numba.cuda import cuda_paths, dispatcher

    class Device:
        compute_capability = CAPABILITY

    numba.config.FORCE_CUDA_CC = CAPABILITY  # type: ignore[attr-defined]
    cuda_paths._get_nvrtc_path = lambda: cuda_paths._env_path_tuple("not used", None)
    dispatcher.get_current_device = Device


def machine_code(function: Any, signature: tuple[Any, ...], registers: int) -> tuple[bytes, str]:
    """Return the machine code of a kernel, and what ptxas says of it."""
    from numba import cuda

    ptx, _ = cuda.compile_ptx(function, signature, cc=CAPABILITY, fastmath=True)
    ptxas = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin" / "ptxas"
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(ptx)
        arch = f"-arch=sm_{''.join(map(str, CAPABILITY))}"
        command = [str(ptxas), arch, "-v", f"-maxrregcount={registers}", str(source), "-o", str(binary)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        return text_section(binary.read_bytes()), said


def text_section(elf: bytes) -> bytes:
    """Return the section .text.* of a 64-bit ELF file."""
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    # name, type, flags, address, offset, size of each section
    sections = [struct.unpack_from("<IIQQQQ", elf, table + i * size) for i in range(count)]
    for section in sections:
        if elf[sections[names][4] + section[0] :].startswith(b".text."):
            return elf[section[4] : section[4] + section[5]]
    raise ValueError("no .text section")


def branches(code: bytes) -> dict[int, tuple[int, bool]]:
    """Return where each branch leads, and whether it is always taken: by its place, counted in instructions."""
    found = {}
    for at in range(len(code) // INSTRUCTION):
        word = int.from_bytes(code[at * INSTRUCTION : (at + 1) * INSTRUCTION], "little")
        if word & 0xFFF == BRANCH:
            # a signed offset from the next instruction, in units of four bytes: bits 34 to 81, then 16 to 23
            high = (word >> 34) & (2**48 - 1)
            offset = ((high - (high >> 47 << 48)) << 8) + ((word >> 16) & 0xFF)
            assert offset % 4 == 0, "not the encoding of branches of sm_90"
            found[at] = at + 1 + offset // 4, word >> 12 & 0xF == ALWAYS
    return found


def step_loop(code: bytes) -> tuple[int, int]:
    """Return the instructions in the loop over steps, the largest, and the fewest around it that draw noise."""
    branch = branches(code)
    end, begin = max(((at, to) for at, (to, _) in branch.items() if to < at), key=lambda loop: loop[0] - loop[1])
    words = struct.unpack(f"<{len(code) // 4}I", code)
    draws = [at for at in range(begin, end) if words[4 * at + 1] == PHILOX]
    return end - begin + 1, fewest(branch, begin, draws[0]) + fewest(branch, draws[0], end) - 1


def fewest(branch: dict[int, tuple[int, bool]], first: int, last: int) -> int:
    """Return how many instructions a way from one to another has at least, both included."""
    lengths, waiting = {first: 1}, [(1, first)]
    while waiting:
        length, at = heapq.heappop(waiting)
        if at == last:
            return length
        to, always = branch.get(at, (at + 1, True))
        for following in {to} if always else {to, at + 1}:
            if length + 1 < lengths.get(following, length + 2) and following <= last:
                lengths[following] = length + 1
                heapq.heappush(waiting, (length + 1, following))
    raise ValueError(f"no way from instruction {first} to {last}")


def count() -> None:
    without_gpu()
    from numba import cuda, types

    from boltzspike import streams
    from boltzspike.engines.cuda.kernel import Dynamics, Output, Tables, Teams, chain_kernel
    from boltzspike.engines.cuda.runner import MOST_THREADS, REGISTERS, REGISTERS_OF_MANY, THREADS_A_BLOCK

    def array(kind: Any, ndim: int) -> Any:
        return types.Array(kind, ndim, "C")

    f4, i1, i4, i8, u1, u4, u8 = (
        types.float32, types.int8, types.int32, types.int64, types.uint8, types.uint32, types.uint64
    )  # fmt: skip
    tables = [
        (f4, 1), (i4, 1), (i1, 1), (u4, 1), (i4, 1), (i4, 1), (i4, 2), (f4, 2), (f4, 1), (i4, 1), (i4, 1)
    ]  # fmt: skip
    dynamics = [(f4, 1), (f4, 1), (f4, 1), (i8, 1), (i4, 1), (i4, 1), (f4, 1)]
    output = [(u1, 3), (f4, 3), (i8, 1), (i8, 2), (i4, 2), (i4, 1), (i4, 1), (i8, 2)]
    signature = (
        i8, i4, i8, u8, u8,
        types.NamedTuple([array(*a) for a in tables], Tables),
        types.NamedTuple([array(*a) for a in dynamics], Dynamics),
        array(f4, 3),
        types.NamedTuple([i8, *(array(*a) for a in output)], Output),
    )  # fmt: skip

    philox = cuda.jit(streams.philox4x32, device=True)

    def draw(out, seed_low, seed_high, step):
        k = cuda.grid(1)
        words = philox(np.uint64(step), np.uint64(0), np.uint64(k), np.uint64(7), seed_low, seed_high)
        out[k] = np.uint32(words[0] ^ words[1] ^ words[2] ^ words[3])

    def draw_nothing(out, seed_low, seed_high, step):
        out[cuda.grid(1)] = np.uint32(step)

    drawn, nothing = (
        len(machine_code(f, (array(u4, 1), u8, u8, u4), REGISTERS)[0]) // INSTRUCTION for f in (draw, draw_nothing)
    )
    print(f"Philox4x32-10: {drawn - nothing} instructions for four words")
    for name, changes in {
        "conductances, renewing, dense, N = 5": {},
        "N = 100": {"units": 100},
        "N = 1000": {"units": 1000},
        "N = 100, currents": {"units": 100, "conductance": False},
        "N = 100, tau_syn of its own for each unit": {"units": 100, "alike": False},
        "N = 100, delay of ten steps": {"units": 100, "delay": 10},
        "N = 1000, sparse": {"units": 1000, "sparse": True},
    }.items():
        constants: dict[str, Any] = {
            "units": 5, "delay": 1, "conductance": True, "renewing": True, "alike": True, "kinds": 1,
            "sparse": False,
            "clamped": False, "sources": 2, "dtype": np.dtype(np.float32),
            "keeps": frozenset({"states", "on"}),
        } | changes  # fmt: skip
        teams = Teams.of(constants["units"], block=THREADS_A_BLOCK, most=MOST_THREADS)
        most = REGISTERS if teams.threads == constants["units"] else REGISTERS_OF_MANY
        kernel = chain_kernel(teams=teams, registers=most, **constants)
        code, said = machine_code(kernel.py_func, signature, most)
        size, least = step_loop(code)
        registers = re.search(r"Used (\d+) registers", said)
        spilled = re.search(r"(\d+) bytes spill stores", said)
        frame = re.search(r"(\d+) bytes stack frame", said)
        assert registers
        assert spilled
        assert frame
        print(f"{name}: {size} instructions in the loop over steps, at least {least} a step; "
              f"{registers[1]} registers, {spilled[1]} bytes spilled, "
              f"{frame[1]} of local memory")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[5, 100, 1000])
    parser.add_argument("--chains", type=int, help="default: 2^21 units in all, at least 1024 chains")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--count", action="store_true")
    arguments = parser.parse_args()
    if arguments.count:
        count()
        return
    if "NUMBA_ENABLE_CUDASIM" in os.environ:
        sys.exit("NUMBA_ENABLE_CUDASIM is set: the simulator has no speed to measure")
    try:
        for units in arguments.units:
            check(units)
            measure(units, arguments.chains, arguments.repeats)
    except BoltzspikeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
