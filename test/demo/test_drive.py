"""The bag of a drive: standard types, exact pixels, one truth an image."""

import numpy as np
import pytest

pytest.importorskip("rosbags")

from rosbags.highlevel import AnyReader

from activesam_ros.datasets.labelled_bag import IMAGE_TOPIC, TRUTH_INFO_TOPIC
from activesam_ros.datasets.message_types import known_message_types
from activesam_ros.demo.drive import read_drive, write_drive
from activesam_ros.toytown import CLASSES
from activesam_ros.toytown.world import World


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "drive"
    write_drive(path, seed=5, frames=4, rate=2.0, size=(96, 64))
    return path


def test_frames_come_back_exactly(bag):
    frames = read_drive(bag)
    assert [frame.stamp - frames[0].stamp for frame in frames] == [
        0,
        500_000_000,
        1_000_000_000,
        1_500_000_000,
    ]
    world = World(5, 96, 64)
    for index, frame in enumerate(frames):
        rendered = world.render(index / 2.0)
        assert np.array_equal(frame.rgb, rendered.rgb)
        assert np.array_equal(frame.truth, rendered.labels)


def test_it_is_an_ordinary_mcap_bag(bag):
    assert list(bag.glob("*.mcap")) and (bag / "metadata.yaml").is_file()
    with AnyReader([bag], default_typestore=known_message_types()) as reader:
        assert reader.topics[IMAGE_TOPIC].msgtype == "sensor_msgs/msg/Image"
        connection = reader.topics[TRUTH_INFO_TOPIC].connections[0]
        _, _, raw = next(reader.messages([connection]))
        info = reader.deserialize(raw, connection.msgtype)
    assert [(entry.class_id, entry.class_name) for entry in info.class_map] == list(enumerate(CLASSES))


def test_a_bag_is_replaced(bag):
    write_drive(bag, seed=6, frames=1, rate=2.0, size=(96, 64))
    assert len(read_drive(bag)) == 1
