"""A process that is asked and answers, a line of JSON a message; its death and its silence are errors."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any

from boltzspike.errors import SimulatorError

SILENCE = 600.0
"""Seconds after which a process that has said nothing is taken for hung, and killed."""
SHOWN = 3000
"""Characters of its output that an error shows."""


class Process:
    """A Python script in a process and a folder of its own, both gone when this object is."""

    def __init__(self, name: str, script: Path) -> None:
        """Start it; its argument is the folder.

        Parameters
        ----------
        name
            What it is called in errors.
        script
            It reads requests from its input, writes answers to its output, and says all else to its errors.
        """
        self.name = name
        self._folder = tempfile.TemporaryDirectory(prefix="boltzspike-")
        self.folder = Path(self._folder.name)
        self._log = (self.folder / "log.txt").open("wb")
        # one thread for NumPy's libraries: the simulator has its own; no session of ours, so that Ctrl-C is ours
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        environment.pop("OMP_NUM_THREADS", None)
        self._process = subprocess.Popen(
            [sys.executable, str(script), str(self.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._log, env=environment, start_new_session=True, cwd=self.folder,
        )  # fmt: skip
        self._unread = b""
        self._end = weakref.finalize(self, _end, self._process, self._log, self._folder)

    def close(self) -> None:
        """End it."""
        self._end()

    @property
    def output(self) -> str:
        """What it has printed, the end of it."""
        self._log.flush()
        return (self.folder / "log.txt").read_text(errors="replace").strip()[-SHOWN:]

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return the answer, but for signs of life.

        Raises
        ------
        SimulatorError
            With what the process printed, if it reports an error, ends, or is silent for ``SILENCE`` seconds. It
            is closed then.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # what it said before it died is more to the point
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        while True:
            answer = json.loads(self._line())
            if "error" in answer:
                raise self._failure(answer["error"])
            if "done" not in answer:
                return dict(answer)

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        last = time.monotonic() + SILENCE
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._process.stdout], [], [], max(last - time.monotonic(), 0))
            if not ready:
                raise self._failure(f"it said nothing for {SILENCE:g} s and was stopped")
            found = os.read(self._process.stdout.fileno(), 2**16)
            if not found:
                code = self._process.wait()
                raise self._failure(f"it ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}")
            self._unread += found
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _failure(self, what: str) -> SimulatorError:
        output = self.output
        self.close()
        return SimulatorError(f"{self.name}: {what}" + (f"; its output:\n{output}" if output else ""))


def _end(process: subprocess.Popen[bytes], log: Any, folder: tempfile.TemporaryDirectory[str]) -> None:
    process.kill()
    process.wait()
    streams: list[Any] = [process.stdin, process.stdout, log]
    for stream in streams:
        with contextlib.suppress(OSError):
            stream.close()
    folder.cleanup()
