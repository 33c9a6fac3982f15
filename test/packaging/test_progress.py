from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from devsetup.errors import SetupError
from devsetup.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path


def test_output_goes_to_the_log_and_steps_to_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(tmp_path / "log")
    progress.run([sys.executable, "-c", "print('inside')"], os.environ, "doing it")
    assert "inside\n" in progress.log.read_text()
    shown = capsys.readouterr().out
    assert "doing it" in shown
    assert " s] " in shown
    assert "inside" not in shown


def test_a_failure_shows_the_reason_and_the_last_lines(tmp_path: Path) -> None:
    progress = Progress(tmp_path / "log")
    command = [sys.executable, "-c", "print('first'); print('last words'); raise SystemExit(3)"]
    with pytest.raises(SetupError) as failed:
        progress.run(command, os.environ, "doing it")
    assert "doing it: " in str(failed.value)
    assert "failed with exit code 3" in str(failed.value)
    assert "last words" in str(failed.value)
    assert str(progress.log) in str(failed.value)


def test_a_known_reason_replaces_the_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no route'); raise SystemExit(1)"]
    with pytest.raises(SetupError, match="doing it: the network is down"):
        Progress(tmp_path / "log").run(
            command,
            os.environ,
            "doing it",
            explain=lambda output: "the network is down" if "no route" in output else None,
        )
