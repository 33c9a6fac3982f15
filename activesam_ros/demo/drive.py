"""A rendered drive through Toy Town as a rosbag2 with ground truth."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rosbags.highlevel import AnyReader
from tqdm import tqdm

from activesam_ros.datasets.labelled_bag import IMAGE_TOPIC, START, TRUTH_TOPIC, LabelledBag
from activesam_ros.datasets.message_types import known_message_types
from activesam_ros.toytown import CLASSES
from activesam_ros.toytown.world import World

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np


@dataclass(frozen=True)
class RecordedFrame:
    """One frame of the drive: nanosecond stamp, the serialised image message, pixels and true labels."""

    stamp: int
    message: bytes
    rgb: np.ndarray
    truth: np.ndarray


def write_drive(
    path: Path, seed: int, frames: int, rate: float, size: tuple[int, int], storage: str = "mcap"
) -> None:
    """Renders a drive and records it.

    Args:
        path: folder of the bag; an older one is replaced.
        seed: of the street.
        frames: how many.
        rate: frames a second.
        size: width and height in pixels.
        storage: `mcap` or `sqlite3`.
    """
    width, height = size
    world = World(seed, width, height)
    shutil.rmtree(path, ignore_errors=True)
    with LabelledBag(path, dict(enumerate(CLASSES)), storage) as bag:
        for index in tqdm(range(frames), desc="rendering the drive", unit="frame"):
            frame = world.render(index / rate)
            bag.write(START + round(index / rate * 1e9), frame.rgb, frame.labels)


def read_drive(path: Path) -> list[RecordedFrame]:
    """The frames of a bag written by `write_drive`, in order."""
    store = known_message_types()
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
