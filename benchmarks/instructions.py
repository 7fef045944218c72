"""Count what the row loop of each kernel costs, from the machine code that LLVM made for this machine.

    python benchmarks/instructions.py

The row loop steps sixteen neurons. Printed for preset S1 (eight-point noise): instructions, how many of them work
on vectors, read or write memory; floating-point operations; and, at the clock measured now, the least time of a
neuron-step if instructions, loads, stores, or vector pipes were all that counts, by the widths of AMD Zen 3: 6
instructions, 2 vector loads, 1 vector store, 4 vector pipes, of which 2 multiply and 2 add floats.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter

import numba
from kernel import program
from native import peaks

from boltzspike.engines.numba.fast import FastRunner
from boltzspike.samples import Record

LANES, ROW = 8, 16
WIDTHS = {"instructions": 6, "loads": 2, "stores": 1, "vector": 4, "multiply": 2, "add": 2}


def row_loop(assembly: str) -> list[str]:
    """Return the instructions of the loop that holds the generator's rotation by 21, and no other loop."""
    lines = [line.strip() for line in assembly.splitlines()]
    labels = {line[:-1]: i for i, line in enumerate(lines) if re.fullmatch(r"\.L\w+:", line)}
    loops = []
    for i, line in enumerate(lines):
        jump = re.fullmatch(r"j\w+\s+(\.L\w+)", line)
        if jump and labels.get(jump[1], i) < i:
            loops.append(lines[labels[jump[1]] : i + 1])
    rotating = [loop for loop in loops if any(re.match(r"vp(slld|rold)\s+\$21,", line) for line in loop)]
    loop = min(rotating, key=len)
    return [line for line in loop if re.match(r"[a-z]", line)]


def count(loop: list[str]) -> Counter[str]:
    """Return how many instructions do what."""
    found: Counter[str] = Counter(instructions=len(loop))
    for line in loop:
        name, _, operands = line.partition("\t")
        memory = "(" in operands
        writes = memory and operands.rstrip().endswith(")") and not name.startswith(("cmp", "test", "vptest"))
        found["stores"] += writes
        found["loads"] += memory and not writes and not name.startswith("lea")
        wide = name.startswith("v")
        found["vector"] += wide and not (name.startswith("vmov") and memory)
        multiplies, adds = bool(re.match(r"v(fn?m(add|sub)|mul)", name)), bool(re.match(r"v(add|sub)p", name))
        found["multiply"] += multiplies
        found["add"] += adds
        found["flops"] += LANES * (2 if re.match(r"vfn?m", name) else multiplies or adds)
    return found


def main() -> None:
    clock = peaks(3)["clock, GHz"]
    with tempfile.TemporaryDirectory() as folder:
        numba.config.CACHE_DIR = folder  # what comes from a cache has no assembly
        for n in (20, 200):
            runner = FastRunner(program(n), threads=1)
            runner.run(runner.init(seed=1, chains=16), 1, Record())
            (assembly,) = runner.kernel.inspect_asm().values()
            kernel, _, _ = assembly.partition(".Lfunc_end0")
            assert "vmovmskps" in kernel, "the kernel comes first"
            assert "call" not in kernel, "the kernel calls: to count references?"
            found = count(row_loop(assembly))
            times = {name: found[name] / width / clock / ROW for name, width in WIDTHS.items()}
            print(f"lanes = {runner.scaled.layout}, sixteen neurons: {dict(found)}")
            print("  least ns per neuron-step by " + ", ".join(f"{k} {v:.3f}" for k, v in times.items()))
            print(f"  {found['flops'] / ROW:.1f} flops a neuron-step; at {clock:.2f} GHz")


if __name__ == "__main__":
    main()
