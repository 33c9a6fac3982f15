"""The output of the set-up, and its lock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from devsetup.progress import Progress, SetupError, exclusive

TOOLS = Path(__file__).resolve().parents[2] / "tools"

SECOND = """\
import sys
from pathlib import Path
from devsetup.progress import Progress, SetupError, exclusive
with exclusive(Path(sys.argv[1]), Progress(Path(sys.argv[2]))):
    print("mine now", flush=True)
"""


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


def test_a_second_set_up_waits_and_says_so(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / "lock"
    with exclusive(lock, Progress(tmp_path / "log")):
        second = subprocess.Popen(
            [sys.executable, "-c", SECOND, lock, tmp_path / "log2"],
            cwd=TOOLS,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert "another set-up is at work" in second.stdout.readline()
        assert second.poll() is None
    out, _ = second.communicate(timeout=60)
    assert out == "mine now\n"
    assert second.returncode == 0


def test_the_lock_is_free_after_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(tmp_path / "log")
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "lock", progress):
        raise ZeroDivisionError
    with exclusive(tmp_path / "lock", progress):
        assert capsys.readouterr().out == "", "nobody was waited for"
