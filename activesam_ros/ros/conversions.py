"""sensor_msgs/Image to RGB arrays and back.

cv_bridge converts what it has in every version (the plain 8-bit encodings); OpenCV converts the rest. Rows
are unpacked here in either case, because cv_bridge versions differ in how they treat padded rows.
"""

from __future__ import annotations

import array
import sys
from types import SimpleNamespace

import cv2
import numpy as np
from cv_bridge import CvBridge
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from activesam_ros.errors import ImageError
from activesam_ros.images import check_size

# Channels of the 8-bit encodings that cv_bridge converts to rgb8.
_CV_BRIDGE = {"mono8": 1, "bgr8": 3, "rgba8": 4, "bgra8": 4}
# Plain OpenCV types carry no colour meaning; OpenCV's own order is blue, green, red.
_PLAIN = {"8UC1": "mono8", "8UC3": "bgr8", "8UC4": "bgra8"}
_SIXTEEN_BIT = {
    "mono16": ("mono8", 1),
    "rgb16": ("rgb8", 3),
    "bgr16": ("bgr8", 3),
    "rgba16": ("rgba8", 4),
    "bgra16": ("bgra8", 4),
}
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
_MEASURES = {"16UC1", "32FC1", "64FC1", "16SC1", "32SC1"}

BAYER_ENCODINGS: tuple[str, ...] = tuple(f"{name}{bits}" for name in _BAYER for bits in (8, 16))

SUPPORTED_ENCODINGS: tuple[str, ...] = (
    "rgb8",
    *_CV_BRIDGE,
    *_PLAIN,
    *_SIXTEEN_BIT,
    *BAYER_ENCODINGS,
    *_YUV_422,
    *_YUV_420,
)


def image_to_rgb(message: Image, max_pixels: int | None = None) -> np.ndarray:
    """Convert an image message to RGB.

    Args:
        message: any encoding of `SUPPORTED_ENCODINGS`; rows may be padded (`step` longer than a row).
            16-bit values are scaled so that 65535 becomes 255. `8UC3` and `8UC4` are read as BGR and BGRA.
        max_pixels: images with more are refused before anything is converted; None: of any size.

    Returns:
        uint8 [height, width, 3], contiguous. It may share memory with the message.

    Raises:
        ImageError: one sentence, if the size is zero or above `max_pixels`, a row or the data is too short, or
            the encoding is unknown or holds measurements rather than a picture.
    """
    height, width, encoding = message.height, message.width, message.encoding
    check_size(width, height, max_pixels)
    encoding = _PLAIN.get(encoding, encoding)
    if encoding == "rgb8":
        return np.ascontiguousarray(_rows(message, np.uint8, 3))
    if encoding in _CV_BRIDGE:
        return _through_cv_bridge(_rows(message, np.uint8, _CV_BRIDGE[encoding]), encoding)
    if encoding in _SIXTEEN_BIT:
        eight_bit, channels = _SIXTEEN_BIT[encoding]
        pixels = _to_eight_bit(_rows(message, _sixteen_bit_type(message), channels))
        return pixels if eight_bit == "rgb8" else _through_cv_bridge(pixels, eight_bit)
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
        planes = _rows(message, np.uint8, 1, rows=height * 3 // 2)
        return cv2.cvtColor(np.ascontiguousarray(planes), _YUV_420[encoding])
    refuse_measurements(encoding)
    raise ImageError(
        f"the encoding {encoding!r} is not known: expected one of {', '.join(SUPPORTED_ENCODINGS)}"
    )


def refuse_measurements(encoding: str) -> None:
    """Raises ImageError if an encoding is that of numbers such as depth."""
    if encoding in _MEASURES:
        raise ImageError(
            f"the encoding {encoding!r} holds measurements such as depth, not a picture: "
            "give the colour image's topic, or publish a grey picture as mono8 or mono16"
        )


def demosaic(mosaic: np.ndarray, encoding: str) -> np.ndarray:
    """A Bayer mosaic, uint8 [H, W], becomes RGB, uint8 [H, W, 3]; `encoding` is one of `BAYER_ENCODINGS`."""
    height, width = mosaic.shape
    if height < 2 or width < 2:
        raise ImageError(f"a {encoding} image needs at least 2x2 pixels, got {width}x{height}")
    return cv2.cvtColor(mosaic, _BAYER[encoding[:10]])


def _sixteen_bit_type(message: Image) -> np.dtype:
    return np.dtype(">u2" if message.is_bigendian else "<u2")


def _to_eight_bit(pixels: np.ndarray) -> np.ndarray:
    return (pixels >> 8).astype(np.uint8)


def _rows(message: Image, dtype: np.dtype | type, channels: int, rows: int | None = None) -> np.ndarray:
    """View the message's bytes as [rows, width] or [rows, width, channels] without their padding."""
    dtype = np.dtype(dtype)
    rows = message.height if rows is None else rows
    row = message.width * channels * dtype.itemsize
    if message.step < row:
        raise ImageError(
            f"step is {message.step} bytes, but a row of {message.width} {message.encoding} "
            f"pixels takes {row}"
        )
    # The last row's padding may be missing: some drivers do not send it.
    needed = message.step * (rows - 1) + row
    if len(message.data) < needed:
        raise ImageError(
            f"the data is {len(message.data)} bytes, but {rows} rows of step {message.step} take {needed}"
        )
    shape = (rows, message.width) if channels == 1 else (rows, message.width, channels)
    strides = (message.step, channels * dtype.itemsize, dtype.itemsize)[: len(shape)]
    return np.ndarray(shape, dtype, buffer=memoryview(message.data), strides=strides)


def _through_cv_bridge(pixels: np.ndarray, encoding: str) -> np.ndarray:
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    packed = SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=pixels.nbytes // height,
        data=pixels.data,
    )
    return np.ascontiguousarray(CvBridge().imgmsg_to_cv2(packed, "rgb8"))


def labels_to_image(labels: np.ndarray, header: Header) -> Image:
    """uint8 [H, W] becomes mono8, uint16 [H, W] mono16, tightly packed, with the given header as it is."""
    if labels.dtype == np.uint8:
        return _image(labels, "mono8", header)
    if labels.dtype == np.uint16:
        return _image(labels, "mono16", header)
    raise TypeError(f"labels are uint8 or uint16, got {labels.dtype}")


def confidence_to_image(
    confidence: np.ndarray, labels: np.ndarray, unlabeled_id: int, header: Header
) -> Image:
    """float32 [H, W] in 0..1 becomes mono8 in 0..255; 0 where `labels` is `unlabeled_id`."""
    scaled = cv2.convertScaleAbs(confidence, alpha=255.0)
    scaled[labels == unlabeled_id] = 0
    return _image(scaled, "mono8", header)


def rgb_to_image(rgb: np.ndarray, header: Header) -> Image:
    """uint8 [H, W, 3] becomes rgb8, tightly packed, with the given header as it is."""
    return _image(rgb, "rgb8", header)


def _image(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    pixels = np.ascontiguousarray(pixels)
    message = Image()
    message.header = header
    message.height, message.width = pixels.shape[:2]
    message.encoding = encoding
    message.is_bigendian = int(pixels.dtype.itemsize > 1 and sys.byteorder == "big")
    message.step = pixels.nbytes // pixels.shape[0]
    # The setter checks every element of anything but an array of bytes.
    data = array.array("B")
    data.frombytes(pixels.data.cast("B"))
    message.data = data
    return message
