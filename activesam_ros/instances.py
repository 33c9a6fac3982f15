"""Instances of an image: what each of them is, and which pixels it covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MASK_THRESHOLD = 0.5
"""Pixels of a higher probability belong to an instance, as in transformers' post-processing."""

MAX_INSTANCES = 65_535
"""Number of ids that an id image of 16 bits can tell apart beside 0, which is none."""

_BAND_PIXELS = 2**15
"""Pixels are computed in bands of so many, which fit into a processor's cache."""

_LARGEST_LOGIT = 80.0
"""Beyond it the exponential of a float32 overflows, and the sigmoid is 0 or 1 anyway."""


@dataclass(frozen=True, eq=False)
class Instance:
    """One thing that a prompt found in an image.

    Only those cells of its mask logits are kept that its pixels depend on.

    Attributes:
        class_id: id of its class in the vocabulary.
        name: display name of its class.
        score: object score times presence, in [0, 1].
        box: left, top, right and bottom edge in pixels of the image, as the model's box head gives them.
        prompt: index of the prompt that found it.
        id: from 1, unique in the image; the higher the score the lower the id, where no stream keeps it. On a stream it
            may exceed 65535.
        size: height and width of the image in pixels.
        grid: rows and columns of the mask logits of the whole image.
        corner: row and column of the first of the kept logits.
        logits: the kept ones, float32 or float16 [h, w].
    """

    class_id: int
    name: str
    score: float
    box: tuple[float, float, float, float]
    prompt: int
    id: int
    size: tuple[int, int]
    grid: tuple[int, int]
    corner: tuple[int, int]
    logits: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """The pixels of the instance, bool [H, W], computed anew at each call."""
        mask = np.zeros(self.size, bool)
        for rows, columns, probability in self.probability():
            np.greater(probability, MASK_THRESHOLD, out=mask[rows, columns])
        return mask

    def probability(self, where: np.ndarray | None = None) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Yield bands that hold all pixels of the instance: rows, columns, and each pixel's probability, float32.

        As in transformers, probabilities are resized, not logits: bilinearly, as `interpolate` does with
        `align_corners=False`.

        Args:
            where: bool [H, W], bands without a pixel of which are left out; None: all.
        """
        rows, above, below, down = _axis(self.grid[0], self.size[0], self.corner[0], self.logits.shape[0])
        columns, left, right, across = _axis(self.grid[1], self.size[1], self.corner[1], self.logits.shape[1])
        logits = np.clip(self.logits.astype(np.float32), -_LARGEST_LOGIT, _LARGEST_LOGIT)
        cells = 1 / (1 + np.exp(-logits))
        lines = cells[:, left] * (1 - across) + cells[:, right] * across
        height = max(1, _BAND_PIXELS // max(1, len(across)))
        for begin in range(0, len(above), height):
            band = slice(begin, begin + height)
            place = slice(rows.start + begin, min(rows.start + begin + height, rows.stop))
            if where is not None and not where[place, columns].any():
                continue
            share = down[band, None]
            upper, lower = lines[above[band]], lines[below[band]]
            upper *= 1 - share
            lower *= share
            upper += lower
            yield place, columns, upper


def draw_ids(instances: Sequence[Instance], labels: np.ndarray) -> np.ndarray:
    """Draw an id image, uint16 [H, W], 0 where no instance is.

    A pixel carries an instance only of its own class: that of the highest probability times score, if several cover it.
    An id above 65535, which only a stream gives, is drawn as 0.

    Args:
        instances: of the image.
        labels: its class ids, [H, W].
    """
    ids = np.zeros(labels.shape, np.uint16)
    best = np.zeros(labels.shape, np.float32)
    shown, known = np.zeros(0, bool), None
    for one in sorted(instances, key=lambda one: one.class_id):
        if one.class_id != known:
            shown, known = labels == one.class_id, one.class_id
        for rows, columns, probability in one.probability(shown):
            own = probability > MASK_THRESHOLD
            own &= shown[rows, columns]
            probability *= np.float32(one.score)
            highest = best[rows, columns]
            own &= probability > highest
            np.copyto(highest, probability, where=own)
            np.copyto(ids[rows, columns], np.uint16(one.id if one.id <= MAX_INSTANCES else 0), where=own)
    return ids


def draw_instances(picture: np.ndarray, instances: Sequence[Instance], table: np.ndarray) -> None:
    """Draw the boxes of instances into a picture, each with class, id and score.

    Args:
        picture: uint8 [H, W, 3], changed.
        instances: by score, the highest first, which is drawn last, so that no other hides it.
        table: uint8 [ids, 3], RGB, the colour of each class id.
    """
    from activesam_ros.visualization import draw_boxes

    things = instances[::-1]
    draw_boxes(
        picture,
        [one.box for one in things],
        [f"{one.name} {one.id} {one.score:.2f}" for one in things],
        table[[one.class_id for one in things]],
    )


def _axis(
    cells: int, pixels: int, first: int, count: int
) -> tuple[slice, np.ndarray, np.ndarray, np.ndarray]:
    """Return the pixels between `count` cells from `first` on, both cells around each, and the share of the second."""
    # With the rounding of torch, which multiplies and subtracts in one step.
    scale = float(np.float32(cells) / np.float32(pixels))
    at = np.maximum((np.arange(pixels) + 0.5) * scale - 0.5, 0).astype(np.float32)
    low = at.astype(np.intp)
    high = np.minimum(low + 1, cells - 1)
    inside = np.flatnonzero((low >= first) & (high < first + count))
    part = slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)
    return part, low[part] - first, high[part] - first, (at - low)[part]
