"""What becomes of every frame of a batch; cameras and publishing are recorded, the segmenter is a stand-in."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

import cv2
import numpy as np
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image

from activesam_ros.errors import OutOfMemoryError
from activesam_ros.ros.answering import Answering
from activesam_ros.ros.camera_outputs import Demand
from activesam_ros.ros.frame import Frame
from activesam_ros.ros.inbox import Drop, FrameCounts, Inbox
from activesam_ros.ros.latency import Latency
from activesam_ros.ros.parameters import Policy
from activesam_ros.stages.temporal_reuse import StreamMemory

from .fakes import FakeSegmenter, in_force, request

NAMES = ("front", "rear", "left")


class RecordingCamera:
    """Keeps what it is given to publish in a list that it shares with others."""

    def __init__(self, name, published):
        self.name = name
        self.demand = Demand.LABELS
        self.latency = Latency()
        self.outputs = self
        self.input = SimpleNamespace(info=lambda header: f"calibration {header.stamp.sec}")
        self.trouble = None
        self.memory = StreamMemory()
        self._published = published

    def publish(self, result, rgb, revision, header, info):
        if self.trouble:
            raise self.trouble
        assert result.labels.shape == rgb.shape[:2]
        names = ",".join(result.vocabulary.names)
        self._published.append((self.name, header.stamp.sec, f"{revision} {names}", info))

    def publish_preview(self, result, revision, header):
        if self.trouble:
            raise self.trouble
        self._published.append((self.name, header.stamp.sec, f"{revision} preview"))


class Bench:
    def __init__(self):
        self.published = []
        self.cameras = {name: RecordingCamera(name, self.published) for name in NAMES}
        self.inbox = Inbox(NAMES, queue_size=9)
        self.inbox.open()
        self.policy = {"max_age": 0.0, "max_rate": 0.0, "image_timeout": 5.0, "worker_timeout": 30.0}
        self.seconds = 0
        self.failures = []
        self.segmenter = FakeSegmenter(request("road").settings)
        self.served = in_force(self.segmenter, request("road"))
        self.segmenter.done.clear()
        self.abandoned = False
        self.answering = Answering(
            self.cameras,
            self.inbox,
            self,
            lambda: Policy(**self.policy),
            SimpleNamespace(now=lambda: Time(seconds=self.seconds)),
            lambda camera, sentence: self.failures.append((camera.name, sentence)),
        )

    # The announcer.

    def before(self, headers, served):
        self.published.append(("names before", sorted(header.stamp.sec for header in headers)))

    def ahead(self, served):
        self.published.append(("names ahead",))

    def answer(self, **messages):
        """Frames of these cameras come and are answered in one batch, in this order."""
        for name, message in messages.items():
            assert self.inbox.put(name, Frame(message, arrived=0.0)) is None
        batch = dict(self.inbox.take())
        batch = [(name, batch[name]) for name in messages]
        self.answering(batch, self.served, lambda: self.abandoned)

    def reasons(self, name="front"):
        counts = self.inbox.counts(name)
        assert counts.received == counts.answered + counts.total_dropped
        return dict(counts.dropped)

    def answered(self, name="front"):
        return self.inbox.counts(name).answered


@pytest.fixture
def bench():
    return Bench()


def image(number=1, **fields):
    """Grey of this number, which its stamp has, too."""
    given = {"height": 4, "width": 6, "encoding": "mono8", "step": 6, "data": bytes([number] * 24), **fields}
    message = Image(**given)
    message.header.stamp.sec = number
    return message


def test_every_camera_has_a_memory_of_its_own(bench):
    memories = [bench.cameras[name].memory for name in ("front", "rear")]
    bench.answer(front=image(1), rear=image(2))
    assert bench.segmenter.memories == [memories]
    told = []
    memories[0].at = told.append
    bench.answer(front=image(3))
    assert bench.segmenter.memories[1] == [memories[0]] and told == [3_000_000_000]


def test_a_preview_alone_ends_what_a_camera_remembers(bench):
    forgotten = []
    bench.cameras["front"].memory.forget = lambda: forgotten.append("front")
    bench.cameras["front"].demand = Demand.PREVIEW
    bench.answer(front=image(1), rear=image(2))
    assert forgotten == ["front"]


def test_names_come_before_what_they_name(bench):
    bench.answer(front=image(7))
    assert bench.published == [("names before", [7]), ("front", 7, "1 road", "calibration 7")]
    assert bench.segmenter.done == ["encode 7", "decode 7"]
    assert bench.inbox.counts("front") == FrameCounts(received=1, answered=1)
    assert bench.failures == []


def test_a_batch_is_encoded_in_one_call_and_answered_one_by_one(bench):
    bench.answer(rear=image(2), front=image(1), left=image(3))
    assert bench.segmenter.done == ["encode 2 1 3", "decode 2", "decode 1", "decode 3"]
    assert bench.published[0] == ("names before", [1, 2, 3])
    assert [one[:2] for one in bench.published[1:]] == [("rear", 2), ("front", 1), ("left", 3)]
    assert all(bench.answered(name) == 1 for name in NAMES)


@pytest.mark.parametrize(
    ("error", "reason", "said"),
    [
        (RuntimeError("out of\n reach"), Drop.FAILED, "frame failed: RuntimeError: out of reach"),
        (OutOfMemoryError("no room for it"), Drop.OUT_OF_MEMORY, "frame dropped: no room for it"),
    ],
)
@pytest.mark.parametrize("step", ["encode", "decode"])
def test_one_that_fails_takes_only_itself_down(bench, step, error, reason, said):
    bench.segmenter.troubles[step, 2] = error
    bench.answer(front=image(1), rear=image(2), left=image(3))
    alone = ["encode 1", "encode 2", "encode 3"] if step == "encode" else []
    tried = ["decode 1", "decode 3"] if step == "encode" else ["decode 1", "decode 2", "decode 3"]
    assert bench.segmenter.done == ["encode 1 2 3", *alone, *tried]
    assert [one[:2] for one in bench.published[1:]] == [("front", 1), ("left", 3)]
    assert bench.reasons("rear") == {reason: 1} and bench.failures == [("rear", said)]
    assert bench.answered("front") == bench.answered("left") == 1


def test_a_single_one_that_fails_is_not_tried_again(bench):
    bench.segmenter.troubles["encode", 1] = RuntimeError("no")
    bench.answer(front=image(1))
    assert bench.segmenter.done == ["encode 1"] and bench.reasons() == {Drop.FAILED: 1}
    bench.answer(front=image(2))
    assert bench.answered() == 1


@pytest.mark.parametrize("demand", [Demand.LABELS, Demand.PREVIEW])
def test_what_cannot_be_published_failed(bench, demand):
    bench.cameras["front"].demand = demand
    bench.cameras["front"].trouble = ValueError("no such topic")
    bench.answer(front=image(1), rear=image(2))
    assert bench.reasons("front") == {Drop.FAILED: 1} and bench.answered("rear") == 1
    assert bench.failures == [("front", "frame failed: ValueError: no such topic")]


def test_a_bad_image_is_refused_and_publishes_nothing(bench):
    bench.answer(front=image(1, step=5))
    assert bench.published == [] and bench.segmenter.done == []
    assert bench.reasons() == {Drop.BAD_IMAGE: 1}
    ((name, sentence),) = bench.failures
    assert name == "front" and sentence.startswith("frame refused: step is 5 bytes")


def test_a_bad_image_dates_no_names_and_stops_no_other(bench):
    bench.answer(front=image(1, encoding="nonsense"), rear=image(2))
    assert bench.published == [("names before", [2]), ("rear", 2, "1 road", "calibration 2")]
    assert bench.segmenter.done == ["encode 2", "decode 2"]


def test_an_image_above_the_limit_is_refused_before_it_is_converted(bench):
    limit = bench.served.segmenter.settings.max_pixels
    bench.answer(front=image(1, height=limit, width=2, data=b""))
    assert bench.reasons() == {Drop.BAD_IMAGE: 1}
    assert f"at most {limit} are taken" in bench.failures[0][1]


def test_compressed_images_are_read_as_such(bench):
    message = CompressedImage(format="png")
    message.header.stamp.sec = 5
    message.data = cv2.imencode(".png", np.full((4, 6), 77, np.uint8))[1].tobytes()
    bench.answer(front=message)
    assert bench.segmenter.done == ["encode 77", "decode 77"] and bench.answered() == 1
    message.data = bytes(message.data)[:-20]
    bench.answer(front=message)
    assert bench.reasons() == {Drop.BAD_IMAGE: 1}


def test_frames_above_the_age_are_dropped_by_the_limit_of_the_moment(bench):
    bench.seconds = 100
    bench.answer(front=image(1))
    bench.policy["max_age"] = 2.0
    bench.answer(front=image(97), rear=image(98), left=image(101))
    assert bench.reasons("front") == {Drop.TOO_OLD: 1} and bench.answered("front") == 1
    assert bench.answered("rear") == bench.answered("left") == 1
    assert bench.segmenter.done[-3:] == ["encode 98 101", "decode 98", "decode 101"]
    assert bench.failures == []


def test_only_the_preview_runs_for_who_wants_no_more(bench):
    bench.cameras["front"].demand = bench.cameras["left"].demand = Demand.PREVIEW
    bench.answer(front=image(1), rear=image(2), left=image(3))
    assert bench.segmenter.done == ["encode 2", "decode 2", "preview 1 3"]
    assert bench.published == [
        ("names before", [1, 2, 3]),
        ("rear", 2, "1 road", "calibration 2"),
        ("front", 1, "1 preview"),
        ("left", 3, "1 preview"),
    ]
    assert all(bench.answered(name) == 1 for name in NAMES)
    assert "preview" in bench.cameras["front"].latency.percentiles()


def test_a_preview_that_fails_takes_only_itself_down(bench):
    for name in NAMES:
        bench.cameras[name].demand = Demand.PREVIEW
    bench.segmenter.troubles["preview", 1] = OutOfMemoryError("no room")
    bench.answer(front=image(1), rear=image(2), left=image(3))
    assert bench.segmenter.done == ["preview 1 2 3", "preview 1", "preview 2", "preview 3"]
    assert bench.reasons("front") == {Drop.OUT_OF_MEMORY: 1} and bench.failures == [
        ("front", "frame dropped: no room")
    ]
    assert bench.answered("rear") == bench.answered("left") == 1


def test_a_frame_that_nobody_wants_any_more_is_not_even_read(bench):
    bench.cameras["front"].demand = Demand.NOTHING
    bench.answer(front=image(1, step=5))
    assert bench.reasons() == {Drop.UNWANTED: 1}
    bench.inbox.put("front", Frame(image(2), 0.0))
    batch = bench.inbox.take()
    bench.inbox.shut()
    bench.answering(batch, bench.served, lambda: False)
    assert bench.reasons() == {Drop.UNWANTED: 1, Drop.DEACTIVATED: 1}
    assert bench.published == [] and bench.segmenter.done == [] and bench.failures == []


def test_at_the_end_the_one_in_work_is_still_answered_but_none_behind_it(bench):
    decode = bench.segmenter.decode

    def decode_and_end(encoded):
        bench.inbox.shut()
        return decode(encoded)

    bench.segmenter.decode = decode_and_end
    bench.answer(front=image(1), rear=image(2), left=image(3))
    assert bench.segmenter.done == ["encode 1 2 3", "decode 1"]
    assert bench.answered("front") == 1
    assert bench.reasons("rear") == bench.reasons("left") == {Drop.DEACTIVATED: 1}


@pytest.mark.parametrize("demand", [Demand.LABELS, Demand.PREVIEW])
def test_who_was_left_behind_publishes_nothing_more(bench, demand):
    step = "encode_images" if demand is Demand.LABELS else "preview"
    run = getattr(bench.segmenter, step)

    def hang(images, *memories):
        bench.abandoned = True
        return run(images, *memories)

    setattr(bench.segmenter, step, hang)
    for camera in bench.cameras.values():
        camera.demand = demand
    bench.answer(front=image(1), rear=image(2))
    assert bench.published == [("names before", [1, 2])]
    assert bench.reasons("front") == bench.reasons("rear") == {Drop.DEACTIVATED: 1}


def test_who_was_left_behind_while_it_decoded_publishes_nothing_more(bench):
    decode = bench.segmenter.decode

    def hang(encoded):
        bench.abandoned = True
        return decode(encoded)

    bench.segmenter.decode = hang
    bench.answer(front=image(1), rear=image(2))
    assert bench.published == [("names before", [1, 2])]
    assert bench.reasons("front") == bench.reasons("rear") == {Drop.DEACTIVATED: 1}


def test_names_are_told_between_frames_only_while_frames_are_let_in(bench):
    bench.answering.idle(bench.served)
    assert bench.published == [("names ahead",)]
    bench.inbox.shut()
    bench.answering.idle(bench.served)
    assert bench.published == [("names ahead",)]


def test_stages_tell_where_the_time_went(bench):
    bench.answer(front=image())
    latency = bench.cameras["front"].latency
    stages = {name: one.p50 for name, one in latency.percentiles().items()}
    assert list(stages) == ["wait", "convert", "decode", "segment", "publish", "latency"]
    assert stages["decode"] == stages["segment"] == 0.01 and stages["convert"] >= 0
    assert stages["latency"] >= stages["wait"] + stages["convert"] + stages["publish"]
    assert latency.active == (1, 1)
    bench.segmenter.troubles["decode", 2] = RuntimeError("no")
    answered = latency.since_answer
    bench.answer(front=image(2))
    assert answered <= latency.since_answer and latency.percentiles()["decode"].p50 == 0.01
