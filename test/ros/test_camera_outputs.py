"""What a camera publishes and in which order; publishers are recorded, the segmenter is a stand-in."""

import math
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from activesam_ros.ros.camera_outputs import CameraOutputs, Demand
from activesam_ros.vocabulary import ClassSpec, Vocabulary

from .fakes import FakeEncoded, FakePrompts, FakeSegmenter
from .recording import RecordingNode

RGB = np.zeros((4, 6, 3), np.uint8)
HEADER = Header(frame_id="lens")
HEADER.stamp.sec = 9
TOPICS = ["labels", "confidence", "overlay", "labels_color", "active_classes", "camera_info"]


def labelled(vocabulary=None):
    return FakeSegmenter().decode(FakeEncoded(RGB, vocabulary or Vocabulary.from_names(["road"])))


@pytest.fixture
def node():
    return RecordingNode()


@pytest.fixture
def outputs(node):
    return CameraOutputs(node, "", 1, lambda: None)


@pytest.mark.parametrize(
    ("subscribed", "demand"),
    [
        ((), Demand.NOTHING),
        (("camera_info",), Demand.NOTHING),
        (("active_classes",), Demand.PREVIEW),
        (("active_classes", "camera_info"), Demand.PREVIEW),
        (("labels",), Demand.LABELS),
        (("confidence",), Demand.LABELS),
        (("overlay",), Demand.LABELS),
        (("labels_color",), Demand.LABELS),
        (("active_classes", "overlay"), Demand.LABELS),
    ],
)
def test_the_demand_follows_from_who_subscribes_what(outputs, node, subscribed, demand):
    node.subscribers.update(subscribed)
    assert outputs.demand() is demand
    node.subscribers.clear()
    assert outputs.demand() is Demand.NOTHING


@pytest.mark.parametrize(("name", "prefix"), [("", ""), ("front", "front/")])
def test_topics_are_the_cameras_own(node, name, prefix):
    CameraOutputs(node, name, 20, lambda: None)
    assert list(node.publishers) == [prefix + topic for topic in TOPICS]
    assert {one.profile.depth for one in node.publishers.values()} == {20}


def test_comers_and_goers_of_any_topic_are_told(node):
    told = []
    CameraOutputs(node, "", 1, lambda: told.append("changed"))
    for publisher in node.publishers.values():
        publisher.event_callbacks.matched(None)
    assert len(told) == len(TOPICS)


def test_a_middleware_without_events_will_do(outputs):
    silent = RecordingNode(events=False)
    CameraOutputs(silent, "", 1, lambda: None).publish(labelled(), RGB, 1, HEADER, None)
    assert silent.topics() == ["labels", "active_classes"]


def test_pictures_and_confidence_are_made_only_while_somebody_subscribes(outputs, node):
    outputs.publish(labelled(), RGB, 1, HEADER, None)
    assert node.topics() == ["labels", "active_classes"]
    node.subscribers = Counter(overlay=1)
    outputs.publish(labelled(), RGB, 1, HEADER, None)
    assert node.topics()[2:] == ["labels", "active_classes", "overlay"]
    node.subscribers = Counter(confidence=2)
    outputs.publish(labelled(), RGB, 1, HEADER, None)
    assert node.topics()[5:] == ["labels", "active_classes", "confidence"]
    node.subscribers = Counter(labels_color=1)
    outputs.publish(labelled(), RGB, 1, HEADER, None)
    assert node.topics()[8:] == ["labels", "active_classes", "labels_color"]


def test_everything_carries_the_input_header(outputs, node):
    node.subscribers.update(TOPICS)
    outputs.publish(labelled(), RGB, 3, HEADER, CameraInfo(header=HEADER, width=6))
    assert sorted(node.topics()) == sorted(TOPICS)
    assert all(message.header == HEADER for _, message in node.published)
    images = [message for topic in TOPICS[:4] for message in node.messages(topic)]
    assert all((one.height, one.width) == (4, 6) for one in images)
    assert [one.encoding for one in images] == ["mono8", "mono8", "rgb8", "rgb8"]
    labels, confidence = images[:2]
    values = np.asarray(labels.data).reshape(4, 6)
    assert not values[:, :3].any() and (values[:, 3:] == 255).all()
    values = np.asarray(confidence.data).reshape(4, 6)
    assert (values[:, :3] == 204).all() and not values[:, 3:].any()
    (active,) = node.messages("active_classes")
    assert (active.vocabulary_revision, active.stage) == (3, active.DECODED)
    assert [(one.name, one.area) for one in active.classes] == [("road", 0.5)]
    assert node.messages("camera_info")[0].width == 6


def test_the_overlay_has_the_vocabularys_colours(outputs, node):
    node.subscribers["overlay"] = 1
    for colour in ((250, 10, 10), (10, 10, 250)):
        vocabulary = Vocabulary.from_specs([ClassSpec("road", colour=colour)])
        outputs.publish(labelled(vocabulary), RGB, 1, HEADER, None)
    red, blue = (np.asarray(one.data).reshape(4, 6, 3) for one in node.messages("overlay"))
    # The image is black, so that what the overlay mixes in is all the colour there is.
    assert (red[2, 1, 0] > red[2, 1, 2]) and (blue[2, 1, 2] > blue[2, 1, 0])


def test_coloured_labels_are_the_colours_of_the_vocabulary_and_nothing_else(outputs, node):
    node.subscribers["labels_color"] = 1
    vocabulary = Vocabulary.from_specs([ClassSpec("road", colour=(250, 10, 10))])
    outputs.publish(labelled(vocabulary), RGB + 77, 1, HEADER, None)
    (message,) = node.messages("labels_color")
    pixels = np.asarray(message.data).reshape(4, 6, 3)
    assert (pixels[:, :3] == (250, 10, 10)).all() and not pixels[:, 3:].any()


def test_a_preview_is_published_as_active_classes_alone(outputs, node):
    segmenter = FakeSegmenter(prompts=FakePrompts(Vocabulary.from_names(["road", "sky"]), (2, 2), None))
    (result,) = segmenter.preview([RGB])
    outputs.publish_preview(result, 4, HEADER)
    ((topic, message),) = node.published
    assert topic == "active_classes" and message.header == HEADER
    assert (message.vocabulary_revision, message.vocabulary_size) == (4, 2)
    assert message.stage == message.PREVIEW
    assert [one.name for one in message.classes] == ["road"] and math.isnan(message.classes[0].area)
