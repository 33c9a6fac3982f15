"""The node `labelled_points`, with those that it listens to in the same process."""

import array
import math
import random
import re
import time
from pathlib import Path

import activesam_ros.msg as msg
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from activesam_ros.errors import SettingsError
from activesam_ros.points import POINT
from activesam_ros.ros.conversions import (
    confidence_to_msg,
    depth_to_msg,
    ids_to_msg,
    labels_to_msg,
    to_nanoseconds,
    to_stamp,
    vocabulary_to_msg,
)
from activesam_ros.ros.executor import GuardedExecutor, answer_every_call
from activesam_ros.ros.labelled_points import LabelledPoints
from activesam_ros.ros.point_matcher import Lack, PointMatcher
from activesam_ros.ros.point_parameters import SPECS
from activesam_ros.ros.point_status import POINTS_RULES, Input, PointsView, points_status, why_none
from activesam_ros.ros.statuses import Level
from activesam_ros.ros.toytown_camera import ToytownCamera
from activesam_ros.toytown import CLASSES
from activesam_ros.toytown.world import World
from activesam_ros.vocabulary import Vocabulary

from .processes import PATIENCE, Program
from .test_hostile import Hostile, _images

SPACE = "points_test"
SIZE = (96, 64)
PAGE = Path(__file__).parents[2] / "docs" / "points.md"


def points_in(cloud):
    """A cloud as an array, by its own description."""
    kinds = {PointField.FLOAT32: "<f4", PointField.UINT32: "<u4"}
    dtype = np.dtype(
        {
            "names": [one.name for one in cloud.fields],
            "formats": [kinds[one.datatype] for one in cloud.fields],
            "offsets": [one.offset for one in cloud.fields],
            "itemsize": cloud.point_step,
        }
    )
    assert cloud.row_step == cloud.point_step * cloud.width and not cloud.is_bigendian
    return np.frombuffer(cloud.data, dtype).reshape(cloud.height, cloud.width)


TOPICS = {
    "labels": ("activesam/labels", Image),
    "confidence": ("activesam/confidence", Image),
    "instances": ("activesam/instances", Image),
    "depth": ("depth", Image),
    "info": ("camera_info", CameraInfo),
    "vocabulary": ("activesam/vocabulary", msg.Vocabulary),
}


class Robot:
    """The node and all around it, spun together.

    Attributes:
        node: `labelled_points`.
        clouds, statuses: what came.
    """

    def __init__(self, *topics, remap=(), **parameters):
        """`topics`: what is published, by their names in `TOPICS`."""
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        arguments = [word for one in remap for word in ("-r", one)]
        self.node = LabelledPoints(
            namespace=SPACE,
            parameter_overrides=overrides,
            cli_args=["--ros-args", *arguments] if arguments else None,
            enable_rosout=False,
        )
        self.others = Node("robot", namespace=SPACE)
        self.clouds, self.statuses = [], []
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.publishers = {
            name: self.others.create_publisher(
                TOPICS[name][1], TOPICS[name][0], latched if name == "vocabulary" else 50
            )
            for name in topics
        }
        self.executor = GuardedExecutor(self.node.errors.fault)
        answer_every_call(self.node, self.node.errors.fault)
        for one in (self.node, self.others):
            self.executor.add_node(one)
        self.others.create_subscription(
            DiagnosticArray, "/diagnostics", lambda message: self.statuses.extend(message.status), 10
        )

    def listen(self):
        """Subscribe to the points, and wait until all know each other."""
        self.listening = self.others.create_subscription(
            PointCloud2, "labelled_points/points", self.clouds.append, 10
        )
        self.until(lambda: self.node.wanted)
        for name, one in self.publishers.items():
            if self.node._given.asks_for(name):
                self.until(lambda one=one: one.get_subscription_count())
        self.node._look_around()
        return self

    def until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (self.node.errors.last, self.node.matcher.dropped)
            self.executor.spin_once(timeout_sec=0.05)

    def send(self, **messages):
        for name, message in messages.items():
            self.publishers[name].publish(message)

    def cloud(self, **messages):
        """The cloud that follows."""
        before = len(self.clouds)
        self.send(**messages)
        self.until(lambda: len(self.clouds) > before)
        return self.clouds[-1]

    def refusal(self, **messages):
        """Why there is none."""
        before = self.node.matcher.dropped[Lack.REFUSED] + self.node._refused
        self.send(**messages)
        self.until(lambda: self.node.matcher.dropped[Lack.REFUSED] + self.node._refused > before)
        return self.node.errors.last[0]

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        self.others.destroy_node()


