"""The node as a process of its own."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from .program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WORDS = ["road", "car, automobile", "sky", "building", "person"]

_FAULTY = Path(__file__).with_name("faulty_node.py")
_NUMBERS = count()


class NodeProcess(Program):
    """`activesam` as a process of its own, with everything it prints."""

    def __init__(self, log: Path, *arguments: str, faults: Path | None = None) -> None:
        """
        Args:
            log: takes what it prints.
            arguments: those after `--ros-args`.
            faults: file that commands `faulty_node.py`, which runs the node then; None: nothing but the node.
        """
        program = ["-m", "activesam_ros.ros.main"] if faults is None else [str(_FAULTY)]
        environment = {} if faults is None else {"ACTIVESAM_FAULTS": str(faults)}
        super().__init__(log, *program, "--ros-args", *arguments, environment=environment)

    def memory(self) -> int:
        """Bytes of its own that it holds, without mapped files."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"RssAnon:\s+(\d+) kB", status).group(1))


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
        ) -> NodeProcess:
            given = ["-p", f"model:={model}", *arguments]
            if words is not None:
                given += ["-p", "vocabulary:=[" + ", ".join(f"'{word}'" for word in words) + "]"]
            if namespace:
                given += ["-r", f"__ns:=/{namespace}"]
            process = NodeProcess(folder / f"node{next(_NUMBERS)}.log", *given, faults=faults)
            started.callback(process.kill)
            return process

        yield start
