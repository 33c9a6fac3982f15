"""From decoded queries to one label per pixel, one class plane at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activesam_ros.model.prompt_heads import DecodedPrompt


def query_scores(query: DecodedPrompt, size: tuple[int, int]) -> torch.Tensor:
    """Fused score of one query, float32 [H, W] in [0, 1].

    The maximum over the instances of mask × (object score × presence), and over the semantic head's
    probability, times presence. Logits are resized, then squashed; one instance at a time, so that memory does
    not grow with the instances.
    """
    fused = _probability(query.semantic_logits, size)
    for score, logits in zip(query.instance_scores, query.instance_logits, strict=True):
        torch.maximum(fused, _probability(logits, size).mul_(score), out=fused)
    return fused.mul_(query.presence)


class BestTwo:
    """The best two class scores of every pixel, and which class has the best.

    Attributes:
        best, second: float32 [H, W]; `second` is 0 in a vocabulary of one class.
        index: int32 [H, W], index of the best class; the first one if several are equal.
    """

    def __init__(self, size: tuple[int, int], device: torch.device) -> None:
        self.best = torch.full(size, -1.0, device=device)
        self.second = torch.zeros(size, device=device)
        self.index = torch.zeros(size, dtype=torch.int32, device=device)

    def add(self, index: int, plane: torch.Tensor | float) -> None:
        """Takes in the scores of the class `index`; classes come in ascending order."""
        plane = torch.as_tensor(plane, dtype=self.best.dtype, device=self.best.device)
        wins = plane > self.best
        torch.maximum(self.second, torch.minimum(self.best, plane), out=self.second)
        self.index.masked_fill_(wins, index)
        torch.maximum(self.best, plane, out=self.best)


def fuse(
    planes: Iterable[tuple[int, torch.Tensor]], classes: int, size: tuple[int, int], device: torch.device
) -> BestTwo:
    """Finds the best two classes of every pixel.

    Args:
        planes: (class index, scores [H, W]) of each decoded query, class indices ascending; the queries of one
            class are aliases, whose maximum counts.
        classes: number of classes; those without a decoded query score 0.
        size: height and width of the planes.
        device: where the planes are.
    """
    top = BestTwo(size, device)
    merged: torch.Tensor | None = None
    current = -1
    skipped = False
    for index, plane in planes:
        if merged is not None and index == current:
            merged = torch.maximum(merged, plane)
            continue
        if merged is not None:
            top.add(current, merged)
        # All classes that were not decoded score 0: the first of them stands for the rest.
        if not skipped and index > current + 1:
            top.add(current + 1, 0.0)
            skipped = True
        current, merged = index, plane
    if merged is not None:
        top.add(current, merged)
    if not skipped and current + 1 < classes:
        top.add(current + 1, 0.0)
    return top


def _probability(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    resized = F.interpolate(logits.float()[None, None], size=size, mode="bilinear", align_corners=False)
    return resized[0, 0].sigmoid_()
