"""The version of the kernels' source, for Numba's cache: an edit in any of these files compiles anew."""

from __future__ import annotations

from pathlib import Path

from boltzspike.simd import source_version

_FILES = ("row.py", "chain_lanes.py", "unit_lanes.py")
KERNEL_VERSION = source_version(*(Path(__file__).parent / name for name in _FILES))
