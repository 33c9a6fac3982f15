"""Turning images and label files into a recording."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from activesam_ros.datasets.label_files import read_labels
from activesam_ros.datasets.labelled_bag import START, LabelledBag
from activesam_ros.datasets.picture_files import EncodedPicture, PictureFile, notes_turned, read_picture
from activesam_ros.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from activesam_ros.datasets.label_ids import LabelIds
    from activesam_ros.datasets.pairs import Pair

_METADATA = "metadata.yaml"


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
    """Writes images and label files as a rosbag2, whole or not at all.

    Args:
        pairs: in the order in which they are to be recorded.
        ids: what the values in the label files mean.
        class_names: id → name of every class that `ids` knows.
        out: folder of the recording.
        options: how it is written.

    Raises:
        DatasetError: a file cannot be used, sizes differ, or `out` is in the way or cannot be written.
    """
    tally = _Tally()
    with (
        whole_recording(out, options.overwrite) as folder,
        LabelledBag(
            folder,
            class_names,
            options.storage,
            encoded=options.compressed,
            squeeze=True,
            notes=options.notes,
        ) as bag,
    ):
        for index, pair in enumerate(tqdm(pairs, desc=out.name, unit="image", disable=None)):
            picture = read_picture(pair.image)
            labels = None
            if pair.label is not None:
                values = read_labels(pair.label)
                _check_sizes(pair, picture, values)
                labels, unknown = ids.convert(values)
                tally.add(labels, unknown)
            image = _encoded(pair, picture) if options.compressed else picture.rgb
            bag.write(START + round(index / options.rate * 1e9), image, labels)
    return BagReport(
        len(pairs),
        tally.labelled,
        dict(tally.pixels),
        dict(tally.unknown_pixels),
        dict(tally.unknown_images),
    )


class _Tally:
    """Counts what the label files of a recording hold."""

    def __init__(self) -> None:
        self.labelled = 0
        self.pixels: Counter[int] = Counter()
        self.unknown_pixels: Counter[int] = Counter()
        self.unknown_images: Counter[int] = Counter()

    def add(self, labels: np.ndarray, unknown: Mapping[int, int]) -> None:
        counts = np.bincount(labels.reshape(-1))
        self.labelled += 1
        self.pixels.update({int(value): int(counts[value]) for value in np.flatnonzero(counts)})
        self.unknown_pixels.update(unknown)
        self.unknown_images.update(unknown.keys())


def _encoded(pair: Pair, picture: PictureFile) -> EncodedPicture:
    if picture.encoded is None:
        raise DatasetError(
            f"{pair.image} is neither JPEG nor PNG, which alone can be recorded as they are; leave out "
            "--compressed"
        )
    return picture.encoded


def _check_sizes(pair: Pair, picture: PictureFile, values: np.ndarray) -> None:
    if picture.rgb.shape[:2] == values.shape:
        return
    (height, width), (label_height, label_width) = picture.rgb.shape[:2], values.shape
    turned = notes_turned(pair.image)
    hint = "; the image notes a turned camera, which is not applied: turn its pixels" if turned else ""
    raise DatasetError(
        f"{pair.image} is {width}x{height} pixels and {pair.label} {label_width}x{label_height}; expected one "
        f"size{hint}"
    )


@contextmanager
def whole_recording(out: Path, overwrite: bool) -> Iterator[Path]:
    """A folder to write to, which becomes `out` at the end; an exception leaves nothing, and what was there stays.

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
