"""With the shipped profile of Fast DDS, the node answers best-effort images that its default transports lose."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROFILE = Path(__file__).parents[2] / "config" / "fastdds.xml"
TESTS = Path(__file__).with_name("large_images.py")


@pytest.mark.usefixtures("dds_environment")
def test_best_effort_images_of_any_size():
    # In a process of their own, since Fast DDS reads its profiles once in a process.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS)]
    environment = {**os.environ, "FASTDDS_DEFAULT_PROFILES_FILE": str(PROFILE)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
