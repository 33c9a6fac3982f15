"""Programs of this package, each a process of its own with everything it prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Long enough for a loaded machine; reached only by a failure.
PATIENCE = 90


class Program:
    """A Python program that runs."""

    def __init__(self, log: Path, *command: str, environment: Mapping[str, str] | None = None) -> None:
        """
        Args:
            log: takes what it prints.
            command: what comes after `python`.
            environment: variables on top of this process's.
        """
        self._log = log
        self._output = log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_for_log(self, pattern: str, times: int = 1) -> re.Match:
        """The line that matches for the `times`-th time."""
        deadline = time.monotonic() + PATIENCE
        while True:
            ended = self.process.poll() is not None
            found = list(re.finditer(pattern, self.log))
            if len(found) >= times:
                return found[times - 1]
            assert not ended, f"it ended with {self.process.returncode}:\n{self.log}"
            assert time.monotonic() < deadline, f"no line like {pattern!r} in:\n{self.log}"
            time.sleep(0.05)

    def wait(self) -> int:
        """The exit code, once it has ended by itself."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end; it said:\n{self.log}") from None
        self._output.close()
        return code

    def end(self, number: int = signal.SIGINT) -> int:
        """End it with a signal; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def kill(self) -> None:
        """End it, whatever it does; in good order if it can, since the middleware then tells the others."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._output.close()
