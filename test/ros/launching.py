"""Launch files as `ros2 launch` runs them, each in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .processes import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LAUNCH_FILES = Path(__file__).parents[2] / "launch"

_RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
service = LaunchService(argv=[])
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=[one.split(":=") for one in sys.argv[2:]])]))
sys.exit(service.run())
"""


class Launched:
    """A launch that runs, with everything that it and its programs print."""

    def __init__(self, file: Path, folder: Path, *arguments: str) -> None:
        self._log = folder / "launch.log"
        self._output = self._log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-c", _RUN, str(file), *arguments],
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "ROS_LOG_DIR": str(folder)},
        )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_for(self, pattern: str) -> None:
        """Wait for a line that matches."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.log):
            assert self.process.poll() is None and time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def wait(self) -> int:
        """The exit code, once everything has ended."""
        return self.process.wait(2 * PATIENCE)

    def interrupt(self) -> None:
        """As Ctrl-C does: the programs of the launch get the signal too."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        """Whatever is left of it."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._output.close()


@contextmanager
def launches(file: Path, folder: Path) -> Iterator[Callable[..., Launched]]:
    """A function that launches a file with arguments such as "model:=toytown"; kills what is left of it."""
    running: list[Launched] = []

    def launch(*arguments: str) -> Launched:
        running.append(Launched(file, folder, *arguments))
        return running[-1]

    try:
        yield launch
    finally:
        for one in running:
            one.kill()
