"""One camera: when its images are subscribed, and what becomes of an image and of its camera info."""

import random
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from rclpy.qos import HistoryPolicy, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from activesam_ros.configuration.configuration import group_of
from activesam_ros.instances import Instance
from activesam_ros.ros import camera as camera_module
from activesam_ros.ros import qos
from activesam_ros.ros.camera import Camera, InfoCache, RateLimit
from activesam_ros.ros.frame_queue import Drop, FrameCounts, FrameQueue
from activesam_ros.ros.logs import ErrorLog
from activesam_ros.ros.parameters import DEFAULTS, Policy, Setup
from activesam_ros.ros.publishers import Demand
from activesam_ros.settings import SegmenterSettings
from activesam_ros.vocabulary import Vocabulary

from .recording import RecordingNode


class Bench:
    """A camera with all that it is given."""

    def __init__(self, name="", node=None, **parameters):
        self.values = {**DEFAULTS, **parameters}
        self.node = node or RecordingNode()
        self.setup = group_of(Setup, self.values)
        self.frames = FrameQueue([name], self.setup.queue_size if self.setup.queue == "all" else None)
        self.frames.open()
        self.errors = ErrorLog(self.node.get_logger(), period=0.0)
        self.camera = Camera(self.node, name, self, self.frames, self.errors)
        self.name = name

    @property
    def policy(self):
        return group_of(Policy, self.values)

    def subscribe(self):
        """The images as the node subscribes them while somebody wants labels."""
        self.want(1)
        self.camera.activate(True)
        return self

    def want(self, subscribers):
        self.node.subscribers[f"{self.name}/labels".lstrip("/")] = subscribers
        self.camera.follow_demand()

    def send(self, *numbers):
        """Images come, numbered by their stamps."""
        for number in numbers:
            subscription = self.node.subscriptions[self.camera.image.topic]
            message = subscription.kind()
            message.header.stamp.sec = number
            subscription.callback(message)

    def taken(self):
        (frame,) = self.frames.take()
        return frame

    @property
    def counts(self):
        return self.frames.counts(self.name)

    @property
    def lost(self):
        return [line for line in self.node.logged if "a frame was lost" in line]


@pytest.fixture
def now(monkeypatch):
    """The seconds that pass, as the camera sees them."""
    clock = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(camera_module, "time", SimpleNamespace(monotonic=lambda: clock.seconds))
    return clock


@pytest.mark.parametrize(
    ("name", "title", "prefix"), [("", "camera", ""), ("front", "camera front", "front: ")]
)
def test_sentences_name_it_unless_it_is_the_only_one(name, title, prefix):
    camera = Bench(name).camera
    assert (camera.name, camera.title, camera.prefix) == (name, title, prefix)


def test_images_are_subscribed_while_active_and_wanted():
    bench = Bench("front")
    camera, node = bench.camera, bench.node
    assert not camera.subscribed and not node.subscriptions
    bench.want(1)
    assert camera.demand is Demand.NOTHING and not camera.subscribed
    camera.activate(True)
    assert camera.demand is Demand.LABELS and camera.subscribed and len(node.subscriptions) == 2
    bench.want(0)
    assert camera.demand is Demand.NOTHING and not camera.subscribed
    node.subscribers["front/active_classes"] = 1
    camera.follow_demand()
    assert camera.demand is Demand.PREVIEW and camera.subscribed
    camera.activate(False)
    assert camera.demand is Demand.NOTHING and not camera.subscribed
    assert node.subscriptions == {}


def test_comers_and_goers_are_followed_at_once():
    bench = Bench()
    bench.camera.activate(True)
    for subscribers in (1, 0):
        bench.node.subscribers["overlay"] = subscribers
        bench.node.publishers["overlay"].event_callbacks.matched(None)
        assert bench.camera.subscribed is bool(subscribers)


def test_the_log_says_when_images_are_taken_and_why_not():
    bench = Bench("front")
    bench.camera.activate(True)
    assert bench.node.logged == []
    for subscribers in (1, 1, 0, 0, 1):
        bench.want(subscribers)
    bench.camera.activate(False)
    taken = "front: images are taken from /front/image"
    assert bench.node.logged == [
        taken,
        "front: no images are taken: nobody subscribes to the results any more",
        taken,
        "front: no images are taken: the node is not active any more",
    ]


@pytest.mark.parametrize(("parameters", "depth"), [({}, 1), ({"queue": "all", "queue_size": 7}, 7)])
def test_slow_subscribers_may_lag_as_far_as_frames_wait(parameters, depth):
    assert Bench(**parameters).node.publishers["labels"].profile.depth == depth


