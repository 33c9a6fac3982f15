"""Where images come from: what is subscribed, when, and what becomes of an image that comes."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from rclpy.qos import HistoryPolicy, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from activesam_ros.configuration import group_of
from activesam_ros.ros import camera_input
from activesam_ros.ros.camera_input import CameraInput
from activesam_ros.ros.inbox import Drop, FrameCounts, Inbox
from activesam_ros.ros.parameters import DEFAULTS, Policy, Setup

from .recording import RecordingNode


class Bench:
    """An input with all that it is given."""

    def __init__(self, name="", node=None, **parameters):
        self.values = {**DEFAULTS, **parameters}
        self.node = node or RecordingNode()
        setup = group_of(Setup, self.values)
        self.inbox = Inbox([name], setup.queue_size if setup.queue == "all" else None)
        self.inbox.open()
        self.told = []
        self.input = CameraInput(
            self.node,
            name,
            setup,
            lambda: group_of(Policy, self.values),
            self.inbox,
            lambda: self.told.append("overflowed"),
            lambda: self.told.append("incompatible"),
        )
        self.name = name

    def send(self, *numbers):
        """Images come, numbered by their stamps."""
        for number in numbers:
            message = self.node.subscriptions[self.input.topic].kind()
            message.header.stamp.sec = number
            self.node.subscriptions[self.input.topic].callback(message)

    def taken(self):
        ((_, frame),) = self.inbox.take()
        return frame

    @property
    def counts(self):
        return self.inbox.counts(self.name)


@pytest.fixture
def now(monkeypatch):
    """The seconds that pass, as the input sees them."""
    clock = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(camera_input, "time", SimpleNamespace(monotonic=lambda: clock.seconds))
    return clock


@pytest.mark.parametrize(
    ("name", "transport", "remapped", "topic", "info"),
    [
        ("", "raw", {}, "/image", "/camera_info"),
        ("", "raw", {"image": "/camera/image_raw"}, "/camera/image_raw", "/camera/camera_info"),
        (
            "",
            "compressed",
            {"image": "/camera/image_raw"},
            "/camera/image_raw/compressed",
            "/camera/camera_info",
        ),
        ("front", "raw", {}, "/front/image", "/front/camera_info"),
        ("front", "compressed", {"front/image": "/a/b/c"}, "/a/b/c/compressed", "/a/b/camera_info"),
    ],
)
def test_topics_are_named_as_image_transport_does(name, transport, remapped, topic, info):
    node = RecordingNode()
    node.remapped = remapped
    bench = Bench(name, node, image_transport=transport)
    assert bench.input.topic == bench.input.listener.topic == topic
    bench.input.listen()
    assert {one.topic: one.kind for one in node.subscriptions.values()} == {
        topic: Image if transport == "raw" else CompressedImage,
        info: CameraInfo,
    }
    assert bench.input.listener.remapped == (f"{name}/image" if name else "image")
    assert bench.input.listener.transport == transport


def test_nothing_is_subscribed_until_it_is_asked_for_and_once():
    bench = Bench()
    assert not bench.input.listening and not bench.node.subscriptions
    for _ in range(2):
        bench.input.listen()
        assert bench.input.listening and len(bench.node.subscriptions) == 2
    for _ in range(2):
        bench.input.leave()
        assert not bench.input.listening and not bench.node.subscriptions
    bench.input.listen()
    assert bench.input.listening and len(bench.node.subscriptions) == 2


@pytest.mark.parametrize(
    ("queue", "reliability", "history"),
    [
        ("newest", ReliabilityPolicy.BEST_EFFORT, HistoryPolicy.KEEP_LAST),
        ("all", ReliabilityPolicy.RELIABLE, HistoryPolicy.KEEP_ALL),
    ],
)
def test_the_queue_decides_what_quality_is_asked_for(queue, reliability, history):
    bench = Bench(queue=queue)
    bench.input.listen()
    for topic in ("/image", "/camera_info"):
        profile = bench.node.subscriptions[topic].qos_profile
        assert (profile.reliability, profile.history) == (reliability, history)
    assert bench.input.listener.profile == bench.node.subscriptions["/image"].qos_profile


def test_the_callback_only_hands_over():
    bench = Bench()
    bench.input.listen()
    bench.send(1, 2)
    assert bench.counts == FrameCounts(received=2, waiting=1, dropped=((Drop.SUPERSEDED, 1),))
    assert bench.taken().message.header.stamp.sec == 2
    assert bench.told == [] and bench.node.published == []


def test_a_frame_knows_when_it_came(now):
    bench = Bench()
    bench.input.listen()
    now.seconds = 1234.5
    bench.send(1)
    assert bench.taken().arrived == 1234.5


def test_what_was_received_stays_when_the_subscription_goes():
    bench = Bench()
    bench.input.listen()
    bench.send(1)
    bench.input.leave()
    assert bench.taken().message.header.stamp.sec == 1


def test_every_frame_that_comes_to_a_full_queue_is_told():
    bench = Bench(queue="all", queue_size=2)
    bench.input.listen()
    bench.send(1, 2)
    assert bench.told == []
    bench.send(3, 4)
    assert bench.told == ["overflowed", "overflowed"]
    assert bench.counts == FrameCounts(received=4, waiting=2, dropped=((Drop.QUEUE_FULL, 2),))
    assert [bench.taken().message.header.stamp.sec for _ in range(2)] == [1, 2]


def test_frames_over_the_rate_are_dropped_by_the_nodes_clock_and_the_rate_of_the_moment():
    bench = Bench(queue="all")
    bench.input.listen()
    bench.send(1, 2)
    assert bench.counts.waiting == 2
    bench.values["max_rate"] = 2.0
    for tenths in range(10):
        bench.node.seconds = 200 + tenths / 10
        bench.send(3)
    assert bench.counts == FrameCounts(received=12, waiting=4, dropped=((Drop.OVER_RATE, 8),))
    bench.values["max_rate"] = 0.0
    bench.send(4, 5)
    assert bench.counts.waiting == 6 and bench.told == []


def test_frames_of_a_node_that_is_not_active_are_dropped_as_that():
    bench = Bench(queue="all", queue_size=1)
    bench.input.listen()
    bench.inbox.shut()
    bench.send(1, 2)
    assert bench.counts == FrameCounts(received=2, dropped=((Drop.DEACTIVATED, 2),)) and bench.told == []


def test_a_publisher_that_does_not_fit_is_told():
    bench = Bench()
    bench.input.listen()
    bench.node.subscriptions["/image"].event_callbacks.incompatible_qos(None)
    assert bench.told == ["incompatible"]


def test_a_middleware_without_events_will_do():
    bench = Bench(node=RecordingNode(events=False))
    bench.input.listen()
    bench.send(1)
    assert bench.taken().message.header.stamp.sec == 1


def test_silence_counts_from_the_last_image_or_the_subscription(now):
    bench = Bench()
    assert bench.input.silent_for is None and bench.input.since_image is None
    bench.input.listen()
    now.seconds += 3
    assert bench.input.silent_for == 3 and bench.input.since_image is None
    bench.send(1)
    now.seconds += 4
    assert bench.input.silent_for == bench.input.since_image == 4
    bench.input.leave()
    assert bench.input.silent_for is None and bench.input.since_image == 4
    now.seconds += 5
    bench.input.listen()
    now.seconds += 1
    assert bench.input.silent_for == 1 and bench.input.since_image == 10
    # An image over the rate is a sign of life as well.
    bench.values["max_rate"] = 1.0
    bench.send(2, 3)
    assert bench.input.silent_for == 0 and bench.counts.total_dropped > 0


def test_calibration_comes_under_the_header_of_the_image():
    bench = Bench("front")
    wanted = Header(frame_id="lens")
    assert bench.input.info(wanted) is None
    bench.input.listen()
    bench.node.subscriptions["/front/camera_info"].callback(CameraInfo(width=640))
    bench.input.leave()
    info = bench.input.info(wanted)
    assert (info.width, info.header) == (640, wanted)


def test_calibration_is_kept_for_every_frame_that_may_wait():
    bench = Bench(queue="all", queue_size=40)
    bench.input.listen()
    for second in range(40):
        bench.send(second)
        info = CameraInfo(width=second)
        info.header.stamp.sec = second
        bench.node.subscriptions["/camera_info"].callback(info)
    for second in range(40):
        assert bench.input.info(bench.taken().message.header).width == second


def test_calibration_from_before_a_pause_is_forgotten():
    bench = Bench()
    bench.input.listen()
    bench.node.subscriptions["/camera_info"].callback(CameraInfo(width=640))
    bench.input.leave()
    bench.input.listen()
    assert bench.input.info(Header()) is None
