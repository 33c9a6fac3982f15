"""What images the segmenter takes."""

from __future__ import annotations

import numpy as np

from activesam_ros.errors import ImageError


def check_image(rgb: object, max_pixels: int) -> None:
    """Raises ImageError unless `rgb` is a uint8 array [H, W, 3] with 1 to `max_pixels` pixels."""
    if not isinstance(rgb, np.ndarray):
        raise ImageError(
            f"the image is a {type(rgb).__name__}; expected a numpy array, uint8 [height, width, 3]"
        )
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ImageError(
            f"the image is {rgb.dtype} {list(rgb.shape)}; expected uint8 [height, width, 3], RGB"
        )
    height, width = rgb.shape[:2]
    if height == 0 or width == 0:
        raise ImageError(f"the image is {width}×{height} pixels; expected at least one pixel")
    if height * width > max_pixels:
        raise ImageError(
            f"the image is {width}×{height} = {height * width} pixels; at most {max_pixels} are taken, so scale it "
            "down or raise max_pixels"
        )
