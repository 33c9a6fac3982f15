"""What is published of results, and when the names behind the ids are; publishers are recorded."""

import math
import threading
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from rclpy.qos import DurabilityPolicy
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from activesam_ros.configuration.configuration import first_configuration
from activesam_ros.ros.publishers import CameraPublishers, Demand, LabelInfoPublisher
from activesam_ros.vocabulary import ClassSpec, Vocabulary

from .fakes import PATIENCE, FakeEncoded, FakePrompts, FakeSegmenter, in_force
from .recording import RecordingNode

RGB = np.zeros((4, 6, 3), np.uint8)
HEADER = Header(frame_id="lens")
HEADER.stamp.sec = 9
CAMERA = SimpleNamespace(follow_demand=lambda: None)
INSTANCES = ["detections", "instances", "panoptic", "detections_overlay"]
TOPICS = ["labels", "confidence", "overlay", "labels_color", *INSTANCES, "active_classes", "camera_info"]


def labelled(vocabulary=None):
    return FakeSegmenter().decode(FakeEncoded(RGB, vocabulary or Vocabulary.from_names(["road"])))


@pytest.fixture
def node():
    return RecordingNode()


@pytest.fixture
def publishers(node):
    return CameraPublishers(node, "", 1, CAMERA)


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
        (("detections",), Demand.LABELS),
        (("instances",), Demand.LABELS),
        (("panoptic",), Demand.LABELS),
        (("detections_overlay",), Demand.LABELS),
        (("active_classes", "overlay"), Demand.LABELS),
    ],
)
def test_the_demand_follows_from_who_subscribes_what(publishers, node, subscribed, demand):
    node.subscribers.update(subscribed)
    assert publishers.demand() is demand
    node.subscribers.clear()
    assert publishers.demand() is Demand.NOTHING


@pytest.mark.parametrize(("name", "prefix"), [("", ""), ("front", "front/")])
def test_topics_are_the_cameras_own(node, name, prefix):
    CameraPublishers(node, name, 20, CAMERA)
    assert list(node.publishers) == [prefix + topic for topic in TOPICS]
    assert {one.profile.depth for one in node.publishers.values()} == {20}


def test_comers_and_goers_of_any_topic_are_told(node):
    told = []
    CameraPublishers(node, "", 1, SimpleNamespace(follow_demand=lambda: told.append("changed")))
    for publisher in node.publishers.values():
        publisher.event_callbacks.matched(None)
    assert len(told) == len(TOPICS)


def test_a_middleware_without_events_will_do(publishers):
    silent = RecordingNode(events=False)
    CameraPublishers(silent, "", 1, CAMERA).publish(labelled(), RGB, 1, HEADER, None)
    assert silent.topics() == ["labels", "active_classes"]


def test_pictures_and_confidence_are_made_only_while_somebody_subscribes(publishers, node):
    publishers.publish(labelled(), RGB, 1, HEADER, None)
    assert node.topics() == ["labels", "active_classes"]
    node.subscribers = Counter(overlay=1)
    publishers.publish(labelled(), RGB, 1, HEADER, None)
    assert node.topics()[2:] == ["labels", "active_classes", "overlay"]
    node.subscribers = Counter(confidence=2)
    publishers.publish(labelled(), RGB, 1, HEADER, None)
    assert node.topics()[5:] == ["labels", "active_classes", "confidence"]
    node.subscribers = Counter(labels_color=1)
    publishers.publish(labelled(), RGB, 1, HEADER, None)
    assert node.topics()[8:] == ["labels", "active_classes", "labels_color"]


@pytest.mark.parametrize("topic", INSTANCES)
def test_what_is_made_of_instances_is_made_for_its_subscribers(publishers, node, topic):
    assert not publishers.wants_instances()
    node.subscribers = Counter({topic: 1})
    assert publishers.wants_instances()
    publishers.publish(labelled(), RGB, 1, HEADER, None)
    assert node.topics() == ["labels", "active_classes", topic]
    # Somebody who subscribed while the image was in work waits for the next one.
    publishers.publish(replace(labelled(), instances=None), RGB, 1, HEADER, None)
    assert node.topics()[3:] == ["labels", "active_classes"]


