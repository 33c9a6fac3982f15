"""Decoding of sensor_msgs/Image: every common encoding, with padded rows, to arrays."""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np

from activesam_ros.errors import ImageError

# Channels of the 8-bit encodings, and their conversion to RGB.
_EIGHT_BIT = {
    "rgb8": (3, None),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
}
# Plain OpenCV types carry no colour meaning; OpenCV's own order is blue, green, red.
_PLAIN = {"8UC1": "mono8", "8UC3": "bgr8", "8UC4": "bgra8"}
_SIXTEEN_BIT = {"mono16": "mono8", "rgb16": "rgb8", "bgr16": "bgr8", "rgba16": "rgba8", "bgra16": "bgra8"}
# OpenCV names a Bayer pattern by its second row, ROS by its first.
_BAYER = {
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}
_YUV_422 = {
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
}
_YUV_420 = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}
# Has rows of colour that are twice as long as those of brightness.
_YUV_444 = "nv24"
_MEASURES = {"16UC1", "32FC1", "64FC1", "16SC1", "32SC1"}

_LARGEST_ID = 65_535

BAYER_ENCODINGS: tuple[str, ...] = tuple(f"{name}{bits}" for name in _BAYER for bits in (8, 16))

SUPPORTED_ENCODINGS: tuple[str, ...] = (
    *_EIGHT_BIT,
    *_PLAIN,
    *_SIXTEEN_BIT,
    *BAYER_ENCODINGS,
    *_YUV_422,
    *_YUV_420,
    _YUV_444,
)

ID_ENCODINGS: tuple[str, ...] = ("mono8", "mono16", "8UC1", "16UC1", "32SC1")


def check_size(width: int, height: int, max_pixels: int | None) -> None:
    """Raise ImageError for an image without pixels, or with more than `max_pixels`; None: no limit."""
    if height == 0 or width == 0:
        raise ImageError(f"the image is empty ({width}x{height} pixels): expected at least one pixel")
    if max_pixels is not None and width * height > max_pixels:
        raise ImageError(
            f"the image is {width}x{height} = {width * height} pixels; at most {max_pixels} are taken, so scale "
            "it down or raise max_pixels"
        )


