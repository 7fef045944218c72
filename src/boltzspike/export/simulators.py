"""Folders for other simulators: ``run.py``, a script that stands alone, and the network's arrays beside it.

The scripts are files of this package, the same for every network: what they read is ``boltzspike.portable``.
"""

from __future__ import annotations

import importlib.resources
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from boltzspike.errors import require
from boltzspike.export.folder import write_contents, writing_folder
from boltzspike.export.losses import refuse
from boltzspike.portable import PORTABLE, portable
from boltzspike.program import Program


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulator:
    """A simulator that networks are written for."""

    name: str
    script: tuple[str, str]
    """Package and file of ``run.py``."""
    features: frozenset[str]
    """Features of a program that the script builds; all others are refused."""
    needs: str
    """How to install it."""
    same_short_term_state: bool = False
    """Whether the state of short-term plasticity is kept once a neuron, which holds for short delays only."""


_BRIAN2 = PORTABLE - {"alpha", "shared-background"}
SIMULATORS = {
    simulator.name: simulator
    for simulator in (
        Simulator(
            name="nest", script=("boltzspike.engines.nest", "run.py"), features=PORTABLE,
            needs='pip install "boltzspike[nest]", or a NEST >= 3.8 with MPI',
        ),
        Simulator(
            name="brian2", script=("boltzspike.export.scripts", "brian2.py"), features=_BRIAN2,
            needs='pip install "boltzspike[brian2]"', same_short_term_state=True,
        ),
        Simulator(
            name="pynn", script=("boltzspike.export.scripts", "pynn.py"),
            features=_BRIAN2 - {"tsodyks-markram", "clamp"},
            needs='pip install "boltzspike[pynn]" and a backend of PyNN',
        ),
    )
}  # fmt: skip


def check_simulator(simulator: Simulator, program: Program) -> None:
    """Raise ``UnsupportedFeature`` naming what a simulator's script can't build."""
    refuse(simulator.name, program.features - simulator.features)
    if simulator.same_short_term_state and "additive" not in program.features:
        delays = program.synapses()[3]
        if len(delays) and delays.max() > program.shortest_refractory:
            refuse(simulator.name, {"delays"}, "longer than the refractory period, with short-term plasticity")


def write_simulator(
    simulator: Simulator,
    program: Program,
    folder: str | os.PathLike[str],
    *,
    settings: Mapping[str, Any],
    about: Mapping[str, Any],
    documents: Mapping[str, bytes] | None = None,
    force: bool = False,
) -> list[str]:
    """Write ``folder``: ``run.py``, ``run.json``, ``network.npz``, ``export.json`` and ``documents``.

    Parameters
    ----------
    settings
        Of ``run.py``: ``duration`` and ``burn_in`` (ms), ``chains``, ``seed``, ``threads``.
    about
        What the reader needs to know of the run (``export.reading``).
    documents
        Further files by name.
    """
    check_simulator(simulator, program)
    for name in ("duration", "burn_in", "chains", "seed", "threads"):
        require(name in settings, f"settings.{name}", "given", None)
    package, file = simulator.script
    with writing_folder(folder, force=force) as partial:
        script = importlib.resources.files(package) / file
        with importlib.resources.as_file(script) as path:
            shutil.copyfile(path, partial / "run.py")
        np.savez_compressed(partial / "network.npz", allow_pickle=False, **portable(program))
        (partial / "run.json").write_text(json.dumps(dict(settings), indent=1) + "\n")
        about = {"boltzspike": version("boltzspike"), **about}
        write_contents(partial, simulator.name, about, documents or {})
    return sorted(path.name for path in Path(folder).iterdir())