def test_every_new_subscription_begins_without_memory_of_frames():
    bench = Bench("front")
    memories = [bench.camera.memory]
    bench.camera.activate(True)
    for _ in range(2):
        bench.want(1)
        memories.append(bench.camera.memory)
        bench.camera.follow_demand()
        assert bench.camera.memory is memories[-1]
        bench.want(0)
    assert len(set(map(id, memories))) == 3


def instances(memory, *tops):
    """Squares of the next frame, with the ids that the memory gives them."""
    cells = np.ones((8, 8), np.float32)
    given = [
        Instance(0, "road", 0.9, (0, 0, 8, 8), 0, 0, (64, 64), (64, 64), (top, 0), cells) for top in tops
    ]
    plan = memory.plan(np.zeros((64, 64, 3), np.uint8), ("road",), SegmenterSettings())
    return [one.id for one in plan.identify(given, Vocabulary.from_names(["road"]))]


def test_no_id_is_given_twice_in_an_activation_whatever_is_in_work_while_subscribers_come_and_go():
    bench = Bench()
    bench.camera.activate(True)
    bench.want(1)
    in_work = bench.camera.memory
    assert instances(in_work, 0) == [1]
    bench.want(0)
    bench.want(1)
    assert instances(in_work, 0, 20) == [1, 2]
    # The thing that was there keeps its id, over a short time without subscribers too.
    assert instances(bench.camera.memory, 0, 40) == [1, 3]
    assert bench.camera.ids_given == 3
    bench.camera.activate(False)
    bench.camera.activate(True)
    assert instances(bench.camera.memory, 0) == [1] and bench.camera.ids_given == 1


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
    image = Bench(name, node, image_transport=transport).subscribe().camera.image
    assert (image.topic, image.transport) == (topic, transport)
    assert image.remapped == (f"{name}/image" if name else "image")
    kind = Image if transport == "raw" else CompressedImage
    assert {one.topic: one.kind for one in node.subscriptions.values()} == {topic: kind, info: CameraInfo}


@pytest.mark.parametrize(
    ("queue", "reliability", "history"),
    [
        ("newest", ReliabilityPolicy.BEST_EFFORT, HistoryPolicy.KEEP_LAST),
        ("all", ReliabilityPolicy.RELIABLE, HistoryPolicy.KEEP_ALL),
    ],
)
def test_the_queue_decides_what_qos_is_asked_for(queue, reliability, history):
    bench = Bench(queue=queue).subscribe()
    for topic in ("/image", "/camera_info"):
        profile = bench.node.subscriptions[topic].qos_profile
        assert (profile.reliability, profile.history) == (reliability, history)
    assert bench.camera.image.profile == bench.node.subscriptions["/image"].qos_profile


def test_the_callback_only_hands_over_with_the_time_of_arrival(now):
    bench = Bench().subscribe()
    bench.send(1)
    now.seconds = 1234.5
    bench.send(2)
    assert bench.counts == FrameCounts(received=2, waiting=1, dropped=((Drop.SUPERSEDED, 1),))
    bench.camera.unsubscribe()
    frame = bench.taken()
    assert (frame.message.header.stamp.sec, frame.arrived, frame.camera) == (2, 1234.5, "")
    assert bench.node.published == [] and bench.lost == []


def test_every_frame_that_comes_to_a_full_queue_is_an_error():
    bench = Bench("front", queue="all", queue_size=2).subscribe()
    bench.send(1, 2)
    assert bench.lost == []
    bench.send(3, 4)
    assert len(bench.lost) == 2 and bench.lost[0].startswith("front: a frame was lost, since 2 were waiting")
    assert bench.errors.last[0] == bench.lost[0]
    assert bench.counts == FrameCounts(received=4, waiting=2, dropped=((Drop.QUEUE_FULL, 2),))
    assert [bench.taken().message.header.stamp.sec for _ in range(2)] == [1, 2]


def test_frames_over_the_rate_are_dropped_by_the_nodes_clock_and_the_rate_of_the_moment():
    bench = Bench(queue="all").subscribe()
    bench.send(1, 2)
    assert bench.counts.waiting == 2
    bench.values["max_rate"] = 2.0
    for tenths in range(10):
        bench.node.seconds = 200 + tenths / 10
        bench.send(3)
    assert bench.counts == FrameCounts(received=12, waiting=4, dropped=((Drop.OVER_RATE, 8),))
    bench.values["max_rate"] = 0.0
    bench.send(4, 5)
    assert bench.counts.waiting == 6 and bench.lost == []


def test_frames_of_a_node_that_is_not_active_are_dropped_as_that():
    bench = Bench(queue="all", queue_size=1).subscribe()
    bench.frames.shut()
    bench.send(1, 2)
    assert bench.counts == FrameCounts(received=2, dropped=((Drop.DEACTIVATED, 2),)) and bench.lost == []


