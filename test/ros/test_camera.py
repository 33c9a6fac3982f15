"""What a camera publishes and in which order; publishers are recorded, the segmenter is a stand-in."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from sensor_msgs.msg import Image  # noqa: E402

from activesam_ros.errors import ImageError  # noqa: E402
from activesam_ros.result import ActiveClass, SegmentationResult  # noqa: E402
from activesam_ros.ros.camera import Camera, Frame  # noqa: E402
from activesam_ros.ros.frame_slot import FrameSlot  # noqa: E402
from activesam_ros.ros.preparation import Served  # noqa: E402
from activesam_ros.ros.tally import Tally  # noqa: E402
from activesam_ros.settings import SegmenterSettings  # noqa: E402
from activesam_ros.text.embedder import EncodingReport  # noqa: E402
from activesam_ros.vocabulary import Entry, Vocabulary  # noqa: E402


class RecordingNode:
    def __init__(self):
        self.published = []
        self.subscribers = {}

    def create_publisher(self, kind, topic, profile):
        return SimpleNamespace(
            publish=lambda message: self.published.append((topic[2:], message)),
            get_subscription_count=lambda: self.subscribers.get(topic[2:], 0),
        )

    def create_subscription(self, kind, topic, callback, profile):
        self.callback = callback
        return SimpleNamespace(topic_name="/front/image")

    def topics(self):
        return [topic for topic, _ in self.published]


class Halves:
    """Labels the left half of every image with class 0."""

    settings = SegmenterSettings(confidence_threshold=0.25)

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary

    def segment(self, rgb):
        labels = np.full(rgb.shape[:2], 255, np.uint8)
        labels[:, : rgb.shape[1] // 2] = 0
        return SegmentationResult(
            labels=labels,
            unlabeled_id=255,
            confidence=np.full(labels.shape, 0.8, np.float32),
            active=(ActiveClass(0, self.vocabulary.names[0], 0.9, None, int((labels == 0).sum())),),
            preview_presence=None,
            active_queries=(0,),
            timings={"decode": 0.01, "total": 0.02},
            vocabulary=self.vocabulary,
        )


def served(revision, *names):
    return serving(revision, Vocabulary.from_names(names))


def serving(revision, vocabulary):
    return Served(Halves(vocabulary), vocabulary, revision, EncodingReport(0, len(vocabulary), 0.1))


def frame(number=1, **fields):
    given = {"height": 4, "width": 6, "encoding": "mono8", "step": 6, "data": bytes(24), **fields}
    message = Image(**given)
    message.header.stamp.sec = number
    return Frame(message, arrived=0.0)


@pytest.fixture
def node():
    return RecordingNode()


@pytest.fixture
def camera(node):
    return Camera(node, FrameSlot(), Tally())


def test_names_come_before_the_first_labels_of_a_revision_and_once(camera, node):
    camera.answer(frame(1), served(1, "road"))
    camera.answer(frame(2), served(1, "road"))
    camera.answer(frame(3), served(2, "sky", "car"))
    assert node.topics() == [
        "label_info",
        "vocabulary",
        "labels",
        "active_classes",
        "labels",
        "active_classes",
        "label_info",
        "vocabulary",
        "labels",
        "active_classes",
    ]
    vocabularies = [message for topic, message in node.published if topic == "vocabulary"]
    assert [(one.header.stamp.sec, one.revision) for one in vocabularies] == [(1, 1), (3, 2)]
    infos = [message for topic, message in node.published if topic == "label_info"]
    assert [info.header.stamp.sec for info in infos] == [1, 3]
    assert [[entry.class_name for entry in info.class_map] for info in infos] == [["road"], ["sky", "car"]]
    assert infos[0].threshold == 0.25


def test_another_threshold_is_announced_without_another_vocabulary(camera, node):
    before, after = served(1, "road"), served(1, "road")
    after.segmenter.settings = replace(after.segmenter.settings, confidence_threshold=0.75)
    camera.answer(frame(1), before)
    camera.answer(frame(2), after)
    assert node.topics()[4:] == ["label_info", "labels", "active_classes"]
    infos = [message for topic, message in node.published if topic == "label_info"]
    assert [info.threshold for info in infos] == [0.25, 0.75]


def test_confidence_and_overlay_are_made_only_while_somebody_subscribes(camera, node):
    camera.answer(frame(), served(1, "road"))
    assert not {"confidence", "overlay"} & set(node.topics())
    node.subscribers = {"overlay": 1}
    camera.answer(frame(), served(1, "road"))
    assert node.topics().count("overlay") == 1 and "confidence" not in node.topics()
    node.subscribers = {"confidence": 2}
    camera.answer(frame(), served(1, "road"))
    assert node.topics().count("overlay") == 1 and node.topics().count("confidence") == 1


def test_everything_carries_the_input_header(camera, node):
    node.subscribers = {"overlay": 1, "confidence": 1}
    given = frame(9)
    given.message.header.frame_id = "lens"
    camera.answer(given, served(1, "road"))
    assert len(node.published) == 6
    assert all(message.header == given.message.header for _, message in node.published)
    pictures = {
        topic: message for topic, message in node.published if topic in ("labels", "confidence", "overlay")
    }
    assert all((picture.height, picture.width) == (4, 6) for picture in pictures.values())
    assert pictures["overlay"].encoding == "rgb8"
    confidence = np.asarray(pictures["confidence"].data).reshape(4, 6)
    assert (confidence[:, :3] == 204).all() and not confidence[:, 3:].any()


def test_the_overlay_has_the_vocabularys_colours(camera, node):
    node.subscribers = {"overlay": 1}
    vocabulary = Vocabulary.from_entries([Entry("road", colour=(250, 10, 10))])
    camera.answer(frame(), serving(1, vocabulary))
    camera.answer(frame(), serving(2, Vocabulary.from_entries([Entry("road", colour=(10, 10, 250))])))
    red, blue = (np.asarray(one.data).reshape(4, 6, 3) for topic, one in node.published if topic == "overlay")
    # The image is black, so that what the overlay mixes in is all the colour there is.
    assert (red[2, 1, 0] > red[2, 1, 2]) and (blue[2, 1, 2] > blue[2, 1, 0])


def test_a_bad_first_image_leaves_the_names_to_the_next(camera, node):
    with pytest.raises(ImageError, match="step"):
        camera.answer(frame(1, step=5), served(1, "road"))
    camera.answer(frame(2), served(1, "road"))
    assert node.topics()[:2] == ["label_info", "vocabulary"]
    assert {message.header.stamp.sec for _, message in node.published} == {2}


def test_a_bad_image_publishes_nothing(camera, node):
    with pytest.raises(ImageError, match="step"):
        camera.answer(frame(step=5), served(1, "road"))
    assert node.published == []


def test_the_callback_only_hands_over(node):
    slot = FrameSlot()
    camera = Camera(node, slot, Tally())
    node.callback(frame(1).message)
    node.callback(frame(2).message)
    assert (slot.counts.received, slot.counts.superseded) == (2, 1)
    assert slot.take().message.header.stamp.sec == 2
    assert camera.topic == "/front/image" and node.published == []


def test_stages_tell_where_the_time_went(camera):
    stages = camera.answer(frame(), served(1, "road"))
    assert list(stages) == ["wait", "convert", "decode", "segment", "publish", "latency"]
    assert stages["latency"] == pytest.approx(
        stages["wait"] + stages["convert"] + stages["segment"] + stages["publish"]
    )
