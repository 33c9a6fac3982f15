"""Image files as pixels or as they are, and label files, whose values are class numbers."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from activesam_ros.errors import DatasetError, ImageError, reason
from activesam_ros.images.compressed import compressed_to_rgb, picture_ids, refuse_damage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SIGNATURES = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png"}
_EXIF_ORIENTATION = 0x0112
_MAT_VARIABLE = "LabelMap"
_VALUES = 65_536
# Formats that keep numbers as they are; in TIFF, with one of these compressions.
_LOSSLESS = ("PNG", "TIFF", "BMP", "DIB", "PPM", "GIF", "TGA", "PCX")
_LOSSLESS_TIFF = (
    "raw",
    "tiff_lzw",
    "tiff_adobe_deflate",
    "tiff_deflate",
    "packbits",
    "zstd",
    "lzma",
    "group4",
)
_IGNORED, _UNKNOWN = -1, -2


@dataclass
class EncodedImage:
    """The bytes of an image file; format: `jpeg` or `png`."""

    data: bytes
    format: str


@dataclass(frozen=True)
class ImageFile:
    """An image file that could be decoded.

    Attributes:
        rgb: uint8 [H, W, 3]. The EXIF orientation is not applied, as label files of the benchmarks expect.
        encoded: the file as it is; None if it is neither JPEG nor PNG.
    """

    rgb: np.ndarray
    encoded: EncodedImage | None


def read_image(path: Path) -> ImageFile:
    """Read an image file of any kind that Pillow knows; JPEG and PNG as they are read from a recording.

    Raises:
        DatasetError: the file cannot be decoded.
    """
    try:
        data = path.read_bytes()
        kind = next((kind for begin, kind in _SIGNATURES.items() if data.startswith(begin)), None)
        if kind is not None:
            encoded = EncodedImage(data, kind)
            return ImageFile(compressed_to_rgb(encoded), encoded)
        with Image.open(io.BytesIO(data)) as image:
            return ImageFile(np.array(image.convert("RGB")), None)
    except Exception as error:  # damaged files make the decoders raise nearly anything
        raise DatasetError(f"the image {path} cannot be read: {reason(error)}") from error


def has_exif_rotation(path: Path) -> bool:
    """Whether EXIF says that the image has to be turned; False if EXIF cannot be read."""
    try:
        with Image.open(path) as image:
            return bool(image.getexif().get(_EXIF_ORIENTATION, 1) != 1)
    except Exception:  # damaged notes make the reader raise nearly anything
        return False


def read_labels(path: Path) -> np.ndarray:
    """Read the values of a label file.

    Args:
        path: an image with one channel of 8 or 16 bit; or one with a palette, whose indices are the values; or a
            MATLAB file with the variable `LabelMap`.

    Returns:
        uint8 or uint16 [H, W].

    Raises:
        DatasetError: the file cannot be read, or is a colour image.
    """
    values = _read_mat(path) if path.suffix == ".mat" else _read_label_image(path)
    if values.dtype in (np.uint8, np.uint16):
        return values
    if values.size and not 0 <= values.min() <= values.max() < _VALUES:
        raise DatasetError(f"{path} has values from {values.min()} to {values.max()}; expected 0 to 65535")
    return values.astype(np.uint16)


def _read_label_image(path: Path) -> np.ndarray:
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            kind = image.format or "?"
            compression = str(image.info.get("compression", "raw"))
            if kind not in _LOSSLESS or (kind == "TIFF" and compression not in _LOSSLESS_TIFF):
                raise DatasetError(
                    f"the label file {path} is a {kind}, which may alter class numbers; expected a PNG, as the data "
                    "set has it"
                )
            mode = image.mode
            refuse_damage(data, image)
            return picture_ids(image)
    except DatasetError:
        raise
    except ImageError as error:
        raise DatasetError(
            f"{path} is a picture of the mode {mode}; expected class numbers in one channel of 8 or 16 bit, or in a "
            "palette"
        ) from error
    except Exception as error:  # damaged files make the decoders raise nearly anything
        raise _unreadable(path, error) from error


def _read_mat(path: Path) -> np.ndarray:
    from scipy.io import loadmat

    try:
        values = np.asarray(loadmat(path, variable_names=[_MAT_VARIABLE])[_MAT_VARIABLE])
    except KeyError as error:
        raise DatasetError(
            f"{path} has no variable {_MAT_VARIABLE}; expected a label map of Pascal Context"
        ) from error
    except Exception as error:  # damaged files make the reader raise nearly anything
        raise _unreadable(path, error) from error
    if values.ndim != 2:
        raise DatasetError(
            f"{_MAT_VARIABLE} in {path} has the shape {values.shape}; expected [height, width]"
        )
    return values


def _unreadable(path: Path, error: Exception) -> DatasetError:
    return DatasetError(f"the label file {path} cannot be read ({reason(error)}); unpack the data set again")


@dataclass(frozen=True)
class LabelIds:
    """The classes behind the values of label files.

    Attributes:
        classes: value in the file → class id.
        ignored: values whose pixels do not count, as the data set says.
        foreign: values that only label files with another numbering have → what those are, for the error.

    Raises:
        DatasetError: no classes, or a class id above 65534.
    """

    classes: Mapping[int, int]
    ignored: frozenset[int] = field(default_factory=frozenset)
    foreign: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.classes:
            raise DatasetError(
                "there is no class left to evaluate; expected at least one that is not ignored"
            )
        if max(self.classes.values()) > _VALUES - 2:
            raise DatasetError(
                f"the class id {_VALUES - 1} stands for pixels without a class; expected smaller ids"
            )

    @cached_property
    def dtype(self) -> np.dtype:
        """uint8 while every class id is at most 254, else uint16."""
        return np.dtype(np.uint8 if max(self.classes.values()) < 255 else np.uint16)

    @cached_property
    def uncounted_id(self) -> int:
        """Id of pixels without a class: 255, or 65535 in 16 bit."""
        return int(np.iinfo(self.dtype).max)

    @cached_property
    def _table(self) -> np.ndarray:
        table = np.full(_VALUES, _UNKNOWN, np.int32)
        table[sorted(self.ignored)] = _IGNORED
        for value, class_id in self.classes.items():
            table[value] = class_id
        return table

    def convert(self, values: np.ndarray) -> tuple[np.ndarray, dict[int, int]]:
        """Convert the values of a label file to class ids.

        Args:
            values: uint8 or uint16 [H, W].

        Returns:
            class ids [H, W] of type `dtype`, with `uncounted_id` where there is none; and the number of pixels of
            each value that is neither a class nor ignored.

        Raises:
            DatasetError: a value shows that the file has another numbering.
        """
        ids = self._table[values]
        unknown: dict[int, int] = {}
        if (ids == _UNKNOWN).any():
            found, pixels = np.unique(values[ids == _UNKNOWN], return_counts=True)
            unknown = dict(zip(found.tolist(), pixels.tolist(), strict=True))
        for value in unknown.keys() & self.foreign.keys():
            raise DatasetError(f"a label file has the value {value}, as {self.foreign[value]}")
        return np.where(ids < 0, self.uncounted_id, ids).astype(self.dtype), unknown
