"""Write recordings of images with ground truth: frame by frame, or from image files and label files."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from tqdm import tqdm

from activesam_ros.datasets.bag_writer import COMPRESSED_IMAGE, IMAGE, LABEL_INFO, BagWriter
from activesam_ros.datasets.image_files import (
    EncodedImage,
    ImageFile,
    has_exif_rotation,
    read_image,
    read_labels,
)
from activesam_ros.datasets.samples import TRUE_INSTANCES_TOPIC
from activesam_ros.datasets.samples import TRUTH_TOPIC as TRUTH_TOPIC
from activesam_ros.datasets.whole_folder import require_free, whole_folder
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

_FRAME = "camera"
_METADATA = "metadata.yaml"


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
        self._class_names = class_names
        self._encoded = encoded
        self._instances: Any = None
        self._bag = BagWriter(path, storage, squeeze, notes)

    def __enter__(self) -> Self:
        self._bag.__enter__()
        topic, kind = (COMPRESSED_IMAGE_TOPIC, COMPRESSED_IMAGE) if self._encoded else (IMAGE_TOPIC, IMAGE)
        self._images = self._bag.connection(topic, kind)
        self._truths = self._bag.connection(TRUTH_TOPIC, IMAGE)
        infos = self._bag.connection(TRUTH_INFO_TOPIC, LABEL_INFO, latched=True)
        info = self._bag.label_info(self._bag.header(START, _FRAME), self._class_names)
        self._bag.write(infos, START, info)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bag.__exit__(kind, error, trace)

    def write(
        self,
        stamp: int,
        image: np.ndarray | EncodedImage,
        labels: np.ndarray | None,
        instances: np.ndarray | None = None,
    ) -> None:
        """Write a frame, stamped in nanoseconds since 1970.

        `image` is uint8 [H, W, 3], RGB, or an image file if the bag is of such; `labels` is uint8 or uint16 [H, W];
        `instances` is uint16 [H, W], ids of true things, 0: none.
        """
        bag, header = self._bag, self._bag.header(stamp, _FRAME)
        if isinstance(image, EncodedImage):
            data = np.frombuffer(image.data, np.uint8)
            message = bag.message(COMPRESSED_IMAGE, header=header, format=image.format, data=data)
        else:
            message = bag.image(header, image, "rgb8")
        bag.write(self._images, stamp, message)
        if labels is not None:
            bag.write(self._truths, stamp, bag.label_image(header, labels))
        if instances is not None:
            if self._instances is None:
                self._instances = bag.connection(TRUE_INSTANCES_TOPIC, IMAGE)
            bag.write(self._instances, stamp, bag.image(header, instances, "16UC1"))


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
            bag.write(START + round(index / rate * 1e9), frame.rgb, frame.labels, frame.instances)


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
    require_free(out, overwrite, _METADATA, "recording")
    with whole_folder(out) as folder:
        yield folder
