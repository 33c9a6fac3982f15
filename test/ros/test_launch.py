"""The launch file; the packages `launch` and `launch_ros` come with a ROS installation only."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("launch", reason="launch is missing; it comes with a ROS installation")
pytest.importorskip("launch_ros", reason="launch_ros is missing; it comes with a ROS installation")

from .conftest import PATIENCE  # noqa: E402

FILE = Path(__file__).parents[2] / "launch" / "camera.launch.py"
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
service = LaunchService(argv=[])
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=[one.split(":=") for one in sys.argv[2:]])]))
sys.exit(service.run())
"""


@pytest.fixture
def launch_file():
    spec = importlib.util.spec_from_file_location("camera_launch", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def launched(dds_environment, tmp_path):
    running = []

    def run(*arguments):
        log = (tmp_path / "launch.log").open("w")
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(FILE), *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "ROS_LOG_DIR": str(tmp_path)},
        )
        running.append((process, log))
        return process, tmp_path / "launch.log"

    yield run
    for process, log in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()


def wait_for(log, pattern, process):
    deadline = time.monotonic() + PATIENCE
    while not re.search(pattern, log.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def test_every_argument_is_described(launch_file):
    declared = [
        action
        for action in launch_file.generate_launch_description().entities
        if type(action).__name__ == "DeclareLaunchArgument"
    ]
    assert {action.name for action in declared} == {
        "image",
        "model",
        "vocabulary",
        "vocabulary_file",
        "device",
        "params_file",
        "namespace",
        "log_level",
    }
    assert all(action.description.endswith(".") for action in declared)


def test_the_transport_is_set_unless_the_user_chose_one(launch_file, monkeypatch):
    def sets_transport():
        return any(
            type(action).__name__ == "SetEnvironmentVariable"
            for action in launch_file.generate_launch_description().entities
        )

    for name in launch_file.TRANSPORT_CHOICES:
        monkeypatch.delenv(name, raising=False)
    assert sets_transport()
    for name in launch_file.TRANSPORT_CHOICES:
        with monkeypatch.context() as chosen:
            chosen.setenv(name, "mine")
            assert not sets_transport()


@pytest.mark.parametrize("text", ["road", "[1, 2]", "[on, off]", "[]", "{a: b}", "[road", "__import__('os')"])
def test_what_is_no_list_of_words_is_refused(launch_file, text):
    with pytest.raises(RuntimeError, match="list"):
        launch_file.words(text)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("/**: {ros__parameters: {cameras: [front, rear]}}", True),
        ("activesam: {ros__parameters: {cameras: [front]}}", True),
        ("/robot/activesam: {ros__parameters: {cameras: [front]}}", True),
        ("robot: {activesam: {ros__parameters: {cameras: [front]}}}", True),
        ("/**: {ros__parameters: {cameras: []}}", False),
        ("/**: {ros__parameters: {model: toytown}}", False),
        ("driver: {ros__parameters: {cameras: [front]}}", False),
        ("[", False),
        ("", False),
    ],
)
def test_a_parameter_file_that_names_cameras_is_known(launch_file, tmp_path, text, named):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    assert launch_file.names_cameras(str(file)) is named


def test_a_parameter_file_that_cannot_be_read_is_left_to_the_node(launch_file, tmp_path):
    assert not launch_file.names_cameras(str(tmp_path / "missing.yaml"))
    assert not launch_file.names_cameras(str(tmp_path))


def test_an_image_topic_for_several_cameras_is_refused(launched, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("/**: {ros__parameters: {cameras: [front, rear], model: toytown}}")
    process, log = launched("image:=/front/image_raw", f"params_file:={file}")
    assert process.wait(PATIENCE) != 0
    assert "image:=/front/image_raw would have no effect" in log.read_text()


def test_words_keep_their_aliases(launch_file):
    assert launch_file.words("[road, 'car, automobile', \"7\"]") == ["road", "car, automobile", "7"]


def test_it_starts_the_node_with_arguments_over_the_parameter_file(launched, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    model: /no/such/folder\n    max_active: 3\n    vocabulary: [tree]\n"
    )
    process, log = launched(
        "model:=toytown",
        "vocabulary:=[road, 'car, automobile', sky]",
        "namespace:=front",
        "image:=/front/image_raw",
        f"params_file:={file}",
        "log_level:=debug",
    )
    wait_for(
        log, r"\[front\.activesam\]: vocabulary revision 1 in force: 3 classes.*/front/image_raw", process
    )
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    assert "process has finished cleanly" in log.read_text()
