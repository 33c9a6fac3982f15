"""Margin-aware background calibration, and labels from class scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from activesam_ros.system.device_copies import HostCopies

if TYPE_CHECKING:
    from activesam_ros.settings import SegmenterSettings
    from activesam_ros.vocabulary import Vocabulary

SERIAL_PIXELS = 2**15
"""On a CPU, torch shares an operation among threads from this number of elements on."""


@dataclass(frozen=True, eq=False)
class TopClasses:
    """The best two classes of every pixel.

    Attributes:
        best, second: scores, float32 [H, W]; `second` is 0 in a vocabulary of one class.
        index: int32 [H, W], index of the best class; the first one if several are equal.
    """

    best: torch.Tensor
    second: torch.Tensor
    index: torch.Tensor


def lowest_confidence(settings: SegmenterSettings) -> float:
    """Return the margin-aware score below which a pixel is background; 0: none is."""
    threshold = settings.background_threshold
    return float(threshold**settings.margin_exponent) if threshold > 0 else 0.0


def background_mask(best: torch.Tensor, second: torch.Tensor, least: float) -> torch.Tensor:
    """Return the pixels whose best score is too low or too close to the second (ActiveSAM, arXiv 2606.16996).

    A pixel is background if best · √(best − second) < least.

    Args:
        best: highest class score, float32 [H, W].
        second: second highest class score, float32 [H, W].
        least: of `lowest_confidence`; 0 selects no pixel.

    Returns:
        bool [H, W].
    """
    if least <= 0:
        return torch.zeros_like(best, dtype=torch.bool)
    return (best - second).clamp_(min=0).sqrt_().mul_(best) < least


def label_pixels(
    fused: TopClasses, vocabulary: Vocabulary, settings: SegmenterSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Return class ids in the vocabulary's label type, and confidence float32, both [H, W]: as `label_tensors`."""
    labels, confidence = HostCopies(*label_tensors(fused, vocabulary, settings)).wait(kept=2)
    return labels.astype(vocabulary.label_dtype, copy=False), confidence


def label_tensors(
    fused: TopClasses, vocabulary: Vocabulary, settings: SegmenterSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return class ids, uint8 or int32, and confidence float32, both [H, W], on the device of the scores.

    Pixels of `background_mask` get the background class, or the unlabelled id if there is none, and confidence 0.

    Args:
        fused: the best two classes of every pixel; overwritten.
        vocabulary: the classes that were decoded.
        settings: `background_threshold` and `margin_exponent`.
    """
    height, width = fused.best.shape
    device = fused.best.device
    dtype = torch.uint8 if vocabulary.label_dtype == np.uint8 else torch.int32
    ids = torch.tensor(vocabulary.class_ids, dtype=dtype).to(device, non_blocking=True)
    fallback = vocabulary.unlabeled_id if vocabulary.background_id is None else vocabulary.background_id
    labels = torch.empty((height, width), dtype=ids.dtype, device=device)
    least = lowest_confidence(settings)
    # On a CPU a few rows at a time, which stay in its cache.
    step = max(1, (SERIAL_PIXELS - 1) // width) if device.type == "cpu" else height
    for rows in (slice(begin, begin + step) for begin in range(0, height, step)):
        index = fused.index[rows]
        labels[rows] = ids.index_select(0, index.flatten()).view_as(index)
        if least > 0:
            background = background_mask(fused.best[rows], fused.second[rows], least)
            labels[rows].masked_fill_(background, fallback)
            fused.best[rows].masked_fill_(background, 0)
    return labels, fused.best
