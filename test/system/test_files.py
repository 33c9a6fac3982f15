"""Temporary folders."""

import signal
import subprocess
import sys

import pytest

from activesam_ros.system.files import remove_abandoned_scratch, scratch_folder

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
