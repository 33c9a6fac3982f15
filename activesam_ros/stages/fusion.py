"""Fusion of decoded prompts into class scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from activesam_ros.stages.calibration import TopClasses
from activesam_ros.stages.tiled_fusion import TiledFusion
from activesam_ros.system.device_copies import upload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from activesam_ros.model.prompt_heads import DecodedPrompt, DecodedPrompts
    from activesam_ros.settings import SegmenterSettings

_BATCH_PIXELS = 2**26
"""Number of pixels of masks that are in memory at once on a GPU."""

_SERIAL_BATCH_PIXELS = 2**22
"""The same on a CPU, whose cache holds few more."""

_SMALL_PIXELS = 2**18
"""An image of at most so many pixels is fused as a whole on a CPU too: bounding its tiles would take longer."""


def class_fusion(
    size: tuple[int, int], device: torch.device, settings: SegmenterSettings
) -> ClassFusion | TiledFusion:
    """Create the fusion of an image in which all classes score 0: in tiles for a large one on a CPU.

    Args:
        size: height and width.
        device: of the prompts.
        settings: `background_threshold` and `margin_exponent`.
    """
    if device.type == "cpu" and size[0] * size[1] > _SMALL_PIXELS:
        return TiledFusion(size, settings)
    return ClassFusion(size, device, second=settings.background_threshold > 0)


class ClassFusion:
    """Reduces decoded prompts to the best two class scores of every pixel.

    The score of a prompt is the maximum over its instances of mask × (object score × presence), and over the semantic
    head's probability, times presence; masks are resized as logits, before the sigmoid. The prompts of one class are
    aliases, of which the maximum counts; classes without a decoded prompt score 0.

    The masks of several prompts are resized together, within a memory budget, and nothing waits for the host.
    """

    def __init__(self, size: tuple[int, int], device: torch.device, second: bool = True) -> None:
        """Create the fusion of an image in which all classes score 0.

        Args:
            size: height and width.
            device: of the prompts.
            second: whether the second best score is needed, too; it stays 0 otherwise.
        """
        self._size = size
        self._together = _SERIAL_BATCH_PIXELS if device.type == "cpu" else _BATCH_PIXELS
        self._best = torch.zeros(size, device=device)
        self._second = torch.zeros(size, device=device)
        self._index = torch.zeros(size, device=device)
        self._needs_second = second
        # With steps for each prompt, which a CPU's cache holds, a GPU would have more to launch than to do.
        self._at_once = not second and device.type != "cpu"
        self._last = -1

    def add(self, class_indices: Sequence[int], prompts: DecodedPrompts) -> None:
        """Take in decoded prompts with the class of each; class indices ascend."""
        together = max(1, self._together // (self._size[0] * self._size[1]))
        if self._at_once:
            self._add_at_once(class_indices, prompts, together)
            return
        rows = prompts.rows()
        weights = prompts.weights[:, None, None]
        for begin, end in self._parts(rows, together):
            masks = slice(rows[begin].start, rows[end - 1].stop)
            if end - begin > 1 or masks.stop - masks.start <= together:
                scored = self._probability(prompts.logits[masks]).mul_(weights[masks])
                planes = [scored[one.start - masks.start : one.stop - masks.start] for one in rows[begin:end]]
            else:
                planes = [self._maximum(prompts.logits[masks], weights[masks], together)[None]]
            for number, plane in zip(range(begin, end), planes, strict=True):
                fused = plane[0] if len(plane) == 1 else plane.amax(0)
                self.add_scores(class_indices[number], fused.mul_(prompts.presence[number]))

    def _add_at_once(self, class_indices: Sequence[int], prompts: DecodedPrompts, together: int) -> None:
        """Take in the best of all masks of several prompts, where nobody asks for the second best class.

        The numbers are those of one prompt after the other, since the highest score stays it when it is rounded.
        """
        device = self._best.device
        sizes = [count + 1 for count in prompts.counts]
        presence = prompts.presence.index_select(0, upload(np.repeat(np.arange(len(sizes)), sizes), device))
        classes = upload(np.repeat(class_indices, sizes), device).to(self._index.dtype)
        for begin in range(0, len(prompts.logits), together):
            some = slice(begin, begin + together)
            scored = self._probability(prompts.logits[some]).mul_(prompts.weights[some, None, None])
            best, row = scored.mul_(presence[some, None, None]).max(0)
            # Of equal scores the first is the best, as is that of an earlier part.
            self._index = self._index.where(best <= self._best, classes[some].take(row))
            torch.maximum(self._best, best, out=self._best)

    @staticmethod
    def _parts(rows: Sequence[slice], together: int) -> Iterator[tuple[int, int]]:
        """Yield runs of prompts of at most `together` masks, or single ones of more."""
        begin = 0
        for number, one in enumerate(rows):
            if number > begin and one.stop - rows[begin].start > together:
                yield begin, number
                begin = number
        yield begin, len(rows)

    def _maximum(self, logits: torch.Tensor, weights: torch.Tensor, together: int) -> torch.Tensor:
        """Return the highest score of many masks of one prompt, float32 [H, W]."""
        fused: torch.Tensor | None = None
        for begin in range(0, len(logits), together):
            some = slice(begin, begin + together)
            scored = self._probability(logits[some]).mul_(weights[some]).amax(0)
            fused = scored if fused is None else torch.maximum(fused, scored, out=fused)
        assert fused is not None
        return fused

    def add_scores(self, class_index: int, scores: torch.Tensor) -> None:
        """Take in the scores of one prompt, float32 [H, W] in [0, 1]; class indices ascend."""
        best, index = self._best, self._index
        if self._needs_second:
            others = torch.minimum(best, scores)
            if class_index == self._last:
                # An alias that exceeds another one of its class leaves the second class as it is.
                others.masked_fill_(index == class_index, 0)
            torch.maximum(self._second, others, out=self._second)
        # As class indices ascend, the winner's is the greater one; on a CPU a mask would take much longer.
        wins = torch.gt(scores, best, out=torch.empty_like(scores)).mul_(class_index)
        torch.maximum(index, wins, out=index)
        torch.maximum(best, scores, out=best)
        self._last = class_index

    def finish(self) -> TopClasses:
        """Return the best two class scores of every pixel."""
        return TopClasses(self._best, self._second, self._index.int())

    def _probability(self, logits: torch.Tensor) -> torch.Tensor:
        """Resize maps [K, h, w] to the image and return the probability of every pixel, float32 [K, H, W]."""
        resized = F.interpolate(logits[None].float(), self._size, mode="bilinear", align_corners=False)
        return resized[0].sigmoid_()


class ScoreMaps:
    """Collects the score of every decoded class at the resolution of the masks, before they are resized."""

    def __init__(self) -> None:
        self._maps: dict[int, torch.Tensor] = {}

    def add(self, class_index: int, prompt: DecodedPrompt) -> None:
        """Take in a decoded prompt; of several of one class the maximum counts."""
        scores = prompt.semantic_logits.float().sigmoid()
        for logits, score in zip(prompt.instance_logits, prompt.instance_scores.float(), strict=True):
            scores = torch.maximum(scores, logits.float().sigmoid() * score)
        scores = scores * prompt.presence.float()
        known = self._maps.get(class_index)
        self._maps[class_index] = scores if known is None else torch.maximum(known, scores)

    def finish(self) -> np.ndarray:
        """Return the scores of the decoded classes by ascending index, float16 [A, h, w] in [0, 1]."""
        if not self._maps:
            return np.zeros((0, 1, 1), np.float16)
        return torch.stack([self._maps[index] for index in sorted(self._maps)]).half().cpu().numpy()
