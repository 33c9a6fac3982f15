"""Memory as Linux accounts for it."""

import numpy as np
import pytest

from activesam_ros.memory import memory


def test_fields(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t    3072 kB\nVmRSS:\t    2048 kB\nRssAnon:\t    1024 kB\n")
    found = memory(status)
    assert (found.resident, found.anonymous, found.peak) == (2 << 20, 1 << 20, 3 << 20)


def test_what_is_written_to_is_resident():
    before = memory()
    block = np.ones(64 << 20, np.uint8)
    after = memory()
    assert after.resident - before.resident > block.nbytes // 2
    assert after.resident <= after.peak


def test_another_system(tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\n")
    with pytest.raises(KeyError):
        memory(tmp_path / "status")