def test_instances_agree_with_the_labels(publishers, node):
    node.subscribers.update(INSTANCES)
    publishers.publish(labelled(), RGB, 1, HEADER, None)
    (detections,), (ids,), (panoptic,), (picture,) = map(node.messages, INSTANCES)
    assert (picture.encoding, picture.height, picture.width) == ("rgb8", 4, 6) and any(picture.data)
    (one,) = detections.detections
    assert (one.id, one.results[0].hypothesis.class_id) == ("1", "road")
    assert (one.bbox.center.position.x, one.bbox.center.position.y) == (3, 2)
    assert (one.bbox.size_x, one.bbox.size_y) == (6, 4) and one.header == detections.header == HEADER
    assert (ids.encoding, panoptic.encoding) == ("16UC1", "32SC1")
    read = np.frombuffer(ids.data, np.uint16).reshape(4, 6)
    assert (read[:, :3] == 1).all() and not read[:, 3:].any()
    read = np.frombuffer(panoptic.data, np.int32).reshape(4, 6)
    assert (read[:, :3] == 1).all() and (read[:, 3:] == 255 << 16).all()


def test_everything_carries_the_input_header(publishers, node):
    node.subscribers.update(TOPICS)
    publishers.publish(labelled(), RGB, 3, HEADER, CameraInfo(header=HEADER, width=6))
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


def test_the_overlay_has_the_vocabularys_colours(publishers, node):
    node.subscribers["overlay"] = 1
    for colour in ((250, 10, 10), (10, 10, 250)):
        vocabulary = Vocabulary.from_specs([ClassSpec("road", colour=colour)])
        publishers.publish(labelled(vocabulary), RGB, 1, HEADER, None)
    red, blue = (np.asarray(one.data).reshape(4, 6, 3) for one in node.messages("overlay"))
    # The image is black, so that what the overlay mixes in is all the colour there is.
    assert (red[2, 1, 0] > red[2, 1, 2]) and (blue[2, 1, 2] > blue[2, 1, 0])


def test_coloured_labels_are_the_colours_of_the_vocabulary_and_nothing_else(publishers, node):
    node.subscribers["labels_color"] = 1
    vocabulary = Vocabulary.from_specs([ClassSpec("road", colour=(250, 10, 10))])
    publishers.publish(labelled(vocabulary), RGB + 77, 1, HEADER, None)
    (message,) = node.messages("labels_color")
    pixels = np.asarray(message.data).reshape(4, 6, 3)
    assert (pixels[:, :3] == (250, 10, 10)).all() and not pixels[:, 3:].any()


def test_a_preview_is_published_as_active_classes_alone(publishers, node):
    segmenter = FakeSegmenter(prompts=FakePrompts(Vocabulary.from_names(["road", "sky"]), (2, 2), None))
    (result,) = segmenter.preview([RGB])
    publishers.publish_preview(result, 4, HEADER)
    ((topic, message),) = node.published
    assert topic == "active_classes" and message.header == HEADER
    assert (message.vocabulary_revision, message.vocabulary_size) == (4, 2)
    assert message.stage == message.PREVIEW
    assert [one.name for one in message.classes] == ["road"] and math.isnan(message.classes[0].area)


def serving(revision, *names, threshold=0.25):
    given = {"vocabulary": names or ("road",), "confidence_threshold": threshold, "background_threshold": 0.0}
    configuration = replace(first_configuration(given), revision=revision)
    return in_force(FakeSegmenter(configuration.settings), configuration)


def header(seconds, nanoseconds=0):
    made = Header(frame_id=f"camera {seconds}")
    made.stamp.sec, made.stamp.nanosec = seconds, nanoseconds
    return made


@pytest.fixture
def label_info(node):
    return LabelInfoPublisher(node)


