"""The version of the kernels' source, for Numba's cache.

``cache=True`` keys a compiled function by its own file, bytecode and closure, and so misses edits in modules
that it calls. Every kernel therefore holds ``KERNEL_VERSION`` in its closure: an edit in any of these files
compiles anew.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import llvmlite.binding as llvm

_FILES = ("simd.py", "row.py", "chain_lanes.py", "unit_lanes.py")
KERNEL_VERSION = int.from_bytes(
    hashlib.sha256(b"".join((Path(__file__).parent / name).read_bytes() for name in _FILES)).digest()[:7], "big"
)


@cache
def instruction_set() -> str:
    """Return the CPU's name and a hash of its features: the kernels' bits repeat where both are the same."""
    features = llvm.get_host_cpu_features().flatten()
    return f"{llvm.get_host_cpu_name()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"
