"""Recordings that the tests write: rosbag2 as rosbags writes it, and MCAP with compressed chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from activesam_ros.datasets.message_types import known_message_types

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rosbags.typesys.store import Typestore

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


@dataclass(frozen=True)
class Written:
    """A message to record: `stamp` becomes the header's, `time` when it was recorded, both in ns after the start."""

    topic: str
    type: str
    message: Any
    time: int


class Bags:
    """Makes messages and recordings."""

    IMAGE = "sensor_msgs/msg/Image"
    COMPRESSED = "sensor_msgs/msg/CompressedImage"
    LABEL_INFO = "vision_msgs/msg/LabelInfo"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: Typestore = known_message_types()
        self.start = START

    def header(self, stamp: int) -> Any:
        types = self.store.types
        time = types["builtin_interfaces/msg/Time"](*divmod(START + stamp, SECOND))
        return types["std_msgs/msg/Header"](time, "camera")

    def image(
        self, topic: str, pixels: np.ndarray, encoding: str, stamp: int, time: int | None = None, **changed
    ) -> Written:
        pixels = np.ascontiguousarray(pixels)
        fields = {
            "header": self.header(stamp),
            "height": pixels.shape[0],
            "width": pixels.shape[1],
            "encoding": encoding,
            "is_bigendian": int(pixels.dtype.byteorder == ">"),
            "step": pixels.nbytes // pixels.shape[0],
            "data": pixels.reshape(-1).view(np.uint8),
        }
        message = self.store.types[self.IMAGE](**{**fields, **changed})
        return Written(topic, self.IMAGE, message, stamp if time is None else time)

    def compressed(self, topic: str, data: bytes, format: str, stamp: int) -> Written:
        message = self.store.types[self.COMPRESSED](
            header=self.header(stamp), format=format, data=np.frombuffer(data, np.uint8)
        )
        return Written(topic, self.COMPRESSED, message, stamp)

    def label_info(self, topic: str, names: dict[int, str], stamp: int = 0) -> Written:
        entry = self.store.types["vision_msgs/msg/VisionClass"]
        message = self.store.types[self.LABEL_INFO](
            header=self.header(stamp),
            class_map=[entry(class_id=number, class_name=name) for number, name in names.items()],
            threshold=0.0,
        )
        return Written(topic, self.LABEL_INFO, message, stamp)

    def raw(self, written: Written) -> bytes:
        return bytes(self.store.serialize_cdr(written.message, written.type))

    def write(
        self,
        messages: Sequence[Written],
        storage: str = "mcap",
        compression: str = "none",
        name: str = "recording",
        damage: Callable[[int, bytes], bytes] = lambda index, raw: raw,
    ) -> Path:
        """A rosbag2 folder; `compression` is one of rosbags' modes, `damage` changes serialised messages."""
        path = self.folder / name
        bag = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
        bag.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
        with bag:
            connections = {
                one.topic: bag.add_connection(one.topic, one.type, typestore=self.store)
                for one in {one.topic: one for one in messages}.values()
            }
            for index, one in enumerate(messages):
                bag.write(connections[one.topic], START + one.time, damage(index, self.raw(one)))
        return path

    def write_mcap(
        self, messages: Sequence[Written], name: str = "recording.mcap", profile: str = "ros2", **options
    ) -> Path:
        """A single file as mcap's own writer makes it: chunks of lz4 or zstd, or none."""
        from mcap.writer import Writer as McapWriter

        path = self.folder / name
        with path.open("wb") as file:
            writer = McapWriter(file, **options)
            writer.start(profile=profile)
            channels = {}
            for one in {one.topic: one for one in messages}.values():
                definition, _ = self.store.generate_msgdef(one.type, ros_version=2)
                schema = writer.register_schema(one.type, "ros2msg", definition.encode())
                channels[one.topic] = writer.register_channel(one.topic, "cdr", schema)
            for one in messages:
                time = START + one.time
                writer.add_message(channels[one.topic], time, self.raw(one), time)
            writer.finish()
        return path