@pytest.fixture
def stamps(node):
    """Stamps of what was told since the last call, by topic; None where nothing was."""
    seen = [0]

    def since():
        told = node.published[seen[0] :]
        seen[0] = len(node.published)
        both = {topic: (message.header.stamp.sec, message.header.stamp.nanosec) for topic, message in told}
        assert len(both) == len(told)
        # The picture belongs to the words.
        assert both.get("legend") == (both.get("vocabulary") if node.subscribers.get("legend") else None)
        return both.get("label_info"), both.get("vocabulary")

    return since


def test_all_are_kept_for_who_comes_late(label_info, node):
    profiles = [node.publishers[topic].profile for topic in ("label_info", "vocabulary", "legend")]
    assert [one.durability for one in profiles] == 3 * [DurabilityPolicy.TRANSIENT_LOCAL]


def test_names_come_before_the_first_labels_of_a_revision_and_once(label_info, node):
    label_info.before([header(1)], serving(1, "road"))
    label_info.before([header(2)], serving(1, "road"))
    label_info.before([header(3)], serving(2, "sky", "car"))
    assert node.topics() == 2 * ["label_info", "vocabulary"]
    assert [one.header for one in node.messages("vocabulary")] == [header(1), header(3)]
    assert [one.revision for one in node.messages("vocabulary")] == [1, 2]
    infos = node.messages("label_info")
    assert [one.header for one in infos] == [header(1), header(3)]
    assert [[entry.class_name for entry in one.class_map] for one in infos] == [["road"], ["sky", "car"]]
    assert [one.threshold for one in infos] == [0.25, 0.25]


def test_of_several_cameras_the_earliest_image_dates_the_names(label_info, stamps):
    label_info.before([header(5, 300), header(5, 100), header(5, 200)], serving(1))
    assert stamps() == ((5, 100), (5, 100))
    label_info.before([header(5, 400), header(5, 100)], serving(1))
    assert stamps() == (None, None)


def test_another_threshold_is_announced_without_another_vocabulary(label_info, node, stamps):
    label_info.before([header(1)], serving(1, threshold=0.25))
    assert stamps() == ((1, 0), (1, 0))
    label_info.before([header(2)], serving(1, threshold=0.75))
    assert stamps() == ((2, 0), None)
    label_info.ahead(serving(1, threshold=0.5))
    assert stamps() == ((2, 1), None)
    assert [one.threshold for one in node.messages("label_info")] == [0.25, 0.75, 0.5]


def test_before_any_image_the_names_hold_from_the_start_of_time(label_info, stamps):
    label_info.ahead(serving(1))
    assert stamps() == ((0, 0), (0, 0))
    label_info.ahead(serving(1))
    label_info.before([header(0)], serving(1))
    label_info.before([header(7)], serving(1))
    assert stamps() == (None, None)


@pytest.mark.parametrize(("newest", "told"), [((7, 0), (7, 1)), ((7, 999_999_999), (8, 0)), ((0, 0), (0, 1))])
def test_ahead_of_an_image_new_names_hold_from_just_after_the_newest(label_info, stamps, newest, told):
    label_info.before([header(0), header(*newest)], serving(1))
    stamps()
    label_info.ahead(serving(2))
    assert stamps() == (told, told)
    label_info.before([header(*told)], serving(2))
    assert stamps() == (None, None)


def test_stamps_that_jump_back_announce_everything_again(label_info, stamps, node):
    node.subscribers["legend"] = 1
    label_info.before([header(50)], serving(1))
    label_info.before([header(60)], serving(1))
    stamps()
    # The announcement of 50 still holds for 55, but not for what is before it.
    label_info.before([header(55)], serving(1))
    assert stamps() == (None, None)
    label_info.before([header(49, 999_999_999)], serving(1))
    assert stamps() == 2 * ((49, 999_999_999),)
    label_info.before([header(50)], serving(1))
    assert stamps() == (None, None)
    label_info.before([header(3)], serving(1, threshold=0.5))
    assert stamps() == ((3, 0), (3, 0))
    # What comes ahead goes by the new time.
    label_info.ahead(serving(2))
    assert stamps() == ((3, 1), (3, 1))


