"""Labels and instances of a frame from those of the one before, moved along with the image by optical flow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

import cv2
import numpy as np

from activesam_ros.results import MOVED_SCHEDULE, SegmentationResult, active_classes

if TYPE_CHECKING:
    from activesam_ros.instances import Instance

LONGEST_MOVE = 150_000_000
"""Nanoseconds: labels do not move to a frame that was taken later than this after theirs."""

SMALLEST_SIDE = 64
"""Pixels of the shorter side that an image needs, so that its motion is seen."""

# The shorter side in pixels that motion is computed at, at most.
_FLOW_SIDE = 360
# The logit of cells outside of an instance.
_OUTSIDE = -80.0


@dataclass(frozen=True, eq=False)
class KeyFrame:
    """A decoded frame whose labels may move to the frames after it.

    Attributes:
        grey: the image, uint8 [h, w], reduced.
        result: what was found in it, without the image.
        stamp: when it was taken, in nanoseconds; None: unknown.
    """

    grey: np.ndarray
    result: SegmentationResult
    stamp: int | None

    @classmethod
    def of(cls, result: SegmentationResult, rgb: np.ndarray, stamp: int | None) -> KeyFrame:
        """Make a key frame of the result of an image, uint8 [H, W, 3]."""
        return cls(_grey(rgb), replace(result, image=None, score_maps=None), stamp)

    def reaches(self, rgb: np.ndarray, stamp: int | None) -> bool:
        """Return whether its labels can move to an image, uint8 [H, W, 3], taken at `stamp`."""
        if self.result.labels.shape != rgb.shape[:2] or min(rgb.shape[:2]) < SMALLEST_SIDE:
            return False
        return self.stamp is None or stamp is None or 0 <= stamp - self.stamp <= LONGEST_MOVE

    def moved(self, rgb: np.ndarray, instances: bool) -> SegmentationResult:
        """Return the result moved to a later image, uint8 [H, W, 3], of the same size; without timings.

        Every pixel gets label and confidence of where it was, and every instance the mask. Prompts, their presence and
        scores are those of the key frame. `instances`: whether the result tells them; the key frame must, then.
        """
        flow = _flow(_grey(rgb), self.grey, rgb.shape[:2])
        rows, columns = np.indices(rgb.shape[:2], np.float32)
        where = columns + flow[..., 0], rows + flow[..., 1]
        before = self.result
        labels, confidence = (
            cv2.remap(values, *where, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
            for values in (before.labels, before.confidence)
        )
        presence = dict(zip(before.active_prompts, before.prompt_presence or (), strict=True))
        pixels = np.bincount(labels.ravel(), minlength=before.vocabulary.unlabeled_id + 1)
        found = None
        if instances:
            each = [_moved_instance(one, flow) for one in before.instances or ()]
            found = tuple(one for one in each if one is not None)
        return replace(
            before,
            labels=labels,
            confidence=confidence,
            active=active_classes(before.vocabulary, presence, None, pixels),
            preview_presence=None,
            timings={},
            instances=found,
            instances_without_pixels=0,
            instances_beyond_limit=0,
            schedule=MOVED_SCHEDULE,
            preview_maps=(),
            image=rgb,
        )


def _grey(rgb: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    scale = _FLOW_SIDE / min(grey.shape)
    if scale >= 1:
        return grey
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)


def _flow(now: np.ndarray, before: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return how far from each pixel of an image of `size` it was before, in pixels, float32 [H, W, 2]."""
    finder = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return _resized(np.asarray(finder.calc(now, before, None), np.float32), size)


def _resized(flow: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return the flow at another size, in pixels of that."""
    if flow.shape[:2] == tuple(size):
        return flow
    scale = np.float32([size[1] / flow.shape[1], size[0] / flow.shape[0]])
    return cv2.resize(flow, (size[1], size[0]), interpolation=cv2.INTER_LINEAR) * scale


def _moved_instance(one: Instance, flow: np.ndarray) -> Instance | None:
    """Return an instance where it is now; None if none of its pixels is in the image any more."""
    flow = _resized(flow, one.grid)
    (top, left), (height, width) = one.corner, one.logits.shape
    # Cells that may have come from the kept ones.
    reach = ceil(float(np.abs(flow).max())) + 1
    first = max(top - reach, 0), max(left - reach, 0)
    part = flow[first[0] : top + height + reach, first[1] : left + width + reach]
    rows, columns = np.indices(part.shape[:2], np.float32)
    # Beyond the edge of the image is what is at the edge.
    columns = np.clip(columns + first[1] + part[..., 0], 0, one.grid[1] - 1) - left
    rows = np.clip(rows + first[0] + part[..., 1], 0, one.grid[0] - 1) - top
    logits = cv2.remap(
        one.logits.astype(np.float32), columns, rows, cv2.INTER_LINEAR, borderValue=(_OUTSIDE,) * 4
    )
    logits = logits.astype(one.logits.dtype)  # before the sign is asked for: the smallest become 0
    positive = logits > 0
    lines, places = np.flatnonzero(positive.any(1)), np.flatnonzero(positive.any(0))
    if not len(lines):
        return None
    # A pixel of the mask lies between cells of which one at least is positive.
    begin = max(lines[0] - 1, 0), max(places[0] - 1, 0)
    kept = logits[begin[0] : lines[-1] + 2, begin[1] : places[-1] + 2]
    across, down = (float(part[..., axis][positive].mean()) for axis in (0, 1))
    across, down = across * one.size[1] / one.grid[1], down * one.size[0] / one.grid[0]
    corner = int(first[0] + begin[0]), int(first[1] + begin[1])
    right, bottom = float(one.size[1]), float(one.size[0])
    box = (
        min(max(one.box[0] - across, 0.0), right),
        min(max(one.box[1] - down, 0.0), bottom),
        min(max(one.box[2] - across, 0.0), right),
        min(max(one.box[3] - down, 0.0), bottom),
    )
    return replace(one, box=box, corner=corner, logits=kept)
