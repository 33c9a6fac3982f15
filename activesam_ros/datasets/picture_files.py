"""Image files as pixels, or as they are."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from activesam_ros.errors import DatasetError

_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class EncodedPicture:
    """The bytes of a picture file; format: `jpeg` or `png`."""

    data: bytes
    format: str


@dataclass(frozen=True)
class PictureFile:
    """A file that could be decoded.

    Attributes:
        rgb: uint8 [H, W, 3]. The orientation that a camera may have noted is not applied, as label files of the
            benchmarks expect.
        encoded: the file as it is; None if it is neither JPEG nor PNG.
        turned: the camera noted another orientation.
    """

    rgb: np.ndarray
    encoded: EncodedPicture | None
    turned: bool


def read_picture(path: Path) -> PictureFile:
    """Reads an image file of any kind that Pillow knows; grey and palettes become RGB, 16 bit become 8.

    Raises:
        DatasetError: the file cannot be decoded.
    """
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as picture:
            kind = (picture.format or "").lower()
            turned = picture.getexif().get(_EXIF_ORIENTATION, 1) != 1
            rgb = _rgb(picture)
    except Exception as error:  # damaged files make the decoders raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(
            f"the image {path} cannot be read ({reason}); unpack the data set again"
        ) from error
    encoded = EncodedPicture(data, kind) if kind in ("jpeg", "png") else None
    return PictureFile(rgb, encoded, turned)


def _rgb(picture: Image.Image) -> np.ndarray:
    if picture.mode.startswith("I"):
        grey = (np.asarray(picture) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    return np.array(picture.convert("RGB"))
