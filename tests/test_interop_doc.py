"""docs/interop.md: every cell of its table is what the code does, every command on it runs."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

import boltzspike as bs
from boltzspike.engines import get_engine
from boltzspike.engines.cuda.engine import CudaEngine
from boltzspike.errors import UnsupportedFeature
from boltzspike.export.hardware import BRAINSCALES_2, map_network
from boltzspike.export.nir import losses_of, to_nir
from boltzspike.export.simulators import SIMULATORS, check_simulator
from boltzspike.program import compile_program

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs/interop.md").read_text()
SECTION = DOC.partition("## What each target holds")[2].partition("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in SECTION.splitlines() if line.startswith("|")
]
HEADER, TABLE = ROWS[0], ROWS[2:]
WORDS = ("exact", "approximate", "lost", "refused", "none")

S1, S5A = bs.presets.S1, bs.presets.S5a
BASE = {"neurons": S1.neuron, "backgrounds": S1.background, "weights": np.array([[0, 0.001], [0.001, 0]])}
FEATURES = {
    "conductance": {},
    "current": {"neurons": S5A.neuron, "backgrounds": S5A.background, "weights": [[0, 0.1], [0.1, 0]]},
    "alpha": {"neurons": dataclasses.replace(S1.neuron, kernel="alpha")},
    "unequal tau_syn": {"neurons": dataclasses.replace(S1.neuron, tau_syn_inh=5.0)},
    "renewing": {},
    "additive": {"synapse": bs.Synapse(plasticity="additive")},
    "tsodyks-markram": {"synapse": bs.Synapse(plasticity="tsodyks-markram", U=0.4, tau_rec=60.0, tau_fac=30.0)},
    "delays": {"delays": np.full((2, 2), 0.5)},
    "jitter": {"synapse": bs.Synapse(jitter=0.5)},
    "parallel-synapses": {"synapse": bs.Synapse(plasticity="additive", teeth=5)},
    "sparse": {"weights": csr_array(BASE["weights"])},
    "clamp": {},
    "random-refractory": {"neurons": dataclasses.replace(S1.neuron, refractory=bs.RandomRefractory(sd=3.0))},
    "shared-background": {"shared": bs.SharedBackground(rates=[10.0], weights=np.full((2, 1), 0.001))},
    "replay": {
        "shared": bs.ReplayedBackground(
            times=np.arange(3.0), sources=[0, 1, 0], duration=30.0, weights=np.full((2, 2), 0.001)
        )
    },
    "varying inputs": {"schedule": bs.Piecewise(quantity="v_rest", times=[3.0], values=[1.0])},
}


def outcome(target, feature):
    """Return what becomes of a feature: ``refused``, ``lost`` (it is named among the losses), or ``held``."""
    network = bs.SpikingNetwork(**(BASE | FEATURES[feature]))
    clamp = {0: 1} if feature == "clamp" else None
    try:
        if target in SIMULATORS:
            check_simulator(SIMULATORS[target], compile_program(network, clamp=clamp))
            return "held"
        if target == "cuda engine":  # of the class: to make one takes a GPU
            missing = compile_program(network, clamp=clamp).features - CudaEngine.features
            return "refused" if missing else "held"
        if target == "nest engine":
            missing = compile_program(network, clamp=clamp).features - get_engine("nest").features
            return "refused" if missing else "held"
        if target == "nir":
            losses = [loss.feature for loss in losses_of(network)]
            to_nir(network)
        else:
            losses = [loss.feature for loss in map_network(network, BRAINSCALES_2).losses]
    except UnsupportedFeature:
        return "refused"
    return "lost" if feature in losses else "held"


def test_the_table_has_a_row_for_every_feature():
    assert [row[0] for row in TABLE] == list(FEATURES)
    assert HEADER[1:] == ["nest engine", "cuda engine", "nest", "brian2", "pynn", "nir", "brainscales"]


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_every_cell_of_a_row_is_what_the_code_does(row):
    feature, *cells = row
    for target, cell in zip(HEADER[1:], cells):
        word = re.match(r"[a-z]+", cell).group()
        assert word in WORDS, cell
        if word == "none":  # a machine's evidence is absorbed: such a network has no clamps
            assert (feature, target in ("nir", "brainscales")) == ("clamp", True)
            continue
        done = outcome(target, feature)
        allowed = {"refused": ("refused",), "lost": ("lost", "approximate"), "held": ("exact", "approximate")}[
            done
        ]
        assert word in allowed, f"{feature} x {target}: {cell}, but it is {done}"


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", DOC, flags=re.DOTALL))
def test_the_python_of_the_page_runs(block, tmp_path):
    run(block, tmp_path)


COMMANDS = re.findall(r"^    (boltzspike [^\n#]*)", DOC, flags=re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_runs(command, tmp_path):
    machine = bs.BoltzmannMachine(weights=[[0, 0.5], [0.5, 0]], biases=[-0.3, 0.2], names=["smoke", "lung"])
    machine.save(tmp_path / "MODEL.json")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    run(f"import sys; sys.argv[1:] = {command.split()[1:]!r}; from boltzspike.cli import main; main()", tmp_path)


def test_there_is_something_to_run():
    assert len(COMMANDS) >= 4


def run(code, folder):
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
