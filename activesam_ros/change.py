"""Whether a camera still looks at the scene of its last frame."""

from __future__ import annotations

import cv2
import numpy as np

_SIZE = (8, 6)
# Shorter side in pixels that is left before the average is taken: more makes no other thumbnail, and takes longer.
_ENOUGH = 120
# Keeps the colour of dark cells from being noise, in levels of 0 to 255, summed over the channels.
_DARK = 30.0


def thumbnail(rgb: np.ndarray) -> np.ndarray:
    """The layout of an image's colours, whatever its brightness.

    Args:
        rgb: uint8 [H, W, 3].

    Returns:
        float32 [6, 8, 3], the share of each channel in the light of each cell; 48 cells whatever the image's shape.
    """
    step = max(1, min(rgb.shape[:2]) // _ENOUGH)
    thinned = np.ascontiguousarray(rgb[::step, ::step])
    cells = cv2.resize(thinned, _SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
    return cells / (cells.sum(axis=2, keepdims=True) + _DARK)


def change(before: np.ndarray, now: np.ndarray) -> float:
    """How different two thumbnails are, in [0, 1]: one less their correlation, at most 1."""
    one, other = (part - part.mean() for part in (before, now))
    size = float(np.sqrt((one * one).sum() * (other * other).sum()))
    if size < 1e-6:  # an image of one grey has no layout
        return 0.0 if np.allclose(before, now, atol=1e-3) else 1.0
    return float(np.clip(1 - (one * other).sum() / size, 0, 1))
