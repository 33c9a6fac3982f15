"""Image files as pixels, or as they are."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from activesam_ros.errors import DatasetError, reason
from activesam_ros.images.compressed import compressed_to_rgb

if TYPE_CHECKING:
    from pathlib import Path

_SIGNATURES = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png"}
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
    """

    rgb: np.ndarray
    encoded: EncodedPicture | None


def read_picture(path: Path) -> PictureFile:
    """Reads an image file of any kind that Pillow knows; JPEG and PNG as they are read from a recording.

    Raises:
        DatasetError: the file cannot be decoded.
    """
    try:
        data = path.read_bytes()
        kind = next((kind for begin, kind in _SIGNATURES.items() if data.startswith(begin)), None)
        encoded = EncodedPicture(data, kind) if kind else None
        if encoded is not None:
            return PictureFile(compressed_to_rgb(encoded), encoded)
        with Image.open(io.BytesIO(data)) as picture:
            return PictureFile(np.array(picture.convert("RGB")), None)
    except Exception as error:  # damaged files make the decoders raise nearly anything
        raise DatasetError(f"the image {path} cannot be read: {reason(error)}") from error


def notes_turned(path: Path) -> bool:
    """Whether the camera noted that it was turned; False if what it noted cannot be read."""
    try:
        with Image.open(path) as picture:
            return picture.getexif().get(_EXIF_ORIENTATION, 1) != 1
    except Exception:  # damaged notes make the reader raise nearly anything
        return False
