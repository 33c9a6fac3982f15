"""An image on its way from the subscription to the worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image


@dataclass(frozen=True)
class Frame:
    """A received image and when it came (`time.monotonic()` seconds)."""

    message: Image | CompressedImage
    arrived: float
