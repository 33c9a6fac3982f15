"""Temporary folders, files that are written as a whole, and the cache folder."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from activesam_ros.system.files import (
    cache_folder,
    remove_abandoned_scratch,
    remove_abandoned_writes,
    scratch_folder,
    write_atomically,
)

HOLD = """
import time
from activesam_ros.system.files import scratch_folder
with scratch_folder() as folder:
    (folder / "unpacked").write_text("much")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_a_scratch_folder_is_removed_at_its_end(temporary):
    (temporary / "activesam-of-mine").mkdir()
    with scratch_folder() as one, scratch_folder() as other:
        (one / "file").write_text("much")
        remove_abandoned_scratch()
        assert one != other and one.parent == temporary
    assert [path.name for path in temporary.iterdir()] == ["activesam-of-mine"]


def test_that_of_a_killed_process_is_removed(temporary):
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True) as process:
        left = temporary / process.stdout.readline().strip()
        remove_abandoned_scratch()
        assert (left / "unpacked").exists()  # while its process lives
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (left / "unpacked").exists()
    remove_abandoned_scratch()
    assert not left.exists()


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    """A writer that lives keeps its file."""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom activesam_ros.system import files\n"
        "def wait(self, path):\n    print(flush=True)\n    sys.stdin.read()\n"
        "Path.replace = wait\nfiles.write_atomically(Path(sys.argv[1]), b'half')\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "prompt.safetensors")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        (left,) = tmp_path.iterdir()
        remove_abandoned_writes(tmp_path)
        assert left.exists()
        writer.kill()
        writer.wait()
    (tmp_path / ".mine.txt").write_text("")
    remove_abandoned_writes(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".mine.txt"]


def test_a_full_disk_is_told_with_the_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space") as caught:
        write_atomically(tmp_path / "prompt", b"x")
    assert caught.value.filename == str(tmp_path / "prompt")
    assert not list(tmp_path.iterdir())


def test_a_user_without_a_home_has_a_cache_folder(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert cache_folder() == Path("/.cache/activesam_ros")