def test_a_publisher_whose_qos_does_not_fit_is_warned_of_now_and_then():
    bench = Bench("front", queue="all").subscribe()
    node = bench.node
    unfit = TopicEndpointInfo(
        node_name="driver",
        node_namespace="/",
        topic_type="sensor_msgs/msg/Image",
        qos_profile=qos.image_in("newest"),
    )
    node.get_publishers_info_by_topic = lambda topic: [unfit] if topic == "/front/image" else []
    for _ in range(2):
        node.subscriptions["/front/image"].event_callbacks.incompatible_qos(None)
    (warning,) = [line for line in node.logged if "cannot be received" in line]
    assert warning.startswith("front: the images that /driver publishes on /front/image cannot be received")
    assert bench.camera.image_publishers() == [unfit]
    bench.want(0)
    assert bench.camera.image_publishers() == []


def test_camera_info_whose_qos_does_not_fit_is_warned_of_with_the_remedy():
    bench = Bench("front", queue="all").subscribe()
    node, topic = bench.node, "/front/camera_info"
    unfit = TopicEndpointInfo(
        node_name="driver",
        node_namespace="/",
        topic_type="sensor_msgs/msg/CameraInfo",
        qos_profile=qos.image_in("newest"),
    )
    node.get_publishers_info_by_topic = lambda asked: [unfit] if asked == topic else []
    for _ in range(2):
        node.subscriptions[topic].event_callbacks.incompatible_qos(None)
    (warning,) = [line for line in node.logged if "cannot be received" in line]
    assert warning.startswith(f"front: the camera info that /driver publishes on {topic} cannot be received")
    assert f"qos_overrides.{topic}.subscription.reliability: best_effort" in warning


def test_a_middleware_without_events_will_do():
    bench = Bench(node=RecordingNode(events=False)).subscribe()
    bench.send(1)
    assert bench.taken().message.header.stamp.sec == 1


def test_silence_counts_from_the_last_image_or_the_subscription(now):
    bench = Bench()
    camera = bench.camera
    assert camera.silent_for is None and camera.since_image is None
    bench.subscribe()
    now.seconds += 3
    assert camera.silent_for == 3 and camera.since_image is None
    bench.send(1)
    now.seconds += 4
    assert camera.silent_for == camera.since_image == 4
    bench.want(0)
    assert camera.silent_for is None and camera.since_image == 4
    now.seconds += 5
    bench.want(1)
    now.seconds += 1
    assert camera.silent_for == 1 and camera.since_image == 10
    # An image over the rate is a sign of life as well.
    bench.values["max_rate"] = 1.0
    bench.send(2, 3)
    assert camera.silent_for == 0 and bench.counts.total_dropped > 0


def test_camera_info_comes_under_the_header_of_the_image_and_not_from_before_a_pause():
    bench = Bench("front")
    wanted = Header(frame_id="lens")
    assert bench.camera.info(wanted) is None
    bench.subscribe().node.subscriptions["/front/camera_info"].callback(CameraInfo(width=640))
    bench.want(0)
    info = bench.camera.info(wanted)
    assert (info.width, info.header) == (640, wanted)
    bench.want(1)
    assert bench.camera.info(wanted) is None


def test_camera_info_is_kept_for_every_frame_that_may_wait():
    bench = Bench(queue="all", queue_size=40).subscribe()
    for second in range(40):
        bench.send(second)
        info = CameraInfo(width=second)
        info.header.stamp.sec = second
        bench.node.subscriptions["/camera_info"].callback(info)
    for second in range(40):
        assert bench.camera.info(bench.taken().message.header).width == second


def header(number: int, frame: str = "camera") -> Header:
    made = Header(frame_id=frame)
    made.stamp.sec, made.stamp.nanosec = number, 7 * number
    return made


def info(number: int, width: int = 640) -> CameraInfo:
    return CameraInfo(
        header=header(number, "of the info"), width=width, height=480, k=[float(number)] * 9, d=[0.5]
    )


def test_without_camera_info_there_is_nothing_to_publish():
    assert InfoCache().for_header(header(1)) is None


def test_the_one_of_the_same_stamp_is_found_even_if_later_ones_came():
    cache = InfoCache()
    for number in (1, 2, 3):
        cache.add(info(number))
    found = cache.for_header(header(2, "of the labels"))
    assert found.header == header(2, "of the labels")
    assert found.k[0] == 2.0 and found.d[0] == 0.5 and (found.width, found.height) == (640, 480)


def test_else_it_is_the_one_that_came_last_under_the_labels_header():
    cache = InfoCache()
    cache.add(info(5))
    cache.add(info(2))  # Time jumped back.
    assert cache.for_header(header(9)).k[0] == 2.0
    assert cache.for_header(header(9)).header == header(9)


