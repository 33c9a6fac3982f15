"""Whether a camera still looks at the scene of its last frame."""

from __future__ import annotations

import cv2
import numpy as np

SHAPE = (6, 8, 3)
"""Of a thumbnail: rows, columns and channels."""

# Shorter side in pixels that is left before the average is taken: more makes no other thumbnail, and takes longer.
_ENOUGH = 120
# Keeps the colour of dark cells from being noise, in levels of 0 to 255, summed over the channels.
_DARK = 30.0
# Thumbnails that differ by less than this, root mean square, differ by less than their correlation says. The noise of
# a sensor makes up to a third of it in the dark; another scene several times as much.
_FAINT = 0.015


def thumbnail(rgb: np.ndarray) -> np.ndarray:
    """The layout of an image's colours, whatever its brightness.

    Args:
        rgb: uint8 [H, W, 3].

    Returns:
        float32 [6, 8, 3], the share of each channel in the light of each cell; 48 cells whatever the image's shape.
    """
    step = max(1, min(rgb.shape[:2]) // _ENOUGH)
    thinned = np.ascontiguousarray(rgb[::step, ::step])
    # Whole levels would leave of an even surface nothing but their rounding.
    cells = cv2.resize(thinned.astype(np.float32), SHAPE[1::-1], interpolation=cv2.INTER_AREA)
    return cells / (cells.sum(axis=2, keepdims=True) + _DARK)


def change(before: np.ndarray, now: np.ndarray) -> float:
    """How different two thumbnails are, in [0, 1]: one less their correlation, and less where both are nearly even.

    Without the second part the noise of an image of one grey, which correlates with nothing, would be another scene.
    """
    one, other = (part - part.mean() for part in (before, now))
    difference = float(np.sqrt(np.square(one - other).mean()))
    size = float(np.sqrt((one * one).sum() * (other * other).sum()))
    correlation = float((one * other).sum()) / size if size > 1e-12 else 0.0
    return float(np.clip(min(1 - correlation, difference / _FAINT), 0, 1))
