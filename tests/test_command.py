"""The installed command, before the library is there."""

import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import boltzspike

_INTERRUPTED = """
import os, signal, sys
import boltzspike_command

class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[-1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
boltzspike_command.main()
"""


def interrupted_while_importing(name):
    return subprocess.run([sys.executable, "-c", _INTERRUPTED, name], capture_output=True, text=True, check=False)


def test_ctrl_c_while_the_library_is_imported_is_quiet():
    for name in ("boltzspike.cli", "boltzspike.errors", "typer"):
        done = interrupted_while_importing(name)
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n"), name


def test_after_the_imports_ctrl_c_is_as_ever():
    code = """
import signal, sys
import boltzspike_command, boltzspike.cli
boltzspike.cli.main = lambda: print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
boltzspike_command.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_ctrl_c_that_is_ignored_stays_ignored():
    code = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
import boltzspike_command, boltzspike.cli
boltzspike.cli.main = lambda: print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
boltzspike_command.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_the_command_is_this_one():
    project = tomllib.loads((Path(boltzspike.__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"boltzspike": "boltzspike_command:main"}


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "boltzspike", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == importlib.metadata.version("boltzspike")
