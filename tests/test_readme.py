import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import boltzspike as bs

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^    (boltzspike [^\n]*?)(?:\s+#.*)?$", README, flags=re.MULTILINE)


def run(code, folder):
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_of_the_readme_runs_in_ten_lines(tmp_path):
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in block.splitlines() if line.strip()]) <= 10
    printed = run(block, tmp_path)
    assert "D_KL = " in printed
    assert (tmp_path / "joint.png").stat().st_size > 5000
    assert bs.read(tmp_path / "result.nc").z.shape == (64, 1000, 3)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_runs(command, tmp_path):
    machine = bs.BoltzmannMachine(weights=[[0, 0.5], [0.5, 0]], biases=[-0.3, 0.2], names=["smoke", "lung"])
    machine.save(tmp_path / "MODEL.json")
    os.symlink(ROOT / "examples", tmp_path / "examples")
    arguments = command.split()[1:]
    run(f"import sys; sys.argv[1:] = {arguments!r}; from boltzspike.cli import main; main()", tmp_path)


def test_there_are_commands_to_run():
    assert len(COMMANDS) >= 5
