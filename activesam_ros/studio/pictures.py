"""Pictures of a view for the browser, of bounded size: the image, its labels, confidence and score maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from activesam_ros.studio.document import as_hex
from activesam_ros.visualization import colourise
from activesam_ros.vocabulary.palette import colour_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activesam_ros.studio.session import Scan, View

LONGEST_SIDE = 1280
"""Pixels; a larger picture is made smaller for the browser."""

_SCAN_ROWS = 12


def shown_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return width and height in which an image [H, W, …] is sent."""
    height, width = shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def image_jpeg(rgb: np.ndarray) -> bytes:
    """Return an image, uint8 [H, W, 3], as JPEG."""
    size = shown_size(rgb.shape)
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if size != rgb.shape[1::-1] else rgb
    return _encoded(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


def labels_png(view: View) -> bytes:
    """Return the classes in their colours with white borders between them, clear where no class won."""
    result = view.result
    vocabulary = view.document.vocabulary
    size = shown_size(result.labels.shape)
    labels = result.labels
    if size != labels.shape[1::-1]:
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    table = colour_table(vocabulary.class_ids, vocabulary.colours, result.unlabeled_id)
    rgba = np.dstack([colourise(labels, table), np.full(labels.shape, 255, np.uint8)])
    rgba[_borders(labels, max(1, round(max(size) / 640)))] = 255
    rgba[labels == result.unlabeled_id] = 0
    return _encoded(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_PNG_COMPRESSION, 3])


def confidence_png(view: View) -> bytes:
    """Return the confidence of every pixel in the colours of `heat`."""
    return scores_png(view.result.confidence, view.result.labels.shape)


def scores_png(scores: np.ndarray, shape: tuple[int, ...]) -> bytes:
    """Return scores [h, w] in [0, 1] for an image of the given shape, from clear through violet to yellow."""
    size = shown_size(shape)
    values = cv2.resize(scores.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    levels = cv2.convertScaleAbs(values, alpha=255.0)
    bgr = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)
    bgra = np.dstack([bgr, np.full(levels.shape, 255, np.uint8)])
    return _encoded(".png", bgra, [cv2.IMWRITE_PNG_COMPRESSION, 3])


def scan_rows(scan: Scan) -> list[int]:
    """Return the ids of the classes that a scan found in most pictures, at most twelve, the largest first."""
    total: dict[int, float] = {}
    for shares in scan.shares.values():
        for number, share in shares.items():
            total[number] = total.get(number, 0.0) + share
    found = [number for number, share in total.items() if share > 0]
    return sorted(found, key=lambda number: -total[number])[:_SCAN_ROWS]


def scan_png(scan: Scan, rows: Sequence[int], colours: dict[int, tuple[int, int, int]]) -> bytes:
    """Draw a scan: a column for each picture, a row for each class, in its colour as far as it is present."""
    paper = np.array((236, 239, 243), np.float32)
    picture = np.full((max(1, len(rows)), scan.total, 3), 255, np.float32)
    for index, presence in scan.presence.items():
        shares = scan.shares.get(index, {})
        for row, number in enumerate(rows):
            shown = presence.get(number, 0.0) if shares.get(number, 0.0) > 0 else 0.0
            colour = np.array(colours.get(number, (0, 0, 0)), np.float32)
            picture[row, index] = paper + (colour - paper) * shown
    return _encoded(".png", cv2.cvtColor(picture.round().astype(np.uint8), cv2.COLOR_RGB2BGR), [])


def colour_of(view: View, class_id: int) -> str:
    """Return the colour of a class as `#rrggbb`; grey if there is no such class."""
    vocabulary = view.document.vocabulary
    return next(
        (as_hex(one.colour) for one in vocabulary.classes if one.class_id == class_id),
        as_hex((128, 128, 128)),
    )


def _borders(labels: np.ndarray, wide: int) -> np.ndarray:
    edge = np.zeros(labels.shape, np.uint8)
    edge[:, 1:] |= (labels[:, 1:] != labels[:, :-1]).astype(np.uint8)
    edge[1:] |= (labels[1:] != labels[:-1]).astype(np.uint8)
    return cv2.dilate(edge, np.ones((wide, wide), np.uint8)).astype(bool) if wide > 1 else edge.astype(bool)


def _encoded(kind: str, picture: np.ndarray, options: list[int]) -> bytes:
    _, data = cv2.imencode(kind, picture, options)
    return data.tobytes()
