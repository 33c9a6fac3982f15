"""Collect the instances of the decoded prompts, each thing once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from activesam_ros.instances import MAX_INSTANCES, Instance
from activesam_ros.stages.overlap import Masks
from activesam_ros.system.device_copies import HostCopies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activesam_ros.model.prompt_heads import DecodedPrompt
    from activesam_ros.vocabulary import Vocabulary

_HELD_BYTES = 2**28
"""Most memory of mask logits that wait on a GPU to be copied together."""

_COMPARED_TOGETHER = 256
"""Instances that are compared with others at once, so that memory grows with their number, not with its square."""


@dataclass(frozen=True)
class CollectedInstances:
    """The instances of an image.

    Attributes:
        instances: by score, the highest first, with the ids 1, 2, 3 …
        without_pixels: number of instances that are left out because their masks have no pixel.
        beyond_limit: number of instances that are left out because there are more than ids; those of the lowest scores.
    """

    instances: tuple[Instance, ...]
    without_pixels: int
    beyond_limit: int


class InstanceCollector:
    """Takes the instances of decoded prompts, and keeps what their pixels depend on, in the host's memory.

    On a GPU, logits are copied at the end, so that the host does not wait in between, or whenever they fill 256 MiB.
    """

    def __init__(self, vocabulary: Vocabulary, size: tuple[int, int], overlap: float) -> None:
        """Create the collector of an image.

        Args:
            vocabulary: that of the prompts.
            size: height and width of the image.
            overlap: intersection over union of the masks above which instances of two aliases are one thing.
        """
        self._vocabulary = vocabulary
        self._size = size
        self._overlap = overlap
        self._held: list[tuple[int, DecodedPrompt]] = []
        self._bytes = 0
        self._found: list[Instance] = []
        self._without_pixels = 0
        self._beyond_limit = 0

    def add(self, index: int, prompt: DecodedPrompt) -> None:
        """Take the instances of a decoded prompt, with their boxes, by its index."""
        if not len(prompt.instance_scores):
            return
        self._held.append((index, prompt))
        self._bytes += prompt.instance_logits.nbytes
        if prompt.instance_logits.device.type == "cpu" or self._bytes > _HELD_BYTES:
            self._take_held()

    def held_tensors(self) -> tuple[torch.Tensor, ...]:
        """Return the tensors that `finish` takes as arrays, so that they are copied with others of the image."""
        if not self._held:
            return ()
        scores = torch.cat([prompt.instance_scores for _, prompt in self._held])
        boxes = torch.cat([_boxes(prompt) for _, prompt in self._held])
        logits = torch.cat([prompt.instance_logits for _, prompt in self._held])
        if logits.dtype != torch.float32:
            logits = logits.half()  # Which numpy has, unlike bfloat16, of which it holds every digit.
        return scores.float(), boxes.float(), logits

    def finish(self, *copied: np.ndarray) -> CollectedInstances:
        """Return the instances of all prompts, without the doubles of aliases.

        Args:
            *copied: what `held_tensors` returned, in the host's memory; none: they are copied now.
        """
        self._take_held(*copied)
        self._found = without_doubles(self._found, self._overlap)
        self._limit()
        numbered = tuple(replace(one, id=number) for number, one in enumerate(self._found, 1))
        return CollectedInstances(numbered, self._without_pixels, self._beyond_limit)

    def _take_held(self, *copied: np.ndarray) -> None:
        if not self._held:
            return
        scores, boxes, maps = copied or HostCopies(*self.held_tensors()).wait()
        prompts = [index for index, prompt in self._held for _ in range(len(prompt.instance_scores))]
        self._held, self._bytes = [], 0
        height, width = self._size
        positive = maps > 0
        for number, prompt in enumerate(prompts):
            rows, columns = (np.flatnonzero(positive[number].any(axis)) for axis in (1, 0))
            if not len(rows):
                self._without_pixels += 1
                continue
            # A pixel of the mask lies between cells of which one at least is positive.
            top, left = max(rows[0] - 1, 0), max(columns[0] - 1, 0)
            spec = self._vocabulary.classes[self._vocabulary.prompt_classes[prompt]]
            self._found.append(
                Instance(
                    class_id=spec.class_id,
                    name=spec.name,
                    score=float(scores[number]),
                    box=_scaled(boxes[number], width, height),
                    prompt=prompt,
                    id=0,
                    size=self._size,
                    grid=(maps.shape[1], maps.shape[2]),
                    corner=(int(top), int(left)),
                    logits=maps[number, top : rows[-1] + 2, left : columns[-1] + 2].copy(),
                )
            )
        if len(self._found) > 2 * MAX_INSTANCES:
            self._limit()

    def _limit(self) -> None:
        """Keep those of the highest scores, in their order, as many as there are ids."""
        self._found.sort(key=lambda one: -one.score)
        self._beyond_limit += len(self._found[MAX_INSTANCES:])
        del self._found[MAX_INSTANCES:]


def _boxes(prompt: DecodedPrompt) -> torch.Tensor:
    if prompt.instance_boxes is None:
        raise ValueError("the prompt was decoded without boxes; expected decode(boxes=True)")
    return prompt.instance_boxes


def _scaled(box: np.ndarray, width: int, height: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = map(float, box * np.float32([width, height, width, height]))
    return left, top, right, bottom


def without_doubles(instances: Sequence[Instance], overlap: float) -> list[Instance]:
    """Leave out each instance that another prompt of its class found too, with a higher score.

    Two instances of one prompt are two things, however much they overlap.

    Args:
        instances: of one image.
        overlap: intersection over union of the masks at low resolution above which two are one thing.
    """
    by_class: dict[int, list[Instance]] = {}
    for one in instances:
        by_class.setdefault(one.class_id, []).append(one)
    kept: list[Instance] = []
    for group in by_class.values():
        several = len({one.prompt for one in group}) > 1
        kept += _without_doubles(group, overlap) if several else group
    return kept


def _without_doubles(group: Sequence[Instance], overlap: float) -> list[Instance]:
    """Go through the instances of a class by score, and compare each with those kept so far."""
    group = sorted(group, key=lambda one: -one.score)
    masks = Masks([one.logits > 0 for one in group], [one.corner for one in group])
    prompts = np.array([one.prompt for one in group])
    kept = np.zeros(len(group), bool)
    for begin in range(0, len(group), _COMPARED_TOGETHER):
        block = np.arange(begin, min(begin + _COMPARED_TOGETHER, len(group)))
        before = np.concatenate([np.flatnonzero(kept), block])
        common = masks[block].common(masks[before])
        for row, number in enumerate(block):
            union = masks.areas[number] + masks.areas[before] - common[row]
            same = kept[before] & (prompts[before] != prompts[number]) & (common[row] > overlap * union)
            kept[number] = not same.any()
    return [one for one, stays in zip(group, kept, strict=True) if stays]
