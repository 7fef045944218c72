import subprocess
import sys

import pytest

LAZY = ("numba", "llvmlite", "matplotlib", "xarray", "sklearn", "nest", "brian2", "typer", "rich", "pandas")
SLOW = ("scipy.stats", "scipy.optimize", "scipy.interpolate")


def loaded_after(statement):
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )


def test_importing_the_package_imports_no_engine_and_nothing_heavy():
    loaded = loaded_after("import boltzspike")
    assert not loaded.intersection(LAZY)
    assert not loaded.intersection({"boltzspike.engines.numba", "boltzspike.engines.reference", *SLOW})


def test_the_command_lines_help_imports_no_numerics():
    loaded = loaded_after("import boltzspike.cli")
    assert not loaded.intersection({"numba", "xarray", "matplotlib"})


@pytest.mark.parametrize("name", ["boltzspike.theory.density", "boltzspike.theory.burst"])
def test_theory_imports_no_engine(name):
    assert not {m for m in loaded_after(f"import {name}") if m.startswith(("boltzspike.engines.", "numba"))}
