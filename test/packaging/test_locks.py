from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from devsetup.locks import exclusive
from devsetup.progress import Progress

TOOLS = Path(__file__).resolve().parents[2] / "tools"

SECOND = """\
import sys
from pathlib import Path
from devsetup.locks import exclusive
from devsetup.progress import Progress
with exclusive(Path(sys.argv[1]), Progress(Path(sys.argv[2]))):
    print("mine now", flush=True)
"""


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
