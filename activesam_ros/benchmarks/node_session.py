"""The node as a process, in a DDS domain of its own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import yaml

from activesam_ros.errors import ActiveSamError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType


class NodeProcess:
    """Run `activesam` with parameters and remappings; its log goes to a file.

    Example:
        >>> with NodeProcess({"model": "toytown"}, {"image": "/camera/image"}, Path("out")) as node:
        ...     node.check()
    """

    def __init__(
        self,
        parameters: Mapping[str, object],
        remaps: Mapping[str, str],
        folder: Path,
        threads: int | None = None,
    ) -> None:
        """Args:
        parameters: of the node.
        remaps: topic names, from → to.
        folder: where the parameter file and the log go.
        threads: of torch; None: as this process's environment says.
        """
        self.log = folder / "node.log"
        parameter_file = folder / "node_parameters.yaml"
        content = {"/activesam": {"ros__parameters": dict(parameters)}}
        parameter_file.write_text(
            yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
        self._command = [
            sys.executable,
            "-m",
            "activesam_ros.ros.main",
            "--ros-args",
            "--params-file",
            str(parameter_file),
        ]
        for source, target in remaps.items():
            self._command += ["-r", f"{source}:={target}"]
        self._environment = dict(os.environ)
        if threads is not None:
            self._environment["OMP_NUM_THREADS"] = str(threads)
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> NodeProcess:
        with self.log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    @property
    def pid(self) -> int:
        """Of the process, while it runs."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Raise ActiveSamError with the end of the log if the node has ended."""
        if self.exit_code is not None:
            tail = "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
            raise ActiveSamError(
                f"the node ended with exit code {self.exit_code}; its log {self.log} ends with:\n{tail}"
            )

    def last_words(self) -> list[str]:
        """The summaries that the node logs when it stops, one of each camera; empty if there is none."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line.split("stopped; ", 1)[1] for line in lines if "stopped; " in line]


def use_own_dds_domain() -> None:
    """Set a random ROS_DOMAIN_ID unless one is set, so that nothing shows up among the topics of a robot.

    Limiting discovery to this machine (ROS_AUTOMATIC_DISCOVERY_RANGE) would do too, but it makes Fast DDS fall back to
    a transport that loses large best-effort images.
    """
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.randint(1, 99)))
