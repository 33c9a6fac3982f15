"""Writing a rosbag2 of images with ground truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from activesam_ros.datasets.message_types import known_message_types
from activesam_ros.datasets.picture_files import EncodedPicture

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

IMAGE_TOPIC = "/camera/image"
COMPRESSED_IMAGE_TOPIC = f"{IMAGE_TOPIC}/compressed"
TRUTH_TOPIC = "/ground_truth/labels"
TRUTH_INFO_TOPIC = "/ground_truth/label_info"

START = 1_700_000_000_000_000_000
"""Stamp of the class names, and of the first frame: nanoseconds since 1970."""

STORAGES: Mapping[str, StoragePlugin] = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
"""The formats of rosbag2 by its own names for them."""

_FRAME = "camera"
_IMAGE = "sensor_msgs/msg/Image"
_COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
_LABEL_INFO = "vision_msgs/msg/LabelInfo"
_FOREVER = QosTime(9_223_372_036, 854_775_807)


class LabelledBag:
    """A recording with one topic of images, one of label images, and the latched names of the classes.

    A context manager. After an exception the folder is left incomplete.
    """

    def __init__(
        self,
        path: Path,
        class_names: Mapping[int, str],
        storage: str = "mcap",
        *,
        encoded: bool = False,
        squeeze: bool = False,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Args:
        path: folder of the bag, which must not exist.
        class_names: id → name, as `vision_msgs/LabelInfo` tells them.
        storage: one of `STORAGES`.
        encoded: images are `EncodedPicture`s, published as `sensor_msgs/CompressedImage`.
        squeeze: compress what MCAP writes, losslessly; SQLite cannot.
        notes: custom data of the bag's metadata, which `ros2 bag info` shows.
        """
        self._types = known_message_types()
        self._class_names = class_names
        self._encoded = encoded
        self._writer = Writer(path, version=9, storage_plugin=STORAGES[storage])
        if squeeze and storage == "mcap":
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        for key, value in (notes or {}).items():
            self._writer.set_custom_data(key, value)

    def __enter__(self) -> Self:
        self._writer.open()
        topic, kind = (COMPRESSED_IMAGE_TOPIC, _COMPRESSED_IMAGE) if self._encoded else (IMAGE_TOPIC, _IMAGE)
        self._images = self._connection(topic, kind, latched=False)
        self._truths = self._connection(TRUTH_TOPIC, _IMAGE, latched=False)
        infos = self._connection(TRUTH_INFO_TOPIC, _LABEL_INFO, latched=True)
        names = [
            self._message("vision_msgs/msg/VisionClass", class_id=class_id, class_name=name)
            for class_id, name in self._class_names.items()
        ]
        self._write(
            infos,
            START,
            self._message(_LABEL_INFO, header=self._header(START), class_map=names, threshold=0.0),
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    def write(self, stamp: int, image: np.ndarray | EncodedPicture, labels: np.ndarray | None) -> None:
        """Writes a frame.

        Args:
            stamp: nanoseconds since 1970, of both headers and of the recording.
            image: uint8 [H, W, 3], RGB; or a picture file if the bag is of such.
            labels: uint8 or uint16 [H, W]; None: the frame has no ground truth.
        """
        if isinstance(image, EncodedPicture):
            message = self._message(
                _COMPRESSED_IMAGE,
                header=self._header(stamp),
                format=image.format,
                data=np.frombuffer(image.data, np.uint8),
            )
        else:
            message = self._image(stamp, image, "rgb8")
        self._write(self._images, stamp, message)
        if labels is not None:
            encoding = "mono8" if labels.dtype == np.uint8 else "mono16"
            self._write(self._truths, stamp, self._image(stamp, labels, encoding))

    def _connection(self, topic: str, kind: str, latched: bool) -> Any:
        qos = Qos(
            QosHistory.KEEP_LAST,
            1 if latched else 10,
            QosReliability.RELIABLE,
            QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
            _FOREVER,
            _FOREVER,
            QosLiveliness.AUTOMATIC,
            _FOREVER,
            False,
        )
        return self._writer.add_connection(topic, kind, typestore=self._types, offered_qos_profiles=[qos])

    def _image(self, stamp: int, pixels: np.ndarray, encoding: str) -> Any:
        height, width = pixels.shape[:2]
        little_endian = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
        return self._message(
            _IMAGE,
            header=self._header(stamp),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=little_endian.strides[0],
            data=little_endian.reshape(-1).view(np.uint8),
        )

    def _header(self, stamp: int) -> Any:
        seconds, nanoseconds = divmod(stamp, 1_000_000_000)
        time = self._message("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        return self._message("std_msgs/msg/Header", stamp=time, frame_id=_FRAME)

    def _message(self, kind: str, **fields: object) -> Any:
        return self._types.types[kind](**fields)

    def _write(self, connection: Any, stamp: int, message: Any) -> None:
        self._writer.write(connection, stamp, self._types.serialize_cdr(message, connection.msgtype))
