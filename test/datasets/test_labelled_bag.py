"""Recordings with ground truth: standard messages, exact pixels, latched names; written whole or not at all."""

import numpy as np
import pytest
from PIL import Image

from activesam_ros.datasets.bag_writer import STORAGES
from activesam_ros.datasets.image_files import EncodedImage, LabelIds
from activesam_ros.datasets.labelled_bag import (
    COMPRESSED_IMAGE_TOPIC,
    IMAGE_TOPIC,
    START,
    TRUTH_INFO_TOPIC,
    TRUTH_TOPIC,
    BagOptions,
    BagReport,
    LabelledBag,
    make_bag,
)
from activesam_ros.datasets.layouts import Pair
from activesam_ros.errors import DatasetError

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


CLASS_NAMES = {0: "road", 1: "car"}
IDS = LabelIds({1: 0, 2: 1}, frozenset({0}))


@pytest.fixture
def pairs(tree):
    return [
        Pair(tree.picture("0.jpg", 0), tree.labels("0_labels.png", 0, 1, 2, 9)),
        Pair(tree.picture("1.png", 1, (5, 7)), None),
        Pair(tree.picture("2.jpg", 2), tree.labels("2_labels.png", 2)),
    ]


def test_frames_report_and_stamps(tree, pairs, recorded):
    out = tree.root / "new" / "bag"
    report = make_bag(pairs, IDS, CLASS_NAMES, out, BagOptions(rate=4.0))
    assert report == BagReport(3, 2, {0: 6, 1: 30, 255: 12}, {9: 6}, {9: 1})
    bag = recorded(out)
    images = bag.messages[IMAGE_TOPIC]
    assert [time - START for time, _ in images] == [0, 250_000_000, 500_000_000]
    for (_, message), pair in zip(images, pairs, strict=True):
        expected = np.asarray(Image.open(pair.image))
        assert np.array_equal(message.data.reshape(message.height, message.width, 3), expected)
    assert np.array_equal(bag.truths()[0], tree.filled(255, 0, 1, 255))
    assert np.array_equal(bag.truths()[1], tree.filled(1))
    assert [time - START for time, _ in bag.messages["/ground_truth/labels"]] == [0, 500_000_000]
    assert bag.names() == CLASS_NAMES
    assert [path.name for path in out.parent.iterdir()] == ["bag"]
    assert sorted(path.name for path in out.iterdir()) == ["bag.mcap", "metadata.yaml"]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_compressed_images_are_the_files(tree, pairs, recorded, storage):
    out = tree.root / "bag"
    make_bag(pairs, IDS, CLASS_NAMES, out, BagOptions(storage=storage, compressed=True))
    messages = [message for _, message in recorded(out).messages[COMPRESSED_IMAGE_TOPIC]]
    assert [message.format for message in messages] == ["jpeg", "png", "jpeg"]
    assert [message.data.tobytes() for message in messages] == [pair.image.read_bytes() for pair in pairs]


def test_files_that_cannot_be_recorded_as_they_are(tree):
    pairs = [Pair(tree.picture("0.bmp"), None)]
    with pytest.raises(DatasetError, match=r"0.bmp is neither JPEG nor PNG, .*; leave out --compressed"):
        make_bag(pairs, IDS, CLASS_NAMES, tree.root / "bag", BagOptions(compressed=True))


def test_a_failure_in_the_middle_leaves_nothing(tree, pairs):
    pairs[2].label.write_text("damaged")
    with pytest.raises(DatasetError, match=r"2_labels.png cannot be read"):
        make_bag(pairs, IDS, CLASS_NAMES, tree.root / "bag", BagOptions())
    assert sorted(path.suffix for path in tree.root.iterdir()) == [".jpg", ".jpg", ".png", ".png", ".png"]


def test_an_interrupt_leaves_nothing(tree, pairs, monkeypatch):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("activesam_ros.datasets.labelled_bag.read_labels", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_bag(pairs, IDS, CLASS_NAMES, tree.root / "bag", BagOptions())
    assert not [path for path in tree.root.iterdir() if path.is_dir()]


def test_sizes_that_differ(tree):
    pairs = [Pair(tree.picture("0.jpg", size=(4, 6)), tree.labels("0_labels.png", 1))]
    with pytest.raises(DatasetError, match=r"0.jpg is 4x6 pixels and .*0_labels.png 6x4; expected one size$"):
        make_bag(pairs, IDS, CLASS_NAMES, tree.root / "bag", BagOptions())


def test_sizes_that_differ_because_the_camera_was_turned(tree):
    path = tree.picture("0.jpg", size=(4, 6))
    image = Image.open(path)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    pairs = [Pair(path, tree.labels("0_labels.png", 1))]
    with pytest.raises(DatasetError, match="expected one size; the image notes a turned camera"):
        make_bag(pairs, IDS, CLASS_NAMES, tree.root / "bag", BagOptions())


def test_what_is_there_is_replaced_only_on_demand(tree, pairs, recorded):
    out = tree.root / "bag"
    make_bag(pairs, IDS, CLASS_NAMES, out, BagOptions())
    with pytest.raises(DatasetError, match="bag exists; give another name, or --overwrite"):
        make_bag(pairs[:1], IDS, CLASS_NAMES, out, BagOptions())
    assert len(recorded(out).messages[IMAGE_TOPIC]) == 3
    make_bag(pairs[:1], IDS, CLASS_NAMES, out, BagOptions(overwrite=True))
    assert len(recorded(out).messages[IMAGE_TOPIC]) == 1


def test_a_failed_replacement_keeps_what_was_there(tree, pairs, recorded):
    out = tree.root / "bag"
    make_bag(pairs, IDS, CLASS_NAMES, out, BagOptions())
    pairs[0].image.write_text("damaged")
    with pytest.raises(DatasetError):
        make_bag(pairs, IDS, CLASS_NAMES, out, BagOptions(overwrite=True))
    assert len(recorded(out).messages[IMAGE_TOPIC]) == 3


def test_only_recordings_are_overwritten(tree, pairs):
    keep = tree.text("photos/keep.txt", "")
    with pytest.raises(DatasetError, match="photos is no recording, so it is not overwritten"):
        make_bag(pairs, IDS, CLASS_NAMES, keep.parent, BagOptions(overwrite=True))
    assert keep.is_file()


def test_a_place_that_cannot_be_written(tree, pairs):
    blocked = tree.text("file", "")
    with pytest.raises(DatasetError, match="file/bag cannot be written"):
        make_bag(pairs, IDS, CLASS_NAMES, blocked / "bag", BagOptions())