def test_the_legend_shows_the_colours_of_the_words_in_force(label_info, node):
    node.subscribers["legend"] = 1
    label_info.ahead(serving(1, "road", "sky"))
    label_info.before([header(2)], serving(2, "car", "dragon"))
    for message, names in zip(node.messages("legend"), (("road", "sky"), ("car", "dragon")), strict=True):
        assert message.encoding == "rgb8"
        pixels = np.asarray(message.data).reshape(message.height, message.width, 3)
        seen = {tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()}
        for name in ("road", "sky", "car", "dragon"):
            assert (Vocabulary.from_names([name]).colours[0] in seen) is (name in names)


def test_the_legend_is_drawn_for_whoever_comes_to_look_and_kept_up_to_date_from_then_on(label_info, node):
    def shown():
        return [one.header.stamp.sec for one in node.messages("legend")]

    label_info.before([header(1)], serving(1, "road"))
    label_info.show_legend()
    assert shown() == []
    node.subscribers["legend"] = 1
    label_info.show_legend()
    label_info.show_legend()
    assert shown() == [1]
    node.subscribers["legend"] = 2
    label_info.show_legend()
    assert shown() == [1, 1]
    node.subscribers["legend"] = 0
    label_info.show_legend()
    # Or the latched one would be outdated.
    label_info.before([header(2)], serving(2, "sky"))
    assert shown() == [1, 1, 2]
    node.subscribers["legend"] = 1
    label_info.show_legend()
    assert shown() == [1, 1, 2, 2]


def test_the_legend_has_active_classes_first(label_info, node, monkeypatch):
    seconds = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    node.subscribers["legend"] = 1
    label_info.ahead(serving(1, "road", "sky", "car"))

    def first_colours():
        label_info.show_legend()
        seconds[0] += 1
        sheets = node.messages("legend")
        pixels = np.asarray(sheets[-1].data).reshape(sheets[-1].height, sheets[-1].width, 3)
        rows = [tuple(pixel) for pixel in pixels[:, pixels.shape[1] // 3].tolist()]
        colours = Vocabulary.from_names(["road", "sky", "car"]).colours
        shown = sorted((rows.index(colour), name) for colour, name in zip(colours, "rsc", strict=True))
        return len(sheets), "".join(name for _, name in shown)

    label_info.show_legend()
    assert first_colours() == (2, "rsc")
    label_info.note_active([2])
    assert first_colours() == (3, "crs")
    label_info.note_active([1])
    assert first_colours() == (4, "scr")
    # Unchanged, it is not drawn again; nor when no image comes any more.
    label_info.note_active([1, 2])
    assert first_colours() == (4, "scr")
    seconds[0] += 60
    assert first_colours() == (4, "scr")
    label_info.note_active([0])
    assert first_colours() == (5, "rsc")
    label_info.before([header(3)], serving(2, "road", "sky", "car"))
    assert first_colours() == (6, "rsc")


def test_without_names_there_is_no_legend_yet(label_info, node):
    node.subscribers["legend"] = 1
    label_info.show_legend()
    assert node.topics() == []
    label_info.ahead(serving(1, "road"))
    assert len(node.messages("legend")) == 1


def test_a_legend_that_is_shown_again_never_comes_after_a_newer_one(label_info, node):
    label_info.before([header(1)], serving(1, "road"))
    publisher = node.publishers["legend"]
    publish = publisher.publish
    newer = threading.Thread(target=label_info.before, args=([header(2)], serving(2, "sky")), daemon=True)

    def slowly(message):
        publisher.publish = publish
        newer.start()
        newer.join(0.3)  # long enough to overtake, if nothing holds it back
        publish(message)

    publisher.publish = slowly
    node.subscribers["legend"] = 1
    label_info.show_legend()
    newer.join(PATIENCE)
    assert [one.header.stamp.sec for one in node.messages("legend")] == [1, 2]
