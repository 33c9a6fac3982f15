"""Programs of this package as processes of their own, and orders for a node whose model misbehaves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# Long enough for a loaded machine; reached only by a failure.
PATIENCE = 90
WORDS = ["road", "car, automobile", "sky", "building", "person"]

_FAULTY = Path(__file__).with_name("faulty_node.py")
_NUMBERS = count()
FOR_EVER = 1_000_000


class Program:
    """A Python program that runs."""

    def __init__(
        self,
        log: Path,
        *command: str,
        environment: Mapping[str, str] | None = None,
        under: Sequence[str] = (),
    ) -> None:
        """
        Args:
            log: takes what it prints.
            command: what comes after `python`.
            environment: variables on top of this process's.
            under: command that becomes python, such as one that takes privileges away first.
        """
        self._log = log
        self._output = log.open("w")
        self.process = subprocess.Popen(
            [*under, sys.executable, *command],
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


class NodeProcess(Program):
    """`activesam` as a process of its own, with everything it prints."""

    def __init__(
        self, log: Path, *arguments: str, faults: Path | None = None, under: Sequence[str] = ()
    ) -> None:
        """
        Args:
            log: takes what it prints.
            arguments: those after `--ros-args`.
            faults: file that commands `faulty_node.py`, which runs the node then; None: nothing but the node.
            under: as for `Program`.
        """
        program = ["-m", "activesam_ros.ros.main"] if faults is None else [str(_FAULTY)]
        environment = {} if faults is None else {"ACTIVESAM_FAULTS": str(faults)}
        super().__init__(log, *program, "--ros-args", *arguments, environment=environment, under=under)


@contextmanager
def node_processes(folder: Path) -> Iterator[Callable[..., NodeProcess]]:
    """A function that starts node processes, which are killed at the end if they still run.

    Its arguments are those of `NodeProcess` after the log, and `words`, `model` and `namespace`: the demo model with
    a few words in the root namespace unless told otherwise.
    """
    with ExitStack() as started:

        def start(
            *arguments: str,
            words: list[str] | None = WORDS,
            model: str | Path = "toytown",
            namespace: str = "",
            faults: Path | None = None,
            under: Sequence[str] = (),
        ) -> NodeProcess:
            # Files of the tests may be named while the node runs.
            given = ["-p", f"model:={model}", "-p", f"allowed_folders:=['{folder.parent}']", *arguments]
            if words is not None:
                given += ["-p", "vocabulary:=[" + ", ".join(f"'{word}'" for word in words) + "]"]
            if namespace:
                given += ["-r", f"__ns:=/{namespace}"]
            process = NodeProcess(folder / f"node{next(_NUMBERS)}.log", *given, faults=faults, under=under)
            started.callback(process.kill)
            return process

        yield start


class Faults:
    """The file that tells one faulty node when its model misbehaves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers = count(1)
        self.none()

    def order(
        self, do: str, at: str = "decode", *, times: int = FOR_EVER, above: int = 0, seconds: float = 0.0
    ) -> None:
        """From now on; `faulty_node.py` says what the values mean."""
        self._write(
            {
                "number": next(self._numbers),
                "at": at,
                "do": do,
                "times": times,
                "above": above,
                "seconds": seconds,
            }
        )

    def none(self) -> None:
        """No more faults; what waits goes on."""
        self._write({})

    def _write(self, order: dict) -> None:
        # In one step: the node may read at any moment.
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(order))
        draft.replace(self.path)
