"""SAM 3 prompted class by class, as its public wrappers do: the baseline without any of ActiveSAM."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from activesam_ros.errors import VocabularyError
from activesam_ros.images.load import to_rgb
from activesam_ros.model.flops import Workload
from activesam_ros.model.prompt_heads import DecodedPrompt, PromptHeads, PromptTokens
from activesam_ros.model.vision_encoder import VisionEncoder
from activesam_ros.results import SegmentationResult, active_classes
from activesam_ros.stages.batch_size import AdaptiveBatchSize
from activesam_ros.stages.fusion import ClassFusion, label_pixels
from activesam_ros.stages.timing import StageTimer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activesam_ros.segmenter import ActiveSegmenter

# Settings of what SAM 3 itself does not do, switched off.
_BARE = {"neighbor_tokens": 0, "hypernym_tokens": 0, "background_threshold": 0.0}


class PerClassSegmenter:
    """Prompt for one class at a time and paint the instances that come back.

    For every prompt the image is encoded again and all is decoded at full resolution. Of the instances whose object
    score × presence is above `confidence_threshold`, the masks, resized as logits and cut at a probability of 0.5, are
    painted: each pixel gets the class of the instance with the highest score, and none where there is no instance
    (the background class, if the vocabulary has one). The semantic head, context tokens and calibration are left out.

    Not thread-safe.
    """

    def __init__(self, segmenter: ActiveSegmenter) -> None:
        """Take the weights, the vocabulary in force and the settings of `segmenter`.

        Raises:
            VocabularyError: no vocabulary is set.
        """
        bare = segmenter.with_settings(replace(segmenter.settings, **_BARE))
        if bare.prompts is None:
            raise VocabularyError("no vocabulary is set; call set_vocabulary first")
        self.settings = bare.settings
        self.prompts = bare.prompts
        self.full_resolution = bare.full_resolution
        self._checkpoint = bare.checkpoint
        self._vision = VisionEncoder(bare.checkpoint, bare.full_resolution)
        self._heads = PromptHeads(bare.checkpoint)
        self._room = AdaptiveBatchSize("prompt")

    def segment(self, rgb: np.ndarray) -> SegmentationResult:
        """Label an image; every prompt is an active one, and there is no preview.

        Args:
            rgb: uint8 [H, W, 3].

        Raises:
            ImageError, ModelError, OutOfMemoryError: as `ActiveSegmenter.segment`.
        """
        rgb = to_rgb(rgb, self.settings.max_pixels)
        return self._room.run(1, lambda _: self._segment(rgb))

    def workload(self, result: SegmentationResult) -> Workload:
        """Return what the model was asked for a result of this segmenter."""
        tokens = self.prompts.text_valid.sum(dim=1).tolist()
        return Workload(
            full_resolution=self.full_resolution,
            preview_resolution=self.full_resolution,
            previewed=0,
            preview_tokens=0,
            decoded=tuple((length + 1, kept) for length, kept in zip(tokens, result.instances, strict=True)),
            encodings=len(tokens),
        )

    @torch.inference_mode()
    def _segment(self, rgb: np.ndarray) -> SegmentationResult:
        clock = StageTimer(self._checkpoint.device)
        vocabulary = self.prompts.vocabulary
        presence: dict[int, float] = {}
        instances: dict[int, int] = {}
        with clock.timed("fuse"):
            fusion = ClassFusion(len(vocabulary), rgb.shape[:2], self._checkpoint.device)
            for index, scores in self._planes(rgb, presence, instances, clock):
                fusion.add(index, scores)
            top = fusion.finish()
            unclaimed = (top.best <= 0).cpu().numpy()
            labels, confidence = label_pixels(top, vocabulary, self.settings)
            fallback = vocabulary.background_id
            labels[unclaimed] = vocabulary.unlabeled_id if fallback is None else fallback
            pixels = np.bincount(labels.ravel(), minlength=vocabulary.unlabeled_id + 1)
        return SegmentationResult(
            labels=labels,
            unlabeled_id=vocabulary.unlabeled_id,
            confidence=confidence,
            active=active_classes(vocabulary, presence, None, pixels),
            preview_presence=None,
            active_prompts=tuple(presence),
            timings=clock.seconds(),
            vocabulary=vocabulary,
            instances=tuple(instances.values()),
        )

    def _planes(
        self, rgb: np.ndarray, presence: dict[int, float], instances: dict[int, int], clock: StageTimer
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield (class index, scores [H, W]) of each prompt; fill `presence` and `instances` on the way."""
        for query, owner in enumerate(self.prompts.vocabulary.prompt_classes):
            answer = self._ask(rgb, query, clock)
            self._checkpoint.require_finite(answer.presence)
            presence[query] = float(answer.presence)
            instances[query] = len(answer.instance_scores)
            yield owner, painted_instances(answer, rgb.shape[:2])

    def _ask(self, rgb: np.ndarray, query: int, clock: StageTimer) -> DecodedPrompt:
        with clock.timed("prepare"):
            pixels = self._vision.prepare(rgb)
        with clock.timed("encode"):
            image = self._vision.encode(pixels)
        with clock.timed("decode"):
            # Alone, a prompt needs no padding to the length of others.
            valid = self.prompts.text_valid[query]
            tokens = PromptTokens(self.prompts.text[query, valid][None], valid[valid][None])
            return next(self._heads.decode(image, tokens, self.settings.confidence_threshold))


def painted_instances(query: DecodedPrompt, size: tuple[int, int]) -> torch.Tensor:
    """Return the highest score among the instances that cover a pixel, float32 [H, W]; 0 where none does."""
    painted = torch.zeros(size, device=query.presence.device)
    for score, logits in zip(query.instance_scores, query.instance_logits, strict=True):
        resized = F.interpolate(logits.float()[None, None], size=size, mode="bilinear", align_corners=False)
        torch.maximum(painted, (resized[0, 0] > 0) * score.float(), out=painted)
    return painted