class ImageMessage(Protocol):
    """A sensor_msgs/Image, or anything with its fields."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any  # of bytes, with the buffer protocol


def image_to_rgb(message: ImageMessage, max_pixels: int | None = None) -> np.ndarray:
    """Convert an image message to RGB.

    Args:
        message: any encoding of `SUPPORTED_ENCODINGS`; rows may be padded (`step` longer than a row).
            16-bit values are scaled so that 65535 becomes 255. `8UC3` and `8UC4` are read as BGR and BGRA.
        max_pixels: larger images are refused before anything is converted; None: no limit.

    Returns:
        uint8 [height, width, 3], contiguous. It may share memory with the message.

    Raises:
        ImageError: the size is zero or above `max_pixels`, a row or the data is too short, or the encoding is
            unknown or holds measurements rather than a picture.
    """
    height, width, encoding = message.height, message.width, message.encoding
    check_size(width, height, max_pixels)
    encoding = _PLAIN.get(encoding, encoding)
    if encoding in _EIGHT_BIT:
        channels, conversion = _EIGHT_BIT[encoding]
        return _to_rgb(_rows(message, np.uint8, channels), conversion)
    if encoding in _SIXTEEN_BIT:
        channels, conversion = _EIGHT_BIT[_SIXTEEN_BIT[encoding]]
        return _to_rgb(_to_eight_bit(_rows(message, _sixteen_bit_type(message), channels)), conversion)
    if encoding in BAYER_ENCODINGS:
        if encoding.endswith("16"):
            mosaic = _to_eight_bit(_rows(message, _sixteen_bit_type(message), 1))
        else:
            mosaic = np.ascontiguousarray(_rows(message, np.uint8, 1))
        return demosaic(mosaic, encoding)
    if encoding in _YUV_422:
        if width % 2:
            raise ImageError(f"a {encoding} image needs an even width, got {width}")
        return cv2.cvtColor(np.ascontiguousarray(_rows(message, np.uint8, 2)), _YUV_422[encoding])
    if encoding in _YUV_420:
        if width % 2 or height % 2:
            raise ImageError(f"a {encoding} image needs an even width and height, got {width}x{height}")
        planes = _rows(message, np.uint8, 1, rows=height * 3 // 2, step=_plane_step(message, height * 3 // 2))
        return cv2.cvtColor(np.ascontiguousarray(planes), _YUV_420[encoding])
    if encoding == _YUV_444:
        return _nv24_to_rgb(message)
    refuse_measurements(encoding)
    raise ImageError(
        f"the encoding {encoding!r} is not known: expected one of {', '.join(SUPPORTED_ENCODINGS)}"
    )


def image_to_ids(message: ImageMessage, max_pixels: int | None = None) -> np.ndarray:
    """Read a label image.

    Args:
        message: in one of `ID_ENCODINGS`; rows may be padded.
        max_pixels: as in `image_to_rgb`.

    Returns:
        uint8 or, from 16-bit encodings and 32SC1, uint16 [height, width], contiguous and in the machine's byte order.
        It may share memory with the message. -1 in 32SC1, no class by custom, becomes 65535.

    Raises:
        ImageError: the size is zero or above `max_pixels`, a row or the data is too short, the encoding is
            another one, or an id is not within 0 to 65535.
    """
    check_size(message.width, message.height, max_pixels)
    if message.encoding not in ID_ENCODINGS:
        raise ImageError(
            f"the encoding {message.encoding!r} holds no class ids: expected one of {', '.join(ID_ENCODINGS)}"
        )
    if message.encoding in ("mono8", "8UC1"):
        return np.ascontiguousarray(_rows(message, np.uint8, 1))
    if message.encoding == "32SC1":
        ids = _rows(message, np.dtype(">i4" if message.is_bigendian else "<i4"), 1)
        if ids.min() < -1 or ids.max() > _LARGEST_ID:
            raise ImageError(
                f"the label image has ids from {ids.min()} to {ids.max()}: expected 0 to {_LARGEST_ID}, or -1 for none"
            )
        return ids.astype(np.uint16)
    return np.ascontiguousarray(_rows(message, _sixteen_bit_type(message), 1), np.uint16)


def image_to_depth(message: ImageMessage, max_pixels: int | None = None) -> np.ndarray:
    """Read a depth image.

    Args:
        message: 16UC1, millimetres, or 32FC1, metres; rows may be padded.
        max_pixels: as in `image_to_rgb`.

    Returns:
        float32 [height, width], metres. What is missing stays as it came: 0, NaN or infinite.

    Raises:
        ImageError: the size is zero or above `max_pixels`, a row or the data is too short, or the encoding is
            another one.
    """
    check_size(message.width, message.height, max_pixels)
    if message.encoding == "16UC1":
        return _rows(message, _sixteen_bit_type(message), 1) * np.float32(0.001)
    if message.encoding == "32FC1":
        return _rows(message, np.dtype(">f4" if message.is_bigendian else "<f4"), 1).astype(np.float32)
    raise ImageError(
        f"the encoding {message.encoding!r} holds no depth: expected 16UC1, millimetres, or 32FC1, metres"
    )


def refuse_measurements(encoding: str) -> None:
    """Raise ImageError for an encoding of measurements such as depth."""
    if encoding in _MEASURES:
        raise ImageError(
            f"the encoding {encoding!r} holds measurements such as depth, not a picture: "
            "give the colour image's topic, or publish a grey picture as mono8 or mono16"
        )


def demosaic(mosaic: np.ndarray, encoding: str) -> np.ndarray:
    """Convert a Bayer mosaic, uint8 [H, W], to RGB, uint8 [H, W, 3]; `encoding` is one of `BAYER_ENCODINGS`."""
    height, width = mosaic.shape
    if height < 2 or width < 2:
        raise ImageError(f"a {encoding} image needs at least 2x2 pixels, got {width}x{height}")
    return cv2.cvtColor(mosaic, _BAYER[encoding[:10]])


def _sixteen_bit_type(message: ImageMessage) -> np.dtype:
    return np.dtype(">u2" if message.is_bigendian else "<u2")


def _to_eight_bit(pixels: np.ndarray) -> np.ndarray:
    return (pixels >> 8).astype(np.uint8)


def _plane_step(message: ImageMessage, rows: int) -> int:
    """Return the bytes from one row of the brightness plane to the next, of an image of planes with `rows` in all.

    Some drivers state the bytes of all planes, or two bytes a pixel, although the rows follow each other closely.
    """
    width, step = message.width, message.step
    closely = (width * rows // message.height, 2 * width)
    if step in closely and width * rows <= len(message.data) < step * (rows - 1) + width:
        return width
    return step


def _nv24_to_rgb(message: ImageMessage) -> np.ndarray:
    height, width = message.height, message.width
    planes = _rows(message, np.uint8, 1, rows=3 * height, step=_plane_step(message, 3 * height))
    step = planes.strides[0]
    colours = np.ndarray(
        (height, 2 * width), np.uint8, memoryview(message.data), step * height, (2 * step, 1)
    )
    # OpenCV has no NV24. Its colour plane is that of an NV12 image of twice the width and height.
    large = np.vstack([planes[:height].repeat(2, axis=0).repeat(2, axis=1), colours])
    return np.ascontiguousarray(cv2.cvtColor(large, _YUV_420["nv12"])[::2, ::2])


def _rows(
    message: ImageMessage,
    dtype: np.dtype | type,
    channels: int,
    rows: int | None = None,
    step: int | None = None,
) -> np.ndarray:
    """View the message's bytes as [rows, width] or [rows, width, channels] without their padding."""
    dtype = np.dtype(dtype)
    rows = message.height if rows is None else rows
    step = message.step if step is None else step
    row = message.width * channels * dtype.itemsize
    if step < row:
        raise ImageError(
            f"step is {step} bytes, but a row of {message.width} {message.encoding} pixels takes {row}"
        )
    # The last row's padding may be missing: some drivers do not send it.
    needed = step * (rows - 1) + row
    if len(message.data) < needed:
        raise ImageError(
            f"the data is {len(message.data)} bytes, but {rows} rows of step {step} take {needed}"
        )
    shape = (rows, message.width) if channels == 1 else (rows, message.width, channels)
    strides = (step, channels * dtype.itemsize, dtype.itemsize)[: len(shape)]
    return np.ndarray(shape, dtype, buffer=memoryview(message.data), strides=strides)


def _to_rgb(pixels: np.ndarray, conversion: int | None) -> np.ndarray:
    pixels = np.ascontiguousarray(pixels)
    return pixels if conversion is None else cv2.cvtColor(pixels, conversion)
