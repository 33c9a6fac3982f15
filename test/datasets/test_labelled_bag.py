"""The recording: standard messages, exact pixels, latched names."""

import numpy as np
import pytest

pytest.importorskip("rosbags")

from activesam_ros.datasets.image_files import EncodedImage
from activesam_ros.datasets.labelled_bag import (
    COMPRESSED_IMAGE_TOPIC,
    IMAGE_TOPIC,
    START,
    STORAGES,
    TRUTH_INFO_TOPIC,
    TRUTH_TOPIC,
    LabelledBag,
)

NAMES = {0: "road", 7: "car"}
RGB = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def stamp_of(message):
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("squeeze", [False, True])
def test_frames_and_names_come_back_exactly(tmp_path, recorded, storage, squeeze):
    labels = np.array([[0, 7, 255], [7, 7, 0]], np.uint8)
    with LabelledBag(tmp_path / "bag", NAMES, storage, squeeze=squeeze) as bag:
        bag.write(START, RGB, labels)
        bag.write(START + 1_500_000_000, RGB[:, ::-1], None)
    bag = recorded(tmp_path / "bag")
    assert bag.names() == NAMES
    assert [time for time, _ in bag.messages[IMAGE_TOPIC]] == [START, START + 1_500_000_000]
    for time, message in bag.messages[IMAGE_TOPIC]:
        assert (message.encoding, message.step, message.is_bigendian) == ("rgb8", 9, 0)
        assert stamp_of(message) == time
        expected = RGB if time == START else RGB[:, ::-1]
        assert np.array_equal(message.data.reshape(2, 3, 3), expected)
    ((time, truth),) = bag.messages[TRUTH_TOPIC]
    assert (time, stamp_of(truth), truth.encoding) == (START, START, "mono8")
    assert np.array_equal(bag.truths()[0], labels)


def test_large_ids_are_mono16_in_little_endian(tmp_path, recorded):
    labels = np.array([[0, 300], [65535, 1]], np.uint16)
    with LabelledBag(tmp_path / "bag", {300: "car"}) as bag:
        bag.write(START, RGB, labels)
        bag.write(START + 1, RGB, labels.astype(">u2"))
    bag = recorded(tmp_path / "bag")
    assert [truth.tolist() for truth in bag.truths()] == [labels.tolist()] * 2
    assert {message.encoding for _, message in bag.messages[TRUTH_TOPIC]} == {"mono16"}


def test_names_are_latched_and_precede_the_frames(tmp_path, recorded):
    with LabelledBag(tmp_path / "bag", NAMES) as bag:
        bag.write(START, RGB, None)
    bag = recorded(tmp_path / "bag")
    assert bag.durability == {
        IMAGE_TOPIC: "VOLATILE",
        TRUTH_TOPIC: "VOLATILE",
        TRUTH_INFO_TOPIC: "TRANSIENT_LOCAL",
    }
    assert bag.messages[TRUTH_INFO_TOPIC][0][0] == START


def test_picture_files_are_recorded_as_they_are(tmp_path, recorded):
    with LabelledBag(tmp_path / "bag", NAMES, encoded=True) as bag:
        bag.write(START, EncodedImage(b"\xff\xd8\xff rest", "jpeg"), None)
    bag = recorded(tmp_path / "bag")
    assert IMAGE_TOPIC not in bag.messages
    ((_, message),) = bag.messages[COMPRESSED_IMAGE_TOPIC]
    assert (message.format, message.data.tobytes()) == ("jpeg", b"\xff\xd8\xff rest")


def test_notes_are_in_the_metadata(tmp_path):
    with LabelledBag(tmp_path / "bag", NAMES, notes={"dataset": "ade20k val"}):
        pass
    assert "dataset: ade20k val" in (tmp_path / "bag" / "metadata.yaml").read_text()
