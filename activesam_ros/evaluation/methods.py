"""The methods that an evaluation compares, over the same weights and classes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from activesam_ros.errors import EvaluationError, VocabularyError
from activesam_ros.images.load import to_rgb
from activesam_ros.model.flops import FrameFlops, FusedModelFlops, ModelFlops, Workload
from activesam_ros.model.prompt_heads import DecodedPrompt, PromptHeads, PromptTokens
from activesam_ros.model.vision_encoder import VisionEncoder
from activesam_ros.results import SegmentationResult, active_classes
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.settings import BOUNDS, PROFILES, SegmenterSettings
from activesam_ros.stages.batch_size import AdaptiveBatchSize
from activesam_ros.stages.calibration import label_pixels
from activesam_ros.stages.fusion import ClassFusion
from activesam_ros.stages.timing import StageTimer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from activesam_ros.stages.temporal_reuse import StreamMemory
    from activesam_ros.vocabulary import Vocabulary

PUBLISHED_PATH = (
    "As published, the model is asked prompt by prompt: what prompts have in common is done again for each."
)
SINGLE = {"preview_period": 1, "presence_floor": 0.0}
NO_PREVIEW = {"max_active": int(BOUNDS["max_active"].high), **SINGLE}
NO_EXPANSION = {"neighbor_tokens": 0, "hypernym_tokens": 0}
NO_CALIBRATION = {"background_threshold": 0.0}


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
        settings = replace(segmenter.settings, neighbor_tokens=0, hypernym_tokens=0, background_threshold=0.0)
        bare = segmenter.with_settings(settings)
        if bare.prompts is None:
            raise VocabularyError("no vocabulary is set; call set_vocabulary first")
        self.settings = bare.settings
        self.prompts = bare.prompts
        self.full_resolution = bare.full_resolution
        self._checkpoint = bare.checkpoint
        self._vision = VisionEncoder(bare.checkpoint, bare.full_resolution)
        self._heads = PromptHeads(bare.checkpoint)
        self._batch_size = AdaptiveBatchSize("prompt")

    def segment(
        self, rgb: np.ndarray, memory: StreamMemory | None = None, instances: bool = False
    ) -> SegmentationResult:
        """Label an image; every prompt is an active one, and there is no preview.

        Args:
            rgb: uint8 [H, W, 3].
            memory: as `ActiveSegmenter.segment` has it; nothing is remembered.
            instances: likewise; no result tells them.

        Raises:
            ImageError, ModelError, OutOfMemoryError: as `ActiveSegmenter.segment`.
        """
        rgb = to_rgb(rgb, self.settings.max_pixels)
        with torch.inference_mode():
            return self._batch_size.run(1, lambda _: self._segment(rgb))

    def workload(self, result: SegmentationResult) -> Workload:
        """Return what the model was asked for a result of this segmenter."""
        tokens = self.prompts.text_valid.sum(dim=1).tolist()
        return Workload(
            full_resolution=self.full_resolution,
            preview_resolution=self.full_resolution,
            previewed=0,
            preview_tokens=0,
            decoded=tuple(
                (length + 1, kept) for length, kept in zip(tokens, result.instance_counts or (), strict=True)
            ),
            encodings=len(tokens),
        )

    def _segment(self, rgb: np.ndarray) -> SegmentationResult:
        timer = StageTimer(self._checkpoint.device)
        vocabulary = self.prompts.vocabulary
        presence: dict[int, float] = {}
        instances: dict[int, int] = {}
        with timer.timed("fuse"):
            fusion = ClassFusion(rgb.shape[:2], self._checkpoint.device)
            for index, scores in self._planes(rgb, presence, instances, timer):
                fusion.add_scores(index, scores)
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
            timings=timer.seconds(),
            vocabulary=vocabulary,
            instance_counts=tuple(instances.values()),
        )

    def _planes(
        self, rgb: np.ndarray, presence: dict[int, float], instances: dict[int, int], timer: StageTimer
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield (class index, scores [H, W]) of each prompt; fill `presence` and `instances` on the way."""
        for prompt, owner in enumerate(self.prompts.vocabulary.prompt_classes):
            decoded = self._decode(rgb, prompt, timer)
            self._checkpoint.require_finite(decoded.presence)
            presence[prompt] = float(decoded.presence)
            instances[prompt] = len(decoded.instance_scores)
            yield owner, paint_instances(decoded, rgb.shape[:2])

    def _decode(self, rgb: np.ndarray, prompt: int, timer: StageTimer) -> DecodedPrompt:
        with timer.timed("prepare"):
            pixels = self._vision.prepare(rgb)
        with timer.timed("encode"):
            image = self._vision.encode(pixels)
        with timer.timed("decode"):
            # Alone, a prompt needs no padding to the length of others.
            valid = self.prompts.text_valid[prompt]
            tokens = PromptTokens(self.prompts.text[prompt, valid][None], valid[valid][None])
            (decoded,) = self._heads.decode(image, [tokens], self.settings.confidence_threshold)
            (one,) = decoded.split()
            return one


