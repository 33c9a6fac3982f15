"""The evaluator between a node and a player that say what the test has them say."""

import shlex
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from activesam_ros import msg
from activesam_ros.cli.live_evaluator import Evaluator, command_line
from activesam_ros.evaluation.records import read_records
from activesam_ros.evaluation.run_folder import RunFolder
from activesam_ros.ros import qos
from activesam_ros.ros.conversions import (
    class_names_to_msg,
    labels_to_msg,
    rgb_to_msg,
    to_nanoseconds,
    vocabulary_to_msg,
)
from activesam_ros.ros.parameters import DEFAULTS
from activesam_ros.ros.program import callbacks_of
from activesam_ros.ros.replay import ReplayEnd, replay_end_to_msg
from activesam_ros.vocabulary import Vocabulary

from .conftest import PATIENCE

VOCABULARY = Vocabulary.from_names(["road", "sky"])
TRUTH = np.array([[1, 1, 1, 1], [0, 0, 0, 0]], np.uint8)
HALF = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], np.uint8)
RGB = np.zeros((2, 4, 3), np.uint8)


def header(second):
    made = Header(frame_id="camera")
    made.stamp.sec = second
    return made


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Others:
    """The node and the player."""

    def __init__(self, rclpy):
        self.node = rclpy.create_node("activesam")
        for name in ("model", "device", "dtype"):
            self.node.declare_parameter(name, DEFAULTS[name])
        for name, default in DEFAULTS.items():
            if not self.node.has_parameter(name) and not isinstance(default, tuple):
                self.node.declare_parameter(name, default)
        depth = QoSProfile(depth=100)
        self.images = self.node.create_publisher(Image, "image", depth)
        self.truths = self.node.create_publisher(Image, "ground_truth/labels", depth)
        self.names = self.node.create_publisher(LabelInfo, "ground_truth/label_info", qos.latched_out())
        self.labels = self.node.create_publisher(Image, "activesam/labels", depth)
        self.active = self.node.create_publisher(msg.ActiveClasses, "activesam/active_classes", depth)
        self.words = self.node.create_publisher(msg.Vocabulary, "activesam/vocabulary", qos.latched_out())
        self.ended = self.node.create_publisher(DiagnosticStatus, "replay/ended", qos.latched_out())
        self.seen = []
        self.node.create_subscription(
            Header, "evaluator/seen", lambda one: self.seen.append(to_nanoseconds(one.stamp) // 10**9), depth
        )

    def say_words(self, revision=1, vocabulary=VOCABULARY):
        self.words.publish(vocabulary_to_msg(vocabulary, revision, header(0)))

    def say_names(self, **names):
        self.names.publish(class_names_to_msg({number: name for name, number in names.items()}))

    def show(self, second, truth=TRUTH):
        wait_for(self.images.get_subscription_count)
        self.images.publish(rgb_to_msg(RGB, header(second)))
        if truth is not None:
            self.truths.publish(labels_to_msg(truth, header(second)))
        wait_for(lambda: second in self.seen)

    def answer(self, second, labels, revision=1):
        self.labels.publish(labels_to_msg(labels, header(second)))
        active = msg.ActiveClasses(header=header(second), vocabulary_revision=revision)
        active.stage = msg.ActiveClasses.DECODED
        self.active.publish(active)

    def end(self, images, *notes):
        self.ended.publish(replay_end_to_msg(ReplayEnd(images, notes)))


@pytest.fixture
def others(ros):
    others = Others(ros)
    with callbacks_of(others.node):
        yield others


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def evaluator(out, **parameters):
    given = {"out": str(out), **parameters}
    return Evaluator(parameter_overrides=[Parameter(name, value=value) for name, value in given.items()])


def test_images_are_judged_by_the_labels_and_the_truth_of_their_stamp(others, out):
    judging = evaluator(out, bag="drive")
    with callbacks_of(judging):
        others.say_words()
        others.say_names(sky=1, road=0)
        others.show(1)
        others.show(2)
        others.answer(1, TRUTH)
        others.answer(2, HALF)
        others.end(2, "The recording was cut off.")
        assert judging.finished.wait(PATIENCE)
    page, table = judging.report(interrupted=False)
    assert "node" in table
    assert "The recording was cut off." in page.read_text()
    records = read_records(out / "records.jsonl")
    assert [one.truth.matrix.mean_iou for one in records] == [1.0, pytest.approx(1 / 3)]
    assert all(one.latency >= 0 for one in records)


def test_an_image_that_is_passed_over_has_failed(others, out):
    judging = evaluator(out)
    with callbacks_of(judging):
        others.say_words()
        others.say_names(sky=1, road=0)
        others.show(1)
        others.show(2)
        others.answer(2, TRUTH)
        others.end(2)
        assert judging.finished.wait(PATIENCE)
    judging.report(interrupted=False)
    assert [one.error for one in read_records(out / "records.jsonl")] == ["the node gave no labels", None]


def test_labels_that_are_no_class_ids_fail_that_image_alone(others, out):
    judging = evaluator(out)
    with callbacks_of(judging):
        others.say_words()
        others.say_names(sky=1, road=0)
        others.show(1)
        others.labels.publish(rgb_to_msg(RGB, header(1)))
        others.active.publish(
            msg.ActiveClasses(header=header(1), stage=msg.ActiveClasses.DECODED, vocabulary_revision=1)
        )
        others.show(2)
        others.answer(2, TRUTH)
        others.end(2)
        assert judging.finished.wait(PATIENCE)
    judging.report(interrupted=False)
    first, second = read_records(out / "records.jsonl")
    assert "'rgb8' holds no class ids" in first.error and second.error is None


def test_labels_with_other_words_are_not_judged(others, out):
    judging = evaluator(out)
    with callbacks_of(judging):
        others.say_words()
        others.say_names(sky=1, road=0)
        others.show(1)
        others.answer(1, TRUTH)
        others.say_words(2, VOCABULARY.updated(["tree"]))
        others.show(2)
        others.answer(2, HALF, revision=2)
        others.end(2)
        assert judging.finished.wait(PATIENCE)
    first, second = read_records(out / "records.jsonl")
    assert first.error is None
    assert "revision 2" in second.error
    assert second.truth is None


def test_without_ground_truth_nothing_waits_for_it(others, out):
    judging = evaluator(out, ground_truth=False)
    with callbacks_of(judging):
        others.say_words()
        others.show(1, truth=None)
        others.answer(1, HALF)
        wait_for(lambda: judging.frames)
    judging.report(interrupted=True)
    (record,) = read_records(out / "records.jsonl")
    assert record.truth is None
    assert record.unlabeled == 0


def test_names_may_come_from_a_file(others, out, tmp_path):
    names = tmp_path / "names.yaml"
    names.write_text("classes: {0: road, 1: sky}\nignore: [255]\n")
    judging = evaluator(out, classes=str(names), ignore=[0])
    with callbacks_of(judging):
        others.say_words()
        others.show(1)
        others.answer(1, TRUTH)
        wait_for(lambda: judging.frames)
    judging.report(interrupted=True)
    (record,) = read_records(out / "records.jsonl")
    assert record.truth.classes == 1
    assert record.truth.counted == 4


@pytest.mark.parametrize("command", ["", "ros2 launch activesam_ros replay.launch.py bag:=drive"])
def test_the_report_says_what_repeats_it_and_what_was_played(others, out, command):
    judging = evaluator(out, ground_truth=False, bag="drive", start=1.5, command=command)
    with callbacks_of(judging):
        others.say_words()
        others.show(1, truth=None)
        others.answer(1, HALF)
        wait_for(lambda: judging.frames)
    judging.report(interrupted=True)
    described = RunFolder(out).description()
    assert (described["recording"]["start"], described["recording"]["end"]) == (1.5, None)
    own = ["-p", f'out:="{out}"', "-p", 'bag:="drive"', "-p", "start:=1.5", "-p", "ground_truth:=false"]
    expected = command or shlex.join(["ros2", "run", "activesam_ros", "evaluator", "--ros-args", *own])
    assert described["command"] == expected


def test_classes_that_do_not_match_end_it(others, out):
    from activesam_ros.errors import EvaluationError

    def fail():
        with callbacks_of(evaluator(out)) as failed:
            others.say_words()
            others.say_names(dragon=0)
            assert failed.wait(PATIENCE)

    with pytest.raises(EvaluationError, match="no class of the ground truth"):
        fail()
    assert not out.exists()


def test_parameters_and_remappings_are_given():
    line = command_line({"out": "my run", "ignore": [0, 255], "overwrite": True}, {"image": "/camera/image"})
    assert shlex.split(line) == [
        *("ros2", "run", "activesam_ros", "evaluator", "--ros-args"),
        *("-p", 'out:="my run"', "-p", "ignore:=[0, 255]", "-p", "overwrite:=true"),
        *("-r", "image:=/camera/image"),
    ]


def test_a_text_that_looks_like_a_number_stays_a_text():
    assert shlex.split(command_line({"out": "7"}, {}))[-1] == 'out:="7"'


def test_nothing_given_is_nothing_said():
    assert command_line({}, {}) == "ros2 run activesam_ros evaluator"
