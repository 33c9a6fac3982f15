"""Parts in processes of their own."""

import os

from activesam_ros.bench.apart import in_own_process


def test_a_fresh_interpreter():
    assert in_own_process(os.getpid, threads=1) != os.getpid()
