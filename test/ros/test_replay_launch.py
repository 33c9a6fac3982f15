"""The launch file that plays a recording; `launch` and `launch_ros` come with a ROS installation only."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("launch", reason="launch is missing; it comes with a ROS installation")
pytest.importorskip("launch_ros", reason="launch_ros is missing; it comes with a ROS installation")

from activesam_ros.cli.evaluate import main as evaluate
from activesam_ros.datasets.labelled_bag import LabelledBag, write_drive
from activesam_ros.datasets.recordings import Recording
from activesam_ros.errors import SettingsError

from .launching import LAUNCH_FILES, launches

pytestmark = pytest.mark.live

FILE = LAUNCH_FILES / "replay.launch.py"
GIVEN = ("model:=toytown", "labels:=/ground_truth/labels", "vocabulary:=[road, 'car, automobile', sky]")


@pytest.fixture
def launch_file():
    spec = importlib.util.spec_from_file_location("replay_launch", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def launched(dds_environment, tmp_path):
    with launches(FILE, tmp_path) as launch:
        yield launch


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("bag") / "drive"
    write_drive(path, 900_400, 5, 10.0, (160, 120))
    return path


def test_every_argument_is_described(launch_file):
    declared = [
        action
        for action in launch_file.generate_launch_description().entities
        if type(action).__name__ == "DeclareLaunchArgument"
    ]
    assert [action.name for action in declared] == [one.name for one in launch_file.ARGUMENTS]
    assert all(action.description.endswith((".", "]")) for action in declared)
    assert [action.name for action in declared if action.default_value is None] == ["bag"]


def test_the_node_answers_every_image_of_the_topic_in_the_recording(launch_file, bag, tmp_path):
    assert launch_file.image_topic(str(bag), "", "/ground_truth/labels") == ("/camera/image", "raw")
    compressed = tmp_path / "compressed"
    with LabelledBag(compressed, {0: "road"}, encoded=True):
        pass
    assert launch_file.image_topic(str(compressed), "", "/ground_truth/labels") == (
        "/camera/image",
        "compressed",
    )
    given = {one.name: one.default for one in launch_file.ARGUMENTS}
    assert launch_file.segmenting(given, "compressed", False) == {
        "queue": "all",
        "image_transport": "compressed",
        "autostart": True,
    }
    assert launch_file.segmenting(given, "raw", True)["use_sim_time"] is True


def test_the_command_that_repeats_it_has_what_was_given(launch_file):
    given = {one.name: one.default or "" for one in launch_file.ARGUMENTS}
    given.update(bag="my drive", end="3.5", vocabulary="[road, 'car, automobile']")
    assert shlex.split(launch_file.command(given)) == [
        *("ros2", "launch", "activesam_ros", "replay.launch.py"),
        *("bag:=my drive", "end:=3.5", "vocabulary:=[road, 'car, automobile']"),
    ]


def test_ids_to_ignore_are_a_list_of_numbers(launch_file):
    assert launch_file.ids("[0, 255]") == [0, 255]
    assert launch_file.ids("[]") == [-1]
    for text in ("[x]", "[-3]", "[true]", "0"):
        with pytest.raises(SettingsError, match="ignore:="):
            launch_file.ids(text)


def test_it_ends_by_itself_with_a_report(launched, bag, tmp_path):
    out = tmp_path / "out"
    running = launched(f"bag:={bag}", f"out:={out}", *GIVEN, "end:=60.0")
    assert running.wait() == 0, running.log
    assert f"report: {out / 'report.html'}" in running.log
    assert "mIoU" in running.log
    results = json.loads((out / "results.json").read_text())
    assert results["summaries"][0]["scored"] == 5
    recording = results["run"]["recording"]
    assert recording["path"] == f"{out}_recording" and recording["image_topic"] == "/camera/image"
    assert recording["played"]["recording"] == str(bag) and recording["played"]["end"] == 60.0
    command = shlex.split(recording["played"]["command"])
    assert command[:4] == ["ros2", "launch", "activesam_ros", "replay.launch.py"]
    assert sorted(command[4:]) == sorted([f"bag:={bag}", f"out:={out}", *GIVEN, "end:=60.0"])
    assert running.log.count("process has finished cleanly") == 2
    # What it says is what repeats the scoring.
    (scoring,) = re.findall(r"activesam-evaluate .*", running.log)
    assert evaluate(shlex.split(scoring)[1:]) == 0


def test_a_recording_may_be_in_the_home_folder(launched, bag, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(bag.parent))
    out = tmp_path / "out"
    running = launched(f"bag:=~/{bag.name}", f"out:={out}", *GIVEN)
    assert running.wait() == 0, running.log
    played = json.loads((out / "results.json").read_text())["run"]["recording"]["played"]
    assert played["recording"] == str(bag) and f"bag:=~/{bag.name}" in played["command"]


def test_ctrl_c_writes_the_report_of_what_was_done(launched, tmp_path):
    bag, out = tmp_path / "long", tmp_path / "out"
    write_drive(bag, 900_401, 400, 10.0, (160, 120))
    running = launched(f"bag:={bag}", f"out:={out}", *GIVEN)
    running.wait_for(r"[1-9]\d* of them labelled, mIoU [1-9]")
    running.interrupt()
    assert running.wait() == 0, running.log
    results = json.loads((out / "results.json").read_text())
    assert 0 < results["summaries"][0]["scored"] < 400
    assert "interrupted" in " ".join(results["run"]["notes"])
    with Recording(f"{out}_recording") as recording:
        assert recording.topics["/activesam/labels"].count >= results["summaries"][0]["scored"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bag:=/no/such/bag", *GIVEN), "/no/such/bag"),
        (("model:=/no/such/model",), "the model folder /no/such/model does not exist"),
        (("model:=/", "labels:=/ground_truth/labels"), "the node ended with exit code 1"),
        ((*GIVEN[:2], "vocabulary:=[dragon]"), "the player ended with exit code 1"),
    ],
)
def test_a_failure_ends_it_with_an_exit_code(launched, bag, tmp_path, arguments, said):
    given = arguments if arguments[0].startswith("bag:=") else (f"bag:={bag}", *arguments)
    running = launched(f"out:={tmp_path / 'out'}", *given)
    assert running.wait() == 1, running.log
    assert said in running.log
    assert not Path(tmp_path / "out").exists()