def paint_instances(prompt: DecodedPrompt, size: tuple[int, int]) -> torch.Tensor:
    """Return the highest score among the instances that cover a pixel, float32 [H, W]; 0 where none does."""
    painted = torch.zeros(size, device=prompt.presence.device)
    for score, logits in zip(prompt.instance_scores, prompt.instance_logits, strict=True):
        resized = F.interpolate(logits.float()[None, None], size=size, mode="bilinear", align_corners=False)
        torch.maximum(painted, (resized[0, 0] > 0) * score.float(), out=painted)
    return painted


MethodSegmenter = ActiveSegmenter | PerClassSegmenter


@dataclass(frozen=True)
class Method:
    """A way to label images.

    Attributes:
        name: what it is asked for by.
        description: one line, for tables.
        differences: what it does otherwise than `active`, one sentence each.
        changes: settings with other values than those given.
        kept: names of the given settings that stay; None: all that are not changed.
        per_class: whether a `PerClassSegmenter` labels.
        plain: whether it runs the reference path, transformers' own modules for every prompt, as published; the others
            run the fused path, which shares what prompts have in common, with the same labels.
    """

    name: str
    description: str
    differences: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    kept: tuple[str, ...] | None = None
    per_class: bool = False
    plain: bool = False

    @property
    def path(self) -> str:
        """How results name the path: "plain" (reference) or "lean" (fused)."""
        return "plain" if self.plain else "lean"

    def settings(self, given: SegmenterSettings) -> SegmenterSettings:
        """Return the settings that make the method."""
        if self.kept is None:
            return replace(given, **self.changes)
        return SegmenterSettings(**{name: getattr(given, name) for name in self.kept}, **self.changes)

    def build(self, segmenter: ActiveSegmenter, vocabulary: Vocabulary) -> MethodSegmenter:
        """Return a segmenter with the weights, hypernyms and prompt cache of `segmenter`, which stays as it is.

        Raises:
            SettingsError, VocabularyError, ModelError, OutOfMemoryError: as `ActiveSegmenter.with_settings` and
                `set_vocabulary`.
        """
        other = segmenter.with_settings(self.settings(segmenter.settings), self.plain)
        if other.vocabulary != vocabulary:
            other.set_vocabulary(vocabulary)
        return PerClassSegmenter(other) if self.per_class else other


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("active", "ActiveSAM with the settings given"),
            Method(
                "paper",
                "ActiveSAM with the published settings",
                (
                    "Every setting that labels depend on is the published one, whatever was given, but for "
                    "background_threshold, which the paper sets for each data set, as our presets do.",
                ),
                kept=("bucket_size", "max_pixels", "background_threshold"),
            ),
            Method(
                "fast",
                "ActiveSAM with the profile for single images: presence scored on pooled features",
                (
                    "The image is encoded once; what is clearly absent on a coarse map is not asked again, and what is "
                    "not present enough is not decoded: the settings of the profile fast, whatever was given for them.",
                ),
                PROFILES["fast"],
            ),
            Method(
                "realtime",
                "ActiveSAM with the profile for streams: what the last frame tells is not asked again",
                (
                    "Not every class is looked for in every frame, and what is not present enough is not decoded: the "
                    "settings of the profile realtime, whatever was given for them.",
                ),
                PROFILES["realtime"],
            ),
            Method(
                "full-vocabulary",
                "every class decoded at full resolution, both heads fused, as SegEarth-OV3 does",
                (
                    "No preview: every prompt is decoded at the model's own resolution.",
                    "No context tokens: prompts are the bare names.",
                    "No calibration: every pixel gets its best class.",
                    PUBLISHED_PATH,
                ),
                {"full_resolution": None, **NO_PREVIEW, **NO_EXPANSION, **NO_CALIBRATION},
                plain=True,
            ),
            Method(
                "per-class",
                "SAM 3 asked class by class, as its public wrappers do",
                (
                    "The image is encoded anew for every prompt, at the model's own resolution.",
                    "Instance masks only: pixels get the class of the best instance, or none; no semantic head.",
                    "No context tokens and no calibration.",
                    PUBLISHED_PATH,
                ),
                {"full_resolution": None, **NO_EXPANSION, **NO_CALIBRATION, **SINGLE},
                per_class=True,
                plain=True,
            ),
            Method(
                "no-expansion",
                "ActiveSAM without context tokens",
                ("Neighbour and hypernym tokens are left out.",),
                NO_EXPANSION,
            ),
            Method("no-preview", "ActiveSAM without the preview", ("Every prompt is decoded.",), NO_PREVIEW),
            Method(
                "no-calibration",
                "ActiveSAM without background calibration",
                ("Every pixel gets its best class.",),
                NO_CALIBRATION,
            ),
        )
    }
)
"""Every method by its name."""


