"""The launch files under `launch_testing`, which comes with a ROS installation only.

Each file in `launches/` also runs alone: `launch_test test/ros/launches/demo_launch.py`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="launch_ros is missing; it comes with a ROS installation")
pytest.importorskip("launch_testing", reason="launch_testing is missing; it comes with a ROS installation")

pytestmark = pytest.mark.live

FILES = sorted((Path(__file__).parent / "launches").glob("*_launch.py"))
RUN = "import sys; from launch_testing.launch_test import main; sys.exit(main())"


# See test_replay_live.py: programs that start together are now and then never connected.
@pytest.mark.flaky(reruns=2)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_runs_as_expected(dds_environment, tmp_path, file):
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ROS_LOG_DIR": str(tmp_path),
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(file)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_launch_file_has_one():
    launch_files = (Path(__file__).parents[2] / "launch").glob("*.launch.py")
    assert {f"{file.name.partition('.')[0]}_launch" for file in launch_files} == {file.stem for file in FILES}