def test_what_was_received_is_not_changed():
    cache, received = InfoCache(), info(1)
    cache.add(received)
    assert cache.for_header(header(4)).header == header(4)
    assert received == info(1)


def test_a_stamp_that_comes_again_replaces_the_old_one():
    cache = InfoCache()
    cache.add(info(1, width=640))
    cache.add(info(2))
    cache.add(info(1, width=320))
    assert cache.for_header(header(1)).width == 320
    assert cache.for_header(header(9)).width == 320


def test_memory_of_camera_info_is_bounded():
    cache = InfoCache(kept=3)
    for number in range(10):
        cache.add(info(number))
    assert [cache.for_header(header(number)).k[0] for number in (7, 8, 9)] == [7.0, 8.0, 9.0]
    assert cache.for_header(header(6)).k[0] == 9.0


def test_what_is_forgotten_is_not_published_any_more():
    cache = InfoCache()
    cache.add(info(1))
    cache.clear()
    assert cache.for_header(header(1)) is None
    cache.add(info(2))
    assert cache.for_header(header(1)).k[0] == 2.0


def admitted(limit: RateLimit, times, rate: float) -> list[float]:
    return [now for now in times if limit.admits(now, rate)]


def at(frequency: float, seconds: float, start: float = 100.0, jitter: float = 0.0) -> list[float]:
    dice = random.Random(1)
    return [
        start + number / frequency + dice.uniform(-jitter, jitter)
        for number in range(round(frequency * seconds))
    ]


@pytest.mark.parametrize("jitter", [0.0, 0.01])
@pytest.mark.parametrize("rate", [0.5, 1.0, 3.0, 4.0, 7.0, 9.5])
def test_the_average_rate_is_kept(rate, jitter):
    frames = admitted(RateLimit(), at(10, 60, jitter=jitter), rate)
    assert 60 * rate - 1 <= len(frames) <= 60 * rate + 2


@pytest.mark.parametrize("jitter", [0.0, 0.005])
def test_frames_slower_than_the_rate_or_as_fast_all_pass(jitter):
    assert len(admitted(RateLimit(), at(4, 50, jitter=jitter), 10.0)) == 200
    assert len(admitted(RateLimit(), at(10, 50, jitter=jitter), 10.0)) >= 498


def test_the_first_frame_passes_and_the_next_waits_its_turn():
    limit = RateLimit()
    assert [limit.admits(now, 2.0) for now in (5.0, 5.2, 5.4, 5.5, 5.9, 6.0)] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]


def test_a_pause_is_not_caught_up_with():
    limit = RateLimit()
    limit.admits(0.0, 4.0)
    after = admitted(limit, at(100, 2, start=60.0), 4.0)
    assert after[0] == 60.0 and 8 <= len(after) <= 10


def test_zero_lets_everything_pass_and_the_rate_may_change_at_any_time():
    limit = RateLimit()
    assert len(admitted(limit, at(10, 5), 0.0)) == 50
    assert 9 <= len(admitted(limit, at(10, 5, start=200.0), 2.0)) <= 11
    assert limit.admits(900.0, 0.01) and not limit.admits(901.0, 0.01)
    assert limit.admits(902.0, 5.0), "a higher rate does not wait for the lower one's turn"


def test_a_clock_that_jumps_back_starts_anew():
    limit = RateLimit()
    assert limit.admits(1000.0, 1.0)
    assert limit.admits(3.0, 1.0) and not limit.admits(3.5, 1.0) and limit.admits(4.0, 1.0)


def test_a_clock_that_nobody_has_set_yet_limits_nothing():
    limit = RateLimit()
    assert all(limit.admits(0.0, 2.0) for _ in range(20))
    # It starts, at whatever time the simulation is.
    assert [limit.admits(now, 2.0) for now in (50.0, 50.1, 50.5)] == [True, False, True]
    assert limit.admits(0.0, 2.0) and limit.admits(0.0, 2.0), "the simulation was started anew"


def test_instances_that_are_left_out_are_counted_and_told_once(monkeypatch):
    bench = Bench()
    for without_pixels, beyond in ((0, 0), (2, 0), (1, 70_000), (1, 1)):
        bench.camera.note_left_out(
            SimpleNamespace(
                instances_without_pixels=without_pixels,
                instances_beyond_limit=beyond,
                instances=[SimpleNamespace(id=number) for number in (65_535, 65_536)]
                if beyond == 1
                else None,
            )
        )
    assert (bench.camera.without_pixels, bench.camera.beyond_limit) == (4, 70_001)
    assert bench.camera.beyond_images == 1
    assert any("1 instances of an image are 0 in the id images" in line for line in bench.node.logged)
    said = [line for line in bench.node.logged if "instances of an image are left out" in line]
    assert len(said) == 2 and "have no pixel" in said[0] and "end at 65535" in said[1]