@pytest.fixture
def robot(ros):
    made = []

    def make(*topics, **given):
        made.append(Robot(*topics, **given))
        return made[-1]

    yield make
    for one in made:
        one.close()


def header(stamp=1, frame="lens"):
    return Header(stamp=to_stamp(stamp), frame_id=frame)


def calibration(width=4, height=3, **changes):
    given = {
        "header": header(),
        "width": width,
        "height": height,
        "distortion_model": "plumb_bob",
        "d": [0.0] * 5,
        "k": [2.0, 0.0, 1.0, 0.0, 2.0, 1.0, 0.0, 0.0, 1.0],
        "p": [4.0, 0.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    }
    return CameraInfo(**{**given, **changes})


def frame(stamp=1, width=4, height=3, **changes):
    """Labels 0, 1, 2 ... with depth of 2 m, under one stamp."""
    labels = np.arange(width * height, dtype=np.uint8).reshape(height, width)
    given = {
        "labels": labels_to_msg(labels, header(stamp)),
        "depth": depth_to_msg(np.full((height, width), 2, np.float32), header(stamp)),
        "info": calibration(width, height),
    }
    return {**given, **changes}


def street(camera, cloud):
    """What the renderer says of a cloud's moment: its camera, depth and labels."""
    seconds = (to_nanoseconds(cloud.header.stamp) - camera._start) / 1e9
    return camera._world.camera(seconds), World(7, *SIZE).render(seconds, measured=True)


@pytest.mark.parametrize("organized", [False, True])
def test_points_are_where_the_renderer_has_put_them(robot, organized):
    given = {"seed": 7, "rate": 20.0, "width": SIZE[0], "height": SIZE[1], "frame_id": "lens"}
    camera = ToytownCamera(
        namespace=SPACE, parameter_overrides=[Parameter(name, value=value) for name, value in given.items()]
    )
    one = robot(
        remap=(
            "activesam/labels:=ground_truth/labels",
            "activesam/instances:=ground_truth/instances",
            "depth:=depth_registered/image_raw",
        ),
        organized=organized,
        confidence=False,
    )
    try:
        one.executor.add_node(camera)
        one.listen()
        one.until(lambda: len(one.clouds) > 2 and points_in(one.clouds[-1])["instance"].any())
        cloud = one.clouds[-1]
        view, truth = street(camera, cloud)
    finally:
        one.executor.remove_node(camera)
        camera.destroy_node()
    points = points_in(cloud)
    known = truth.depth < 65.5
    assert cloud.header.frame_id == "lens" and cloud.is_dense != organized
    assert (cloud.height, cloud.width) == ((SIZE[1], SIZE[0]) if organized else (1, known.sum()))
    if organized:
        assert np.isnan(points[~known]["z"]).all()
        points = points[known]
    points = points.reshape(-1)
    rows, columns = np.nonzero(known)
    # Depth is sent in whole millimetres: half of one, and a little for float32.
    depth = truth.depth[known]
    assert np.abs(points["z"] - depth).max() < 0.00051
    right = (columns - view.centre[0]) / view.focal * depth
    down = (rows - view.centre[1]) / view.focal * depth
    for name, expected in (("x", right), ("y", down)):
        assert np.abs(points[name] - expected).max() < 0.001
    assert np.array_equal(points["label"], truth.labels[known])
    assert np.array_equal(points["instance"], truth.instances[known])
    road = points[points["label"] == CLASSES.index("road")]
    # The eye is that far above the street, and y points down.
    assert len(road) > 500 and np.abs(road["y"] - view.y).max() < 0.001


def test_points_have_class_colour_confidence_and_instance(robot):
    words = Vocabulary.from_names(["road", "car", "sky"])
    one = robot("labels", "confidence", "instances", "depth", "info", "vocabulary")
    one.send(vocabulary=vocabulary_to_msg(words, 1, header()))
    one.until(lambda: one.node._maker.vocabulary)
    one.listen()
    sure = np.full((3, 4), 0.6, np.float32)
    labels = np.array([[0, 1, 2, 255]] * 3, np.uint8)
    ids = np.arange(12, dtype=np.uint16).reshape(3, 4)
    cloud = one.cloud(
        **frame(5, labels=labels_to_msg(labels, header(5))),
        confidence=confidence_to_msg(sure, labels, 255, header(5)),
        instances=ids_to_msg(ids, header(5)),
    )
    assert cloud.header == header(5) and points_in(cloud).dtype == POINT_AS_SENT
    points = points_in(cloud).reshape(-1)
    assert np.array_equal(points["label"], labels.ravel()) and np.array_equal(points["instance"], ids.ravel())
    assert points["confidence"] == pytest.approx(np.where(labels.ravel() == 255, 0, 0.6))
    colours = points["rgb"].view(np.uint32).reshape(3, 4)[0]
    expected = [red << 16 | green << 8 | blue for red, green, blue in words.colours]
    assert colours.tolist() == [*expected, 0]


# Colours are floats for PCL and RViz.
POINT_AS_SENT = np.dtype([(name, "<f4" if name == "rgb" else POINT[name]) for name in POINT.names])


def test_points_of_some_classes_alone(robot):
    one = robot("labels", "depth", "info", "vocabulary", leave_out=["Road"]).listen()
    assert "no vocabulary has come" in one.refusal(**frame())
    one.send(vocabulary=vocabulary_to_msg(Vocabulary.from_names(["road", "car", "sky"]), 1, header()))
    one.until(lambda: one.node._maker.vocabulary)
    # Ids 0 to 11, of which the vocabulary has three.
    assert points_in(one.cloud(**frame(2)))["label"].ravel().tolist() == list(range(1, 12))
    for classes, expected in ((["car", "road"], [1]), ([], list(range(1, 12))), (["ocean"], [])):
        assert one.node.set_parameters([Parameter("classes", Parameter.Type.STRING_ARRAY, classes)])[
            0
        ].successful
        stamp = 3 + len(one.clouds)
        assert points_in(one.cloud(**frame(stamp)))["label"].ravel().tolist() == expected


def test_nothing_is_subscribed_for_nobody(robot):
    one = robot("labels", "depth", "info")
    one.until(lambda: one.statuses)
    assert not one.node.wanted and one.publishers["labels"].get_subscription_count() == 0
    one.listen()
    one.cloud(**frame())
    one.others.destroy_subscription(one.listening)
    one.until(lambda: not one.node.wanted)
    one.until(lambda: one.publishers["labels"].get_subscription_count() == 0)


def test_what_is_not_asked_for_is_not_subscribed_and_may_change(robot):
    one = robot("labels", "instances", "depth", "info", instances=False).listen()
    assert one.publishers["instances"].get_subscription_count() == 0
    assert not points_in(one.cloud(**frame()))["instance"].any()
    assert one.node.set_parameters([Parameter("instances", value=True)])[0].successful
    one.until(lambda: one.publishers["instances"].get_subscription_count() == 1)


def test_parameters_are_checked_and_change_while_it_runs(robot):
    one = robot("labels", "depth", "info", max_range=3).listen()
    assert one.cloud(**frame()).width == 12

    def set_(**values):
        made = [Parameter(name, value=value) for name, value in values.items()]
        return one.node.set_parameters_atomically(made)

    assert set_(stride=2, organized=True).successful
    cloud = one.cloud(**frame(2))
    assert (cloud.height, cloud.width) == (2, 2)
    # A whole number is a number; the pixel in the middle is the only one as near as this.
    assert set_(max_range=2.1, stride=1, organized=False, min_range=1).successful
    assert one.cloud(**frame(3)).width == 1
    for values, said in (
        ({"stride": 0}, "stride"),
        ({"max_range": math.nan}, "max_range"),
        ({"min_range": 5.0}, "max_range is 2.1 and min_range 5; expected more"),
        ({"slop": "much"}, "slop"),
        ({"queue_size": True}, "queue_size"),
    ):
        result = set_(**values)
        # Some are refused by rclpy, in words of its own.
        assert (not result.successful and said in result.reason) or "Wrong parameter type" in result.reason
    assert one.cloud(**frame(4)).width == 1
    with pytest.raises(SettingsError, match="stride is 0; expected 1 to 1000"):
        robot(stride=0)
    with pytest.raises(SettingsError, match="organized is 'perhaps'; expected true or false"):
        robot(organized="perhaps")


def test_a_rectified_image_and_distortion_are_told_apart(robot):
    one = robot("labels", "depth", "info", rectified=True).listen()
    point = points_in(one.cloud(**frame()))[0, 0]
    assert (point["x"], point["y"], point["z"]) == (0, 0, 2)
    assert one.node.set_parameters([Parameter("rectified", value=False)])[0].successful
    point = points_in(one.cloud(**frame(2)))[0, 0]
    assert (point["x"], point["y"], point["z"]) == (-1, -1, 2)
    assert "'mirror ball' is not known" in one.refusal(
        **frame(3, info=calibration(distortion_model="mirror ball"))
    )


def test_metres_and_other_sizes_of_depth_are_taken(robot):
    one = robot("labels", "depth", "info").listen()
    metres = np.array([[1.5, np.nan], [0, np.inf]], np.float32)
    image = Image(header=header(), height=2, width=2, encoding="32FC1", step=8)
    image.data = array.array("B", metres.tobytes())
    cloud = one.cloud(**frame(1, 8, 8, depth=image))
    assert cloud.width == 16 and set(points_in(cloud)["z"].ravel().tolist()) == {1.5}
    nothing = depth_to_msg(np.zeros((3, 4), np.float32), header(2))
    assert one.cloud(**frame(2, depth=nothing)).width == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"depth": depth_to_msg(np.ones((3, 4), np.float32), header(1, "infrared"))}, "'infrared'.*'lens'"),
        ({"info": calibration(header=header(1, "left"))}, "camera info is in the frame 'left'"),
        ({"info": calibration(8, 6)}, "8x6 pixels, but the labels have 4x3"),
        ({"info": calibration(k=[0.0] * 9)}, "fx 0 and fy 0"),
        ({"info": calibration(k=[math.nan] * 9)}, "fx nan"),
        ({"info": calibration(d=[math.inf] * 5)}, "no numbers"),
        ({"depth": depth_to_msg(np.ones((4, 4), np.float32), header(1))}, "4x4 and the label image 4x3"),
        ({"depth": labels_to_msg(np.ones((3, 4), np.uint8), header(1))}, "'mono8' holds no depth"),
        ({"depth": Image(header=header(1), encoding="16UC1")}, "0x0"),
        ({"depth": Image(header=header(1), encoding="16UC1", height=3, width=4, step=8)}, "0 bytes"),
        ({"labels": Image(header=header(1), encoding="rgb8", height=3, width=4, step=12)}, "no class ids"),
        ({"confidence": labels_to_msg(np.ones((9, 9), np.uint8), header(1))}, "9x9 and the label image 4x3"),
        ({"confidence": ids_to_msg(np.ones((3, 4), np.uint16), header(1))}, "expected mono8"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence_and_the_stream_goes_on(robot, changes, said):
    topics = {"labels", "depth", "info", *changes}
    one = robot(*topics).listen()
    # The camera info first, which is not waited for.
    info = frame(**changes)["info"]
    one.send(info=info)
    one.until(lambda: one.node._info)
    given = {name: message for name, message in frame(**changes).items() if name != "info"}
    assert re.search(said, one.refusal(**given))
    again = (
        {"confidence": labels_to_msg(np.ones((3, 4), np.uint8), header(2))} if "confidence" in topics else {}
    )
    assert one.cloud(**frame(2), **again).width == 12
    assert one.node.matcher.dropped[Lack.REFUSED] == 1 and not one.node.errors.faults


def test_it_says_what_is_lacking(robot, monkeypatch):
    monkeypatch.setattr("activesam_ros.ros.labelled_points.SILENT_SECONDS", -1.0)
    one = robot().listen()
    assert f"nobody publishes /{SPACE}/activesam/labels: start the node activesam" in one.node._view().silence


def lacking(stamps, kept=3, expected=(), **others):
    """What is said after labels with these stamps, beside depth with 1, 2, 3 ... 6; `others`: inputs."""
    matcher = PointMatcher()
    matcher.queue_size, matcher.expected, matcher.has_camera_info = kept, expected, True
    for stamp in range(1, 7):
        matcher.add_depth(1_000_000 * stamp, None, 1)
    for stamp in stamps:
        matcher.add("labels", round(1_000_000 * stamp), None)
    names = ("labels", "confidence", "instances", "depth", "camera_info")
    inputs = {name: Input(f"/{name}", "Image", {"Image"}, name != "confidence") for name in names}
    return why_none({**inputs, **others}, matcher)


def test_it_says_why_labels_become_no_points():
    silent, other = Input("/depth", "Image", {"Image"}, 0), Input("/depth", "Image", {"PointCloud2"}, 0)
    assert "nothing comes on /depth" in lacking([9], depth=silent)
    assert "/depth carries PointCloud2, but Image is expected: start the depth" in lacking([9], depth=other)
    assert "none with depth of their stamp yet" in lacking([9])
    assert "more than 3 depth images after theirs: raise queue_size" in lacking([1, 9, 10, 11, 12, 13])
    assert "the nearest is 0.5 ms apart: set slop" in lacking([4.5, 9, 10, 11, 12, 13])
    assert "see /confidence, or set the parameter confidence to false" in lacking(
        [4, 9, 10, 11, 12, 13], expected=["confidence"]
    )


def test_the_page_says_by_which_rule_the_diagnostics_speak(robot):
    text = PAGE.read_text()
    assert re.findall(r"^\| (OK|WARN|ERROR|STALE) \| (.*) \|$", text, re.M) == [
        (rule.level.name, rule.when) for rule in POINTS_RULES
    ]
    table = text.partition("| value | meaning |")[2].partition("\n\n")[0]
    named = {
        name for cell in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall("`([^`]+)`", cell)
    }
    one = robot("labels", "depth", "info").listen()
    one.cloud(**frame())
    one.refusal(depth=Image(), labels=Image())
    assert set(points_status(one.node._view()).values) == named


@pytest.mark.parametrize(
    ("view", "level", "said"),
    [
        (PointsView(False), Level.OK, "idle"),
        (PointsView(True), Level.OK, "waiting for the first labels"),
        (PointsView(True, silence="nobody publishes /depth"), Level.STALE, "nobody publishes /depth"),
        (
            PointsView(True, recent_refused=3, last_error="it is empty", silence="x"),
            Level.ERROR,
            "lately 3: it is empty",
        ),
        (
            PointsView(True, recent_refused=3, recent_published=1, last_error="it is empty"),
            Level.WARN,
            "lately: 3",
        ),
        (
            PointsView(True, recent_published=5, recent_seconds=2.0, since_cloud=0.1),
            Level.OK,
            "2.5 clouds a second",
        ),
    ],
)
def test_the_diagnostics_say_how_it_is(view, level, said):
    status = points_status(view)
    assert status.level == level and said in status.message


def test_the_program_ends_by_a_signal_and_says_what_it_cannot_begin_with(dds_environment, tmp_path):
    program = ("-m", "activesam_ros.ros.labelled_points", "--ros-args")
    refused = Program(tmp_path / "refused.log", *program, "-p", "min_range:=5.0", "-p", "max_range:=2.0")
    running = Program(
        tmp_path / "running.log", *program, "-p", "leave_out:=[road, sky]", "-p", "max_range:=20"
    )
    try:
        running.wait_for_log("points on /labelled_points/points from /activesam/labels")
        assert running.end() == 0 and "Traceback" not in running.log
        assert refused.wait() == 1
        (line,) = [one for one in refused.log.splitlines() if "FATAL" in one]
        assert line.endswith("or 0 for no limit") and "max_range is 2 and min_range 5" in line
    finally:
        for one in (refused, running):
            one.kill()


def test_no_message_ends_it(robot, monkeypatch):
    monkeypatch.setenv("ROS_PYTHON_CHECK_FIELDS", "1")
    one = robot("labels", "confidence", "instances", "depth", "info", "vocabulary").listen()
    chance, hostile, images = random.Random(5), Hostile(6), _images(Hostile(7), random.Random(8))
    service = one.others.create_client(SetParameters, "labelled_points/set_parameters")
    for turn in range(150):
        stamps = [to_stamp(chance.choice((0, turn, 2**62))) for _ in range(2)]
        for name in ("labels", "confidence", "instances", "depth"):
            image = next(images)
            if chance.random() < 0.8:
                image.header = Header(stamp=chance.choice(stamps), frame_id="lens")
            if name == "depth" and chance.random() < 0.5:
                image.encoding = chance.choice(("16UC1", "32FC1"))
            one.send(**{name: image})
        info = hostile.fill(CameraInfo())
        if chance.random() < 0.5:
            info.header.frame_id, info.width, info.height = "lens", 8, 8
        one.send(info=info, vocabulary=hostile.fill(msg.Vocabulary()))
        asked = hostile.fill(SetParameters.Request())
        for parameter in asked.parameters:
            parameter.name = chance.choice([spec.name for spec in SPECS])
        service.call_async(asked)
        for _ in range(8):
            one.executor.spin_once(timeout_sec=0.01)
    for spec in SPECS:
        assert one.node.set_parameters([Parameter(spec.name, value=spec.default)])[0].successful
    words = Vocabulary.from_names(["road"])
    one.send(vocabulary=vocabulary_to_msg(words, 1, header()))
    labels = np.zeros((3, 4), np.uint8)
    before, stamp = one.node.published, 77_000_000_000
    extra = {
        "confidence": confidence_to_msg(np.ones((3, 4), np.float32), labels, 255, header(stamp)),
        "instances": ids_to_msg(np.ones((3, 4), np.uint16), header(stamp)),
    }
    deadline = time.monotonic() + PATIENCE
    while one.node.published == before:
        assert time.monotonic() < deadline, one.node.errors.last
        one.send(**frame(stamp), **extra)
        for _ in range(20):
            one.executor.spin_once(timeout_sec=0.01)
    matcher = one.node.matcher
    assert matcher.received == one.node.published + matcher.dropped.total() + matcher.waiting
    one.until(lambda: one.clouds and one.clouds[-1].width == 12)
