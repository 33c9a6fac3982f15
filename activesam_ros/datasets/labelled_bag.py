"""Write recordings of images with ground truth: frame by frame, or from image files and label files."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from tqdm import tqdm

from activesam_ros.datasets.image_files import (
    EncodedImage,
    ImageFile,
    has_exif_rotation,
    read_image,
    read_labels,
)
from activesam_ros.datasets.message_types import known_message_types
from activesam_ros.datasets.samples import TRUTH_TOPIC as TRUTH_TOPIC
from activesam_ros.errors import DatasetError
from activesam_ros.toytown import CLASSES
from activesam_ros.toytown.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from activesam_ros.datasets.image_files import LabelIds
    from activesam_ros.datasets.layouts import Pair

IMAGE_TOPIC = "/camera/image"
COMPRESSED_IMAGE_TOPIC = f"{IMAGE_TOPIC}/compressed"
TRUTH_INFO_TOPIC = "/ground_truth/label_info"

START = 1_700_000_000_000_000_000
"""Stamp of the class names, and of the first frame: nanoseconds since 1970."""

STORAGES: Mapping[str, StoragePlugin] = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
"""The formats of rosbag2 by its own names for them."""

_FRAME = "camera"
_IMAGE = "sensor_msgs/msg/Image"
_COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
_LABEL_INFO = "vision_msgs/msg/LabelInfo"
_METADATA = "metadata.yaml"
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
        """Prepare a bag; entering it makes the folder.

        Args:
            path: folder of the bag, which must not exist.
            class_names: id → name, for `vision_msgs/LabelInfo`.
            storage: one of `STORAGES`.
            encoded: images are `EncodedImage`s, recorded as `sensor_msgs/CompressedImage`.
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
        info = self._message(_LABEL_INFO, header=self._header(START), class_map=names, threshold=0.0)
        self._write(infos, START, info)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    def write(self, stamp: int, image: np.ndarray | EncodedImage, labels: np.ndarray | None) -> None:
        """Write a frame, stamped in nanoseconds since 1970.

        `image` is uint8 [H, W, 3], RGB, or an image file if the bag is of such; `labels` is uint8 or uint16 [H, W].
        """
        if isinstance(image, EncodedImage):
            data = np.frombuffer(image.data, np.uint8)
            message = self._message(
                _COMPRESSED_IMAGE, header=self._header(stamp), format=image.format, data=data
            )
        else:
            message = self._image(stamp, image, "rgb8")
        self._write(self._images, stamp, message)
        if labels is not None:
            encoding = "mono8" if labels.dtype == np.uint8 else "mono16"
            self._write(self._truths, stamp, self._image(stamp, labels, encoding))

    def _connection(self, topic: str, kind: str, latched: bool) -> Any:
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


@dataclass(frozen=True)
class BagOptions:
    """How a recording is written.

    Attributes:
        rate: frames a second of their stamps; above 0.
        storage: `mcap` or `sqlite3`.
        compressed: JPEG and PNG files go into the recording as they are, instead of as raw pixels.
        overwrite: replace a recording that is there.
        notes: custom data for the recording's metadata.
    """

    rate: float = 10.0
    storage: str = "mcap"
    compressed: bool = False
    overwrite: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BagReport:
    """What was written.

    Attributes:
        images: how many.
        labelled: how many of them with ground truth.
        pixels: class id → pixels of it; `LabelIds.uncounted_id` → pixels that do not count.
        unknown_pixels: value that is neither a class nor ignored → its pixels, which do not count.
        unknown_images: the same value → how many images have it.
    """

    images: int
    labelled: int
    pixels: Mapping[int, int]
    unknown_pixels: Mapping[int, int]
    unknown_images: Mapping[int, int]


def make_bag(
    pairs: Sequence[Pair], ids: LabelIds, class_names: Mapping[int, str], out: Path, options: BagOptions
) -> BagReport:
    """Write images and label files, in order, as a rosbag2 in the folder `out`, whole or not at all.

    `ids` says what the values in the label files mean; `class_names` names every class that it knows.

    Raises:
        DatasetError: a file cannot be used, sizes differ, or `out` is in the way or cannot be written.
    """
    pixels: Counter[int] = Counter()
    unknown_pixels: Counter[int] = Counter()
    unknown_images: Counter[int] = Counter()
    compressed, notes = options.compressed, options.notes
    with (
        whole_recording(out, options.overwrite) as folder,
        LabelledBag(
            folder, class_names, options.storage, encoded=compressed, squeeze=True, notes=notes
        ) as bag,
    ):
        for index, pair in enumerate(tqdm(pairs, desc=out.name, unit="image", disable=None)):
            file = read_image(pair.image)
            labels = None
            if pair.label is not None:
                values = read_labels(pair.label)
                _check_sizes(pair, file, values)
                labels, unknown = ids.convert(values)
                counts = np.bincount(labels.reshape(-1))
                pixels.update({int(value): int(counts[value]) for value in np.flatnonzero(counts)})
                unknown_pixels.update(unknown)
                unknown_images.update(unknown.keys())
            image = file.encoded if compressed else file.rgb
            if image is None:
                raise DatasetError(
                    f"{pair.image} is neither JPEG nor PNG, which alone can be recorded as they are; leave out "
                    "--compressed"
                )
            bag.write(START + round(index / options.rate * 1e9), image, labels)
    labelled = sum(pair.label is not None for pair in pairs)
    return BagReport(len(pairs), labelled, pixels, unknown_pixels, unknown_images)


def write_drive(
    path: Path, seed: int, frames: int, rate: float, size: tuple[int, int], storage: str = "mcap"
) -> None:
    """Render a drive through Toy Town and record it with ground truth; an older recording is replaced.

    The street is that of `seed`; `rate` is in frames per second, `size` is width and height in pixels.
    """
    world = World(seed, *size)
    shutil.rmtree(path, ignore_errors=True)
    with LabelledBag(path, dict(enumerate(CLASSES)), storage) as bag:
        for index in tqdm(range(frames), desc="rendering the drive", unit="frame"):
            frame = world.render(index / rate)
            bag.write(START + round(index / rate * 1e9), frame.rgb, frame.labels)


def _check_sizes(pair: Pair, file: ImageFile, values: np.ndarray) -> None:
    if file.rgb.shape[:2] == values.shape:
        return
    (height, width), (label_height, label_width) = file.rgb.shape[:2], values.shape
    turned = has_exif_rotation(pair.image)
    hint = "; the image notes a turned camera, which is not applied: turn its pixels" if turned else ""
    raise DatasetError(
        f"{pair.image} is {width}x{height} pixels and {pair.label} {label_width}x{label_height}; expected one "
        f"size{hint}"
    )


@contextmanager
def whole_recording(out: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a folder to write to, which becomes `out` at the end; after an exception `out` is as before.

    Raises:
        DatasetError: `out` is in the way or cannot be written.
    """
    if out.exists():
        if not overwrite:
            raise DatasetError(f"{out} exists; give another name, or --overwrite")
        if not (out / _METADATA).is_file():
            raise DatasetError(f"{out} is no recording, so it is not overwritten; give another name")
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        # Storage files are named after the folder that they are written to.
        yield partial / out.name
        if out.exists():
            shutil.rmtree(out)
        (partial / out.name).rename(out)
    except OSError as error:
        raise DatasetError(f"{out} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
