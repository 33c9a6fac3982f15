"""Arrays to sensor_msgs/Image."""

from __future__ import annotations

import array
import sys
from typing import TYPE_CHECKING

import cv2
import numpy as np
from sensor_msgs.msg import Image

if TYPE_CHECKING:
    from std_msgs.msg import Header


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