def known_methods(names: Iterable[str]) -> list[Method]:
    """Return the methods of these names, in order.

    Raises:
        EvaluationError: there is no such method, or one is named twice.
    """
    names = list(names)
    for name in names:
        if name not in METHODS:
            raise EvaluationError(f"there is no method {name!r}; expected one of {', '.join(METHODS)}")
        if names.count(name) > 1:
            raise EvaluationError(f"the method {name!r} is named twice; name each once")
    return [METHODS[name] for name in names]


class FlopsCounter:
    """Count the FLOPs of frames; shared between methods, since it remembers the counts of the model's parts."""

    def __init__(self, config: object) -> None:
        """Count for a model with this `Sam3Config`."""
        self._config = config

    @cached_property
    def _reference(self) -> ModelFlops:
        return ModelFlops(self._config)

    @cached_property
    def _fused(self) -> FusedModelFlops:
        return FusedModelFlops(self._config)

    def count(self, method: Method, segmenter: MethodSegmenter, result: SegmentationResult) -> FrameFlops:
        """Count one image, of which `segmenter`, built by `method`, made `result`."""
        workload = (
            segmenter.workload(result)
            if isinstance(segmenter, PerClassSegmenter)
            else workload_of(segmenter, result)
        )
        return (self._reference if method.plain else self._fused).frame(workload)


def workload_of(segmenter: ActiveSegmenter, result: SegmentationResult) -> Workload:
    """Return what the model was asked for a result.

    Args:
        segmenter: whose result it is; the vocabulary that it was made with is still in force.
        result: what `segment` or `decode` gave.

    Raises:
        ValueError: another vocabulary is in force, or the result does not say what was asked or kept.
    """
    prompts = segmenter.prompts
    if prompts is None or prompts.vocabulary != result.vocabulary:
        raise ValueError("the result has another vocabulary than the segmenter; count before it is changed")
    if result.instance_counts is None or result.schedule is None:
        raise ValueError(
            "the result does not say what was asked, or how many instance masks were kept; expected one of a segmenter"
        )
    asked = 0
    if result.preview_presence is not None:
        asked = int(np.count_nonzero(~np.isnan(result.preview_presence)))
    pooled = bool(result.preview_maps)
    at_full_resolution = result.schedule.mode == "share"
    moved = result.schedule.mode == "moved"
    # The image's class token is the last of every prompt.
    text = prompts.text.shape[1] + 1
    context = prompts.context.tokens.shape[1]
    return Workload(
        full_resolution=segmenter.full_resolution,
        preview_resolution=segmenter.preview_resolution,
        previewed=0 if at_full_resolution or pooled else asked,
        preview_tokens=text,
        decoded=() if moved else tuple((text + context, kept) for kept in result.instance_counts),
        encodings=0 if moved else 1,
        presence_only=asked if at_full_resolution and not pooled else 0,
        pooled=tuple((one.side, one.prompts) for one in result.preview_maps),
        instances=result.instances is not None,
    )
