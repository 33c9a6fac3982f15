"""What the segmenter says of one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from activesam_ros.vocabulary import Vocabulary


@dataclass(frozen=True)
class ActiveClass:
    """A class that was decoded at full resolution.

    Attributes:
        class_id: its id in the vocabulary.
        name: its display name.
        presence: probability in [0, 1] that the image shows it, at full resolution; maximum over its decoded
            prompts.
        preview_presence: the same from the preview; None if the preview was skipped.
        pixels: number of pixels labelled with it.
    """

    class_id: int
    name: str
    presence: float
    preview_presence: float | None
    pixels: int


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """The labels of one image.

    Attributes:
        labels: class ids, uint8 or uint16 [H, W]; `unlabeled_id` where no class won.
        unlabeled_id: 255 in uint8, 65535 in uint16 labels.
        confidence: float32 [H, W] in [0, 1], the fused score of the published class; 0 where the calibration
            took the pixel.
        active: the decoded classes, in vocabulary order.
        preview_presence: float32 [queries], presence of every query in the preview; None if it was skipped.
        active_queries: indices of the decoded queries, ascending.
        timings: seconds per stage ("prepare", "preview", "encode", "decode", "fuse") and "total".
        vocabulary: the vocabulary that the labels belong to.
    """

    labels: np.ndarray
    unlabeled_id: int
    confidence: np.ndarray
    active: tuple[ActiveClass, ...]
    preview_presence: np.ndarray | None
    active_queries: tuple[int, ...]
    timings: Mapping[str, float]
    vocabulary: Vocabulary
