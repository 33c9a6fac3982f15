"""A rendered drive through Toy Town as a rosbag2 with ground truth."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore
from tqdm import tqdm

from activesam_ros.toytown.scene import World
from activesam_ros.toytown.words import CLASSES

IMAGE_TOPIC = "/camera/image"
TRUTH_TOPIC = "/ground_truth/labels"
TRUTH_INFO_TOPIC = "/ground_truth/label_info"

_START = 1_700_000_000_000_000_000
_VISION_MSGS = {
    "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name",
    "vision_msgs/msg/LabelInfo": "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold",
}


@dataclass(frozen=True)
class RecordedFrame:
    """One frame of the drive: nanosecond stamp, the serialised image message, pixels and true labels."""

    stamp: int
    message: bytes
    rgb: np.ndarray
    truth: np.ndarray


def message_types() -> Typestore:
    """ROS 2's standard messages and the two of vision_msgs that label images need."""
    store = get_typestore(Stores.ROS2_KILTED)
    for name, definition in _VISION_MSGS.items():
        store.register(get_types_from_msg(definition, name))
    return store


def write_drive(path: Path, seed: int, frames: int, rate: float, size: tuple[int, int]) -> None:
    """Renders a drive and records it as MCAP.

    Args:
        path: folder of the bag; an older one is replaced.
        seed: of the street.
        frames: how many.
        rate: frames a second.
        size: width and height in pixels.
    """
    width, height = size
    world = World(seed, width, height)
    store = message_types()
    types = store.types
    header, stamp_type = types["std_msgs/msg/Header"], types["builtin_interfaces/msg/Time"]
    shutil.rmtree(path, ignore_errors=True)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        images = bag.add_connection(IMAGE_TOPIC, "sensor_msgs/msg/Image", typestore=store)
        truths = bag.add_connection(TRUTH_TOPIC, "sensor_msgs/msg/Image", typestore=store)
        infos = bag.add_connection(TRUTH_INFO_TOPIC, "vision_msgs/msg/LabelInfo", typestore=store)

        def image(stamp: int, array: np.ndarray, encoding: str) -> bytes:
            message = types["sensor_msgs/msg/Image"](
                header=header(stamp_type(*divmod(stamp, 1_000_000_000)), "camera"),
                height=array.shape[0],
                width=array.shape[1],
                encoding=encoding,
                is_bigendian=0,
                step=array.strides[0],
                data=array.reshape(-1),
            )
            return store.serialize_cdr(message, "sensor_msgs/msg/Image")

        info = types["vision_msgs/msg/LabelInfo"](
            header=header(stamp_type(*divmod(_START, 1_000_000_000)), "camera"),
            class_map=[
                types["vision_msgs/msg/VisionClass"](index, name) for index, name in enumerate(CLASSES)
            ],
            threshold=0.0,
        )
        bag.write(infos, _START, store.serialize_cdr(info, "vision_msgs/msg/LabelInfo"))
        for index in tqdm(range(frames), desc="rendering the drive", unit="frame"):
            stamp = _START + round(index / rate * 1e9)
            frame = world.render(index / rate)
            bag.write(images, stamp, image(stamp, frame.rgb, "rgb8"))
            bag.write(truths, stamp, image(stamp, frame.labels, "mono8"))


def read_drive(path: Path) -> list[RecordedFrame]:
    """The frames of a bag written by `write_drive`, in order."""
    store = message_types()
    truths: dict[int, np.ndarray] = {}
    images: list[tuple[int, bytes, np.ndarray]] = []
    with AnyReader([path], default_typestore=store) as bag:
        wanted = [
            connection for connection in bag.connections if connection.topic in (IMAGE_TOPIC, TRUTH_TOPIC)
        ]
        for connection, _, raw in bag.messages(wanted):
            message = bag.deserialize(raw, connection.msgtype)
            stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
            pixels = message.data.reshape(message.height, message.width, -1)
            if connection.topic == TRUTH_TOPIC:
                truths[stamp] = pixels[:, :, 0]
            else:
                images.append((stamp, bytes(raw), pixels))
    return [RecordedFrame(stamp, raw, pixels, truths[stamp]) for stamp, raw, pixels in images]
