"""Write recordings: connections with their quality of service, and messages made field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.metadata import parse_qos

from activesam_ros.datasets.message_types import known_message_types, message_types_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from activesam_ros.datasets.storage import Connection

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
LABEL_INFO = "vision_msgs/msg/LabelInfo"
DETECTIONS = "vision_msgs/msg/Detection2DArray"

STORAGES: Mapping[str, StoragePlugin] = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
"""The formats of rosbag2 by its own names for them."""

_FOREVER = QosTime(9_223_372_036, 854_775_807)
_LITTLE_ENDIAN = "<"


class BagWriter:
    """A recording that is being written; a context manager. After an exception the folder is left incomplete."""

    def __init__(
        self, path: Path, storage: str = "mcap", squeeze: bool = False, notes: Mapping[str, str] | None = None
    ) -> None:
        """Prepare a recording; entering it makes the folder.

        Args:
            path: folder of the recording, which must not exist.
            storage: one of `STORAGES`.
            squeeze: compress what MCAP writes, losslessly; SQLite cannot.
            notes: custom data of the recording's metadata, which `ros2 bag info` shows.
        """
        self._types = known_message_types()
        self._writer = Writer(path, version=9, storage_plugin=STORAGES[storage])
        if squeeze and storage == "mcap":
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self.note(notes or {})

    def __enter__(self) -> Self:
        self._writer.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    def note(self, notes: Mapping[str, str]) -> None:
        """Add custom data, until the end."""
        for key, value in notes.items():
            self._writer.set_custom_data(key, value)

    def connection(self, topic: str, kind: str, latched: bool = False) -> Any:
        """Add a topic of a known type, offered as reliable; latched ones keep their last message."""
        qos = Qos(
            history=QosHistory.KEEP_LAST,
            depth=1 if latched else 10,
            reliability=QosReliability.RELIABLE,
            durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
            deadline=_FOREVER,
            lifespan=_FOREVER,
            liveliness=QosLiveliness.AUTOMATIC,
            liveliness_lease_duration=_FOREVER,
            avoid_ros_namespace_conventions=False,
        )
        return self._writer.add_connection(topic, kind, typestore=self._types, offered_qos_profiles=[qos])

    def copied_connection(self, original: Connection, topic: str | None = None) -> Any:
        """Add a topic as another recording has it, perhaps under another name; messages are written with `write_raw`.

        Raises:
            EvaluationError: the type is neither known nor defined by the other recording.
        """
        types = message_types_of(original, self._types)
        qos = parse_qos(original.qos)
        return self._writer.add_connection(
            topic or original.topic, original.type, typestore=types, offered_qos_profiles=qos
        )

    def message(self, kind: str, **fields: object) -> Any:
        """Make a message of a known type from all its fields."""
        return self._types.types[kind](**fields)

    def header(self, stamp: int, frame_id: str) -> Any:
        """Make a header of a stamp in nanoseconds since 1970."""
        seconds, nanoseconds = divmod(stamp, 1_000_000_000)
        time = self.message("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        return self.message("std_msgs/msg/Header", stamp=time, frame_id=frame_id)

    def image(self, header: Any, pixels: np.ndarray, encoding: str) -> Any:
        """Make an image message of pixels [H, W] or [H, W, C], tightly packed and little-endian."""
        height, width = pixels.shape[:2]
        little_endian = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(_LITTLE_ENDIAN))
        return self.message(
            IMAGE,
            header=header,
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=little_endian.strides[0],
            data=little_endian.reshape(-1).view(np.uint8),
        )

    def label_image(self, header: Any, labels: np.ndarray) -> Any:
        """Make an image message of labels [H, W]: uint8 as mono8, uint16 as mono16."""
        return self.image(header, labels, "mono8" if labels.dtype == np.uint8 else "mono16")

    def label_info(self, header: Any, names: Mapping[int, str], threshold: float = 0.0) -> Any:
        """Make the message that says what the ids of label images mean."""
        classes = [
            self.message("vision_msgs/msg/VisionClass", class_id=class_id, class_name=name)
            for class_id, name in names.items()
        ]
        return self.message(LABEL_INFO, header=header, class_map=classes, threshold=threshold)

    def detection(
        self, header: Any, name: str, score: float, box: tuple[float, float, float, float], number: int
    ) -> Any:
        """Make a vision_msgs/Detection2D of a class's name, a box of left, top, right and bottom edge, and an id."""
        left, top, right, bottom = box
        make = self.message
        position = make("vision_msgs/msg/Point2D", x=(left + right) / 2, y=(top + bottom) / 2)
        centre = make("vision_msgs/msg/Pose2D", position=position, theta=0.0)
        origin = make("geometry_msgs/msg/Point", x=0.0, y=0.0, z=0.0)
        turn = make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
        pose = make(
            "geometry_msgs/msg/PoseWithCovariance",
            pose=make("geometry_msgs/msg/Pose", position=origin, orientation=turn),
            covariance=np.zeros(36),
        )
        hypothesis = make("vision_msgs/msg/ObjectHypothesis", class_id=name, score=score)
        return make(
            "vision_msgs/msg/Detection2D",
            header=header,
            results=[make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=hypothesis, pose=pose)],
            bbox=make(
                "vision_msgs/msg/BoundingBox2D", center=centre, size_x=right - left, size_y=bottom - top
            ),
            id=str(number),
        )

    def write(self, connection: Any, time: int, message: Any) -> None:
        """Write a message as recorded at `time`, nanoseconds since 1970."""
        self._writer.write(connection, time, self._types.serialize_cdr(message, connection.msgtype))

    def write_raw(self, connection: Any, time: int, data: bytes) -> None:
        """Write a message that is serialised already."""
        self._writer.write(connection, time, data)
