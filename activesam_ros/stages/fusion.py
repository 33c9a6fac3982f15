"""Fusion of decoded prompts into class scores, and calibrated labels from those."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    import numpy as np

    from activesam_ros.model.prompt_heads import DecodedPrompt
    from activesam_ros.settings import SegmenterSettings
    from activesam_ros.vocabulary import Vocabulary


def prompt_scores(prompt: DecodedPrompt, size: tuple[int, int]) -> torch.Tensor:
    """Return the fused score of one prompt, float32 [H, W] in [0, 1].

    The maximum over the instances of mask × (object score × presence), and over the semantic head's
    probability, times presence. Logits are resized before the sigmoid; one instance at a time, so that memory does
    not grow with the instances.
    """
    fused = _probability(prompt.semantic_logits, size)
    for score, logits in zip(prompt.instance_scores, prompt.instance_logits, strict=True):
        torch.maximum(fused, _probability(logits, size).mul_(score), out=fused)
    return fused.mul_(prompt.presence)


def _probability(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    resized = F.interpolate(logits.float()[None, None], size=size, mode="bilinear", align_corners=False)
    return resized[0, 0].sigmoid_()


class ClassFusion:
    """Reduces the score planes of the decoded prompts to the best two class scores of every pixel.

    Only one plane at a time is in memory. The prompts of one class are aliases, of which the maximum counts; classes
    without a decoded prompt score 0.

    Attributes:
        best, second: float32 [H, W]; `second` is 0 in a vocabulary of one class.
        index: int32 [H, W], index of the best class; the first one if several are equal.
    """

    def __init__(self, classes: int, size: tuple[int, int], device: torch.device) -> None:
        self.best = torch.full(size, -1.0, device=device)
        self.second = torch.zeros(size, device=device)
        self.index = torch.zeros(size, dtype=torch.int32, device=device)
        self._classes = classes
        self._pending: torch.Tensor | None = None
        self._current = -1
        self._absent_counted = False

    def add(self, class_index: int, scores: torch.Tensor) -> None:
        """Take in the scores of one prompt, float32 [H, W]; class indices ascend."""
        if class_index == self._current and self._pending is not None:
            self._pending = torch.maximum(self._pending, scores)
            return
        self._close_class(class_index)
        self._current, self._pending = class_index, scores

    def finish(self) -> ClassFusion:
        """Take in the last class; call once, after all prompts."""
        self._close_class(self._classes)
        return self

    def _close_class(self, following: int) -> None:
        if self._pending is not None:
            self._add_class(self._current, self._pending)
        # All absent classes score 0, so that the first of them stands for the rest.
        if not self._absent_counted and following > self._current + 1:
            self._add_class(self._current + 1, torch.zeros((), device=self.best.device))
            self._absent_counted = True
        self._pending = None

    def _add_class(self, index: int, scores: torch.Tensor) -> None:
        wins = scores > self.best
        torch.maximum(self.second, torch.minimum(self.best, scores), out=self.second)
        self.index.masked_fill_(wins, index)
        torch.maximum(self.best, scores, out=self.best)


def background_mask(
    best: torch.Tensor, second: torch.Tensor, threshold: float, exponent: float
) -> torch.Tensor:
    """Return the pixels whose best score is too low or too close to the second (ActiveSAM, arXiv 2606.16996).

    A pixel is background if best · √(best − second) < threshold ^ exponent.

    Args:
        best: highest class score, float32 [H, W].
        second: second highest class score, float32 [H, W].
        threshold: 0 selects no pixel.
        exponent: above 0.

    Returns:
        bool [H, W].
    """
    if threshold <= 0:
        return torch.zeros_like(best, dtype=torch.bool)
    return best * (best - second).clamp(min=0).sqrt() < threshold**exponent


def label_pixels(
    fused: ClassFusion, vocabulary: Vocabulary, settings: SegmenterSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Return class ids in the vocabulary's label type, and confidence float32, both [H, W].

    Pixels of `background_mask` get the background class, or the unlabelled id if there is none, and confidence 0.

    Args:
        fused: the best two classes of every pixel; overwritten.
        vocabulary: the classes that were decoded.
        settings: `background_threshold` and `margin_exponent`.
    """
    background = background_mask(
        fused.best, fused.second, settings.background_threshold, settings.margin_exponent
    )
    ids = torch.tensor(vocabulary.class_ids, dtype=torch.int32, device=background.device)
    fallback = vocabulary.unlabeled_id if vocabulary.background_id is None else vocabulary.background_id
    labels = ids[fused.index].masked_fill_(background, fallback)
    confidence = fused.best.masked_fill_(background, 0)
    return labels.cpu().numpy().astype(vocabulary.label_dtype), confidence.cpu().numpy()
