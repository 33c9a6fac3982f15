import math

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from std_msgs.msg import Header

from activesam_ros.results import ActiveClass, PreviewResult, SegmentationResult
from activesam_ros.ros.messages import (
    active_classes,
    label_info,
    previewed_classes,
    vocabulary_message,
)
from activesam_ros.vocabulary import ClassSpec, Vocabulary

HEADER = Header(frame_id="camera")
VOCABULARY = Vocabulary.from_names(["road", "car, automobile", "sky"])


def result(labels: np.ndarray, active: tuple[ActiveClass, ...]) -> SegmentationResult:
    return SegmentationResult(
        labels=labels,
        unlabeled_id=255,
        confidence=np.zeros(labels.shape, np.float32),
        active=active,
        preview_presence=None,
        active_queries=(),
        timings={},
        vocabulary=VOCABULARY,
    )


def test_active_classes_give_presence_and_share_of_the_image():
    message = active_classes(
        result(np.zeros((2, 5), np.uint8), (ActiveClass(1, "car", 0.75, None, 4),)), 3, HEADER
    )
    assert message.header == HEADER
    assert (message.vocabulary_revision, message.vocabulary_size) == (3, 3)
    assert message.stage == message.DECODED
    (entry,) = message.classes
    assert (entry.class_id, entry.name, entry.presence) == (1, "car", 0.75)
    assert entry.area == pytest.approx(0.4)


def test_previewed_classes_have_a_presence_and_no_area():
    presence = np.array([0.1, 0.2, 0.75, 0.3], np.float32)
    active = (ActiveClass(1, "car", 0.75, 0.75, None), ActiveClass(2, "sky", 0.25, 0.25, None))
    message = previewed_classes(PreviewResult(presence, (2, 3), active, {}, VOCABULARY), 5, HEADER)
    assert message.header == HEADER
    assert (message.vocabulary_revision, message.vocabulary_size) == (5, 3)
    assert message.stage == message.PREVIEW != message.DECODED
    assert [(one.class_id, one.name, one.presence) for one in message.classes] == [
        (1, "car", 0.75),
        (2, "sky", 0.25),
    ]
    assert all(math.isnan(one.area) for one in message.classes)


def test_no_active_class_is_an_empty_list():
    assert active_classes(result(np.zeros((2, 5), np.uint8), ()), 1, HEADER).classes == []


def test_label_info_names_every_class_of_the_vocabulary():
    message = label_info(VOCABULARY, 0.3, HEADER)
    assert message.header == HEADER and message.threshold == pytest.approx(0.3)
    assert [(entry.class_id, entry.class_name) for entry in message.class_map] == [
        (0, "road"),
        (1, "car"),
        (2, "sky"),
    ]


def test_a_vocabulary_is_told_with_all_that_belongs_to_its_ids():
    entries = [
        ClassSpec("vehicle", ("car", "truck"), (255, 0, 51), ("car", "lorry")),
        ClassSpec("nothing", ("sky",)),
    ]
    message = vocabulary_message(Vocabulary.from_entries(entries, background="nothing"), 4, HEADER)
    assert message.header == HEADER
    assert (message.revision, message.unlabeled_id, message.background_id) == (4, 255, 1)
    vehicle, nothing = message.classes
    assert (vehicle.class_id, vehicle.name) == (0, "vehicle")
    assert (vehicle.prompts, vehicle.members) == (["car", "truck"], ["car", "lorry"])
    colour = vehicle.color
    assert (colour.r, colour.g, colour.b, colour.a) == pytest.approx((1, 0, 0.2, 1))
    assert (nothing.class_id, nothing.prompts, nothing.members) == (1, ["sky"], [])


def test_a_vocabulary_without_a_background_and_with_large_ids():
    vocabulary = Vocabulary.from_names([f"thing {number}" for number in range(300)])
    message = vocabulary_message(vocabulary, 1, HEADER)
    assert (message.unlabeled_id, message.background_id) == (65535, -1)
    assert [one.class_id for one in message.classes] == list(range(300))
