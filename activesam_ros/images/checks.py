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
    check_size(rgb.shape[1], rgb.shape[0], max_pixels)


def check_size(width: int, height: int, max_pixels: int | None) -> None:
    """Raises ImageError for an image without pixels, or with more than `max_pixels`; None: of any size."""
    if height == 0 or width == 0:
        raise ImageError(f"the image is empty ({width}x{height} pixels): expected at least one pixel")
    if max_pixels is not None and width * height > max_pixels:
        raise ImageError(
            f"the image is {width}x{height} = {width * height} pixels; at most {max_pixels} are taken, so scale "
            "it down or raise max_pixels"
        )
