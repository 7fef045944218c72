import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs/models.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", DOC, flags=re.DOTALL)
COMMANDS = re.findall(r"^    (boltzspike [^\n]*)$", DOC, flags=re.MULTILINE)


def run(code, folder):
    # the warnings of other packages' imports are theirs
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_example_of_the_models_page_runs(block, tmp_path):
    run(block, tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_models_page_runs(command, tmp_path):
    os.symlink(ROOT / "examples", tmp_path / "examples")
    arguments = command.split()[1:]
    run(f"import sys; sys.argv[1:] = {arguments!r}; from boltzspike.cli import main; main()", tmp_path)


def test_the_page_has_examples():
    assert len(BLOCKS) >= 6
    assert len(COMMANDS) >= 1
