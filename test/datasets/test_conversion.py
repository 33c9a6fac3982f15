"""Images and label files become a recording, whole or not at all."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rosbags")

from activesam_ros.datasets.image_files import LabelIds
from activesam_ros.datasets.labelled_bag import (
    COMPRESSED_IMAGE_TOPIC,
    IMAGE_TOPIC,
    START,
    BagOptions,
    BagReport,
    make_bag,
)
from activesam_ros.datasets.layouts import Pair
from activesam_ros.errors import DatasetError

NAMES = {0: "road", 1: "car"}
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
    report = make_bag(pairs, IDS, NAMES, out, BagOptions(rate=4.0))
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
    assert bag.names() == NAMES
    assert [path.name for path in out.parent.iterdir()] == ["bag"]
    assert sorted(path.name for path in out.iterdir()) == ["bag.mcap", "metadata.yaml"]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_compressed_images_are_the_files(tree, pairs, recorded, storage):
    out = tree.root / "bag"
    make_bag(pairs, IDS, NAMES, out, BagOptions(storage=storage, compressed=True))
    messages = [message for _, message in recorded(out).messages[COMPRESSED_IMAGE_TOPIC]]
    assert [message.format for message in messages] == ["jpeg", "png", "jpeg"]
    assert [message.data.tobytes() for message in messages] == [pair.image.read_bytes() for pair in pairs]


def test_files_that_cannot_be_recorded_as_they_are(tree):
    pairs = [Pair(tree.picture("0.bmp"), None)]
    with pytest.raises(DatasetError, match="0.bmp is neither JPEG nor PNG, .*; leave out --compressed"):
        make_bag(pairs, IDS, NAMES, tree.root / "bag", BagOptions(compressed=True))


def test_a_failure_in_the_middle_leaves_nothing(tree, pairs):
    pairs[2].label.write_text("damaged")
    with pytest.raises(DatasetError, match="2_labels.png cannot be read"):
        make_bag(pairs, IDS, NAMES, tree.root / "bag", BagOptions())
    assert sorted(path.suffix for path in tree.root.iterdir()) == [".jpg", ".jpg", ".png", ".png", ".png"]


def test_an_interrupt_leaves_nothing(tree, pairs, monkeypatch):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("activesam_ros.datasets.labelled_bag.read_labels", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_bag(pairs, IDS, NAMES, tree.root / "bag", BagOptions())
    assert not [path for path in tree.root.iterdir() if path.is_dir()]


def test_sizes_that_differ(tree):
    pairs = [Pair(tree.picture("0.jpg", size=(4, 6)), tree.labels("0_labels.png", 1))]
    with pytest.raises(DatasetError, match=r"0.jpg is 4x6 pixels and .*0_labels.png 6x4; expected one size$"):
        make_bag(pairs, IDS, NAMES, tree.root / "bag", BagOptions())


def test_sizes_that_differ_because_the_camera_was_turned(tree):
    path = tree.picture("0.jpg", size=(4, 6))
    image = Image.open(path)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    pairs = [Pair(path, tree.labels("0_labels.png", 1))]
    with pytest.raises(DatasetError, match="expected one size; the image notes a turned camera"):
        make_bag(pairs, IDS, NAMES, tree.root / "bag", BagOptions())


def test_what_is_there_is_replaced_only_on_demand(tree, pairs, recorded):
    out = tree.root / "bag"
    make_bag(pairs, IDS, NAMES, out, BagOptions())
    with pytest.raises(DatasetError, match="bag exists; give another name, or --overwrite"):
        make_bag(pairs[:1], IDS, NAMES, out, BagOptions())
    assert len(recorded(out).messages[IMAGE_TOPIC]) == 3
    make_bag(pairs[:1], IDS, NAMES, out, BagOptions(overwrite=True))
    assert len(recorded(out).messages[IMAGE_TOPIC]) == 1


def test_a_failed_replacement_keeps_what_was_there(tree, pairs, recorded):
    out = tree.root / "bag"
    make_bag(pairs, IDS, NAMES, out, BagOptions())
    pairs[0].image.write_text("damaged")
    with pytest.raises(DatasetError):
        make_bag(pairs, IDS, NAMES, out, BagOptions(overwrite=True))
    assert len(recorded(out).messages[IMAGE_TOPIC]) == 3


def test_only_recordings_are_overwritten(tree, pairs):
    keep = tree.text("photos/keep.txt", "")
    with pytest.raises(DatasetError, match="photos is no recording, so it is not overwritten"):
        make_bag(pairs, IDS, NAMES, keep.parent, BagOptions(overwrite=True))
    assert keep.is_file()


def test_a_place_that_cannot_be_written(tree, pairs):
    blocked = tree.text("file", "")
    with pytest.raises(DatasetError, match="file/bag cannot be written"):
        make_bag(pairs, IDS, NAMES, blocked / "bag", BagOptions())
