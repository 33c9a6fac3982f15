"""Decoding of sensor_msgs/CompressedImage: JPEG and PNG to arrays."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from activesam_ros.errors import ImageError, reason
from activesam_ros.images.raw import BAYER_ENCODINGS, check_size, demosaic, refuse_measurements

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image as Pillow

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_NAMES = {"jpeg": "JPEG", "jpg": "JPEG", "png": "PNG"}


class CompressedMessage(Protocol):
    """A sensor_msgs/CompressedImage, or anything with its fields."""

    format: str
    data: Any  # of bytes, with the buffer protocol


def compressed_to_rgb(message: CompressedMessage, max_pixels: int | None = None) -> np.ndarray:
    """Decode a JPEG or PNG image.

    Altered data is detected in a PNG, which has checksums, and in a JPEG only where it can no longer be decoded.

    Args:
        message: `format` as image_transport writes it ("rgb8; jpeg compressed bgr8") or short ("jpeg"); what the
            data begins with decides between JPEG and PNG. Grey, colour and palettes, 8 or 16 bit (65535 becomes
            255); alpha is dropped; a Bayer mosaic is demosaiced if `format` begins with its encoding.
        max_pixels: larger images are refused by their header, before they are decoded; None: no limit.

    Returns:
        uint8 [height, width, 3], contiguous.

    Raises:
        ImageError: the format is another one or holds measurements, or the data is truncated, damaged or too large.
    """
    encoding = _original_encoding(message.format)
    refuse_measurements(encoding)
    pixels = _decoded(message, max_pixels, _pixels)
    if pixels.ndim == 2:
        if encoding in BAYER_ENCODINGS:
            return demosaic(pixels, encoding)
        return np.repeat(pixels[:, :, np.newaxis], 3, axis=2)
    return pixels


def compressed_to_ids(message: CompressedMessage, max_pixels: int | None = None) -> np.ndarray:
    """Decode a label image: a PNG, grey with 8 or 16 bit, or with a palette, whose indices are the ids.

    Args:
        message: as in `compressed_to_rgb`.
        max_pixels: as in `compressed_to_rgb`.

    Returns:
        uint8 or, from 16 bit, uint16 [height, width], contiguous.

    Raises:
        ImageError: it has another format or colours, or the data is truncated, damaged or too large.
    """
    _original_encoding(message.format)
    return _decoded(message, max_pixels, _ids)


def _decoded(
    message: CompressedMessage, max_pixels: int | None, pixels: Callable[[Pillow.Image], np.ndarray]
) -> np.ndarray:
    data = bytes(message.data)
    try:
        picture = _open(data, message.format)
        width, height = picture.size
        check_size(width, height, max_pixels)
        if isinstance(picture, PngImageFile):
            # Decoding stops at the last row, and would not detect that the end of the file is missing.
            PngImageFile(io.BytesIO(data)).verify()
        return pixels(picture)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # damaged files make the decoders raise nearly anything
        raise ImageError(
            f"the compressed image ({message.format!r}, {len(data)} bytes) is truncated or damaged: {reason(error)}"
        ) from error


def _original_encoding(format: str) -> str:
    """Return the encoding before compression; empty if `format` does not state it.

    Raises:
        ImageError: `format` names another compression, or depth.
    """
    encoding, separator, compression = (part.strip() for part in format.partition(";"))
    if not separator:
        encoding, compression = "", encoding
    words = compression.split()
    if "compressedDepth" in words:
        raise ImageError(
            f"the format {format!r} holds depth, not a picture: give the colour image's compressed topic"
        )
    if not words or words[0].lower() not in _NAMES:
        raise ImageError(
            f"the format {format!r} is not known: expected jpeg or png, as image_transport's compressed topics have it"
        )
    return encoding


def _open(data: bytes, format: str) -> Pillow.Image:
    # Not Image.open, which would try every format that Pillow knows on data from outside.
    if data.startswith(_JPEG):
        return JpegImageFile(io.BytesIO(data))
    if data.startswith(_PNG):
        return PngImageFile(io.BytesIO(data))
    what = f"{len(data)} bytes that are neither JPEG nor PNG" if data else "empty"
    raise ImageError(f"the compressed image ({format!r}) is {what}: expected a whole file of either kind")


def _pixels(picture: Pillow.Image) -> np.ndarray:
    """Decode to uint8 [H, W] or [H, W, 3]."""
    if picture.mode.startswith("I"):
        return (np.asarray(picture) >> 8).astype(np.uint8)
    if picture.mode in ("1", "LA"):
        picture = picture.convert("L")
    elif picture.mode not in ("L", "RGB"):
        picture = picture.convert("RGB")
    return np.array(picture)


def _ids(picture: Pillow.Image) -> np.ndarray:
    """Decode to uint8 or uint16 [H, W] without any conversion of values."""
    if isinstance(picture, JpegImageFile):
        raise ImageError("the label image is a JPEG, which alters ids: expected a PNG")
    if picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.uint16)
    if picture.mode not in ("L", "P"):
        raise ImageError(
            f"the label image has the pixels {picture.mode}: expected one grey value or index a pixel"
        )
    return np.array(picture)
