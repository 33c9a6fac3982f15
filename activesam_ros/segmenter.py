"""The active-vocabulary segmenter: the library's public entry point."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from activesam_ros.calibration import background_mask
from activesam_ros.errors import ImageError, ModelError, SettingsError, VocabularyError
from activesam_ros.fusion import fuse, query_scores
from activesam_ros.model.checkpoint import Checkpoint, load_checkpoint
from activesam_ros.model.heads import PromptHeads, PromptTokens
from activesam_ros.model.vision import ImageFeatures, VisionEncoder
from activesam_ros.preview import select_active
from activesam_ros.result import ActiveClass, SegmentationResult
from activesam_ros.settings import SegmenterSettings
from activesam_ros.text.assembly import make_embedder, prompt_folder
from activesam_ros.text.canonical import canonical_name
from activesam_ros.text.embedder import Residence
from activesam_ros.text.hypernyms import default_hypernyms
from activesam_ros.text.prompts import (
    HypernymLookup,
    PromptSet,
    encode_vocabulary,
)
from activesam_ros.vocabulary import Vocabulary

__all__ = ["ActiveClass", "ActiveSegmenter", "SegmentationResult", "SegmenterSettings"]

logger = logging.getLogger(__name__)


class ActiveSegmenter:
    """Names every pixel of an image with the words of a vocabulary (ActiveSAM, arXiv 2606.16996).

    A low-resolution *preview* asks every prompt whether it is present; only the *active set* is decoded at full
    resolution, many prompts at once.

    One thread may call `segment` while another calls `encode`; `use` may be called from any thread and takes
    effect with the next image.

    Example:
        >>> segmenter = ActiveSegmenter.from_pretrained("facebook/sam3")
        >>> segmenter.set_vocabulary(Vocabulary.from_names(["road", "car, automobile", "sky"]))
        >>> labels = segmenter.segment(rgb).labels
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        settings: SegmenterSettings | None = None,
        hypernyms: HypernymLookup | None = None,
        text_encoder: Residence = "release",
        prompt_cache: Path | Literal["default"] | None = "default",
    ) -> None:
        """
        Args:
            checkpoint: the loaded model.
            settings: None: the defaults.
            hypernyms: canonical name → hypernym phrases; None: WordNet, or the shipped table.
            text_encoder: what happens to the text encoder after it has encoded unknown words: "keep" it on the
                device, "offload" it to host memory, or "release" it.
            prompt_cache: folder of the embeddings of known words; "default": `prompts` in this program's cache
                folder; None: they are remembered in memory only.

        Raises:
            SettingsError: a resolution does not fit the model, or `text_encoder` is none of the three.
        """
        self._checkpoint = checkpoint
        self._configure(settings or SegmenterSettings())
        self._heads = PromptHeads(checkpoint)
        self._text = make_embedder(
            checkpoint,
            checkpoint.model.text_projection,
            checkpoint.device,
            text_encoder,
            prompt_folder(prompt_cache),
        )
        self._hypernyms = hypernyms
        self._prompts: PromptSet | None = None

    def _configure(self, settings: SegmenterSettings) -> None:
        self.settings = settings
        self.full_resolution, self.preview_resolution = _resolutions(self._checkpoint, settings)
        self._full = VisionEncoder(self._checkpoint, self.full_resolution)
        self._preview = VisionEncoder(self._checkpoint, self.preview_resolution)

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        device: str = "auto",
        dtype: str = "auto",
        settings: SegmenterSettings | None = None,
        hypernyms: HypernymLookup | None = None,
        text_encoder: Residence = "release",
        prompt_cache: Path | Literal["default"] | None = "default",
    ) -> ActiveSegmenter:
        """Loads a model; see `load_checkpoint` for `model`, `device` and `dtype`, and the constructor for the rest.

        Raises:
            ModelError: the model cannot be loaded.
            SettingsError: as the constructor.
        """
        return cls(load_checkpoint(model, device, dtype), settings, hypernyms, text_encoder, prompt_cache)

    @property
    def prompts(self) -> PromptSet | None:
        """The expanded prompts in force; None before the first vocabulary."""
        return self._prompts

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary in force; None before the first."""
        return self._prompts.vocabulary if self._prompts else None

    def with_settings(self, settings: SegmenterSettings) -> ActiveSegmenter:
        """A segmenter over the same weights with other settings and the vocabulary in force.

        The vocabulary is encoded again only if the number of context tokens changes.

        Raises:
            SettingsError: a resolution does not fit the model.
        """
        other = copy.copy(self)
        other._configure(settings)
        other._prompts = None
        if self._prompts is not None:
            other.use(self._prompts if other.fits(self._prompts) else other.encode(self._prompts.vocabulary))
        return other

    def fits(self, prompts: PromptSet) -> bool:
        """Whether `prompts` were expanded as the settings of this segmenter say."""
        return (prompts.neighbor_tokens, prompts.hypernym_tokens) == (
            self.settings.neighbor_tokens,
            self.settings.hypernym_tokens,
        )

    @property
    def text_encoder_loaded(self) -> bool:
        """Whether the text encoder is in memory."""
        return self._text.loaded

    def check(self, vocabulary: Vocabulary) -> None:
        """Whether the model can read a vocabulary; quick, for any thread.

        Raises:
            VocabularyError: a prompt is longer than the model's context.
        """
        self._text.check_length([canonical_name(prompt) for prompt in vocabulary.queries])

    def encode(self, vocabulary: Vocabulary) -> PromptSet:
        """Embeds and expands the prompts of a vocabulary, without putting it in force.

        Touches only the text side of the model, so that it may run beside `segment`. The text encoder is loaded if
        the prompt cache lacks a phrase.

        Raises:
            VocabularyError: a prompt is longer than the model's context.
            ModelError: the text encoder cannot be loaded.
        """
        return encode_vocabulary(
            vocabulary,
            self._text,
            self._hypernym_lookup(),
            self.settings.neighbor_tokens,
            self.settings.hypernym_tokens,
        )

    def use(self, prompts: PromptSet) -> None:
        """Puts encoded prompts in force; an image that is being segmented keeps the old ones.

        Raises:
            SettingsError: the prompts were expanded with other settings.
        """
        if not self.fits(prompts):
            raise SettingsError(
                f"the prompts have {prompts.neighbor_tokens} neighbour and {prompts.hypernym_tokens} hypernym tokens; "
                f"expected {self.settings.neighbor_tokens} and {self.settings.hypernym_tokens}, so encode the "
                "vocabulary with this segmenter"
            )
        self._prompts = prompts

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Encodes a vocabulary and puts it in force."""
        self.use(self.encode(vocabulary))

    @torch.inference_mode()
    def segment(self, rgb: np.ndarray) -> SegmentationResult:
        """Labels an image with the vocabulary in force.

        Args:
            rgb: uint8 [H, W, 3].

        Raises:
            ImageError: `rgb` is no such array, is empty or has more than `max_pixels` pixels.
            VocabularyError: no vocabulary is set.
            ModelError: the model gave numbers that are not finite.
        """
        check_image(rgb, self.settings.max_pixels)
        prompts = self._prompts
        if prompts is None:
            raise VocabularyError("no vocabulary is set; call set_vocabulary before segment")
        stages = _Stages(self._checkpoint.device)
        settings = self.settings
        vocabulary = prompts.vocabulary
        size = rgb.shape[:2]

        preview: torch.Tensor | None = None
        active = tuple(range(len(prompts)))
        if len(prompts) > settings.max_active:
            with stages.timed("prepare"):
                pixels = self._preview.prepare(rgb)
            with stages.timed("preview"):
                preview = self._ask_presence(self._preview.encode(pixels), prompts)
                self._require_finite(preview)
                active = select_active(preview, settings.keep_fraction, settings.max_active)

        with stages.timed("prepare"):
            pixels = self._full.prepare(rgb)
        with stages.timed("encode"):
            image = self._full.encode(pixels)

        presence: dict[int, float] = {}
        planes = self._planes(image, prompts, active, size, presence, stages)
        with stages.timed("fuse"):
            top = fuse(planes, len(vocabulary), size, self._checkpoint.device)
            self._require_finite(top.best)
            taken = background_mask(
                top.best, top.second, settings.background_threshold, settings.margin_exponent
            )
            ids = torch.tensor(vocabulary.class_ids, dtype=torch.int32, device=taken.device)
            fallback = vocabulary.background_id
            labels = ids[top.index].masked_fill_(
                taken, vocabulary.unlabeled_id if fallback is None else fallback
            )
            confidence = top.best.masked_fill_(taken, 0)
            labels_out = labels.cpu().numpy().astype(vocabulary.label_dtype)
            confidence_out = confidence.cpu().numpy()
            summary = _active_classes(vocabulary, active, presence, preview, labels_out)

        return SegmentationResult(
            labels=labels_out,
            unlabeled_id=vocabulary.unlabeled_id,
            confidence=confidence_out,
            active=summary,
            preview_presence=None if preview is None else preview.cpu().numpy(),
            active_queries=active,
            timings=stages.seconds(),
            vocabulary=vocabulary,
        )

    def _require_finite(self, scores: torch.Tensor) -> None:
        if not scores.isfinite().all():
            raise ModelError(
                f"the model gave numbers that are not finite; its weights are damaged, or {self._checkpoint.dtype} is "
                "too coarse for it, so try dtype 'bfloat16' or 'float32'"
            )

    def _hypernym_lookup(self) -> HypernymLookup:
        if self._hypernyms is None:
            self._hypernyms = default_hypernyms()
        return self._hypernyms

    def _ask_presence(self, image: ImageFeatures, prompts: PromptSet) -> torch.Tensor:
        buckets = _buckets(range(len(prompts)), self.settings.bucket_size)
        return torch.cat(
            [
                self._heads.presence(image, PromptTokens(prompts.text[bucket], prompts.text_valid[bucket]))
                for bucket in buckets
            ]
        )

    def _planes(
        self,
        image: ImageFeatures,
        prompts: PromptSet,
        active: tuple[int, ...],
        size: tuple[int, int],
        presence: dict[int, float],
        stages: _Stages,
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Decodes the active queries bucket by bucket and yields (class index, scores [H, W]).

        Fills `presence` with the presence of each query on the way.
        """
        owner = prompts.vocabulary.query_classes
        for bucket in _buckets(active, self.settings.bucket_size):
            tokens = PromptTokens(
                torch.cat([prompts.text[bucket], prompts.context.tokens[bucket]], dim=1),
                torch.cat([prompts.text_valid[bucket], prompts.context.valid[bucket]], dim=1),
            )
            decoded = self._heads.decode(image, tokens, self.settings.confidence_threshold)
            for query in bucket:
                with stages.timed("decode"):
                    answer = next(decoded)
                    presence[query] = float(answer.presence)
                yield owner[query], query_scores(answer, size)


def check_image(rgb: object, max_pixels: int) -> None:
    """Raises ImageError unless `rgb` is a uint8 array [H, W, 3] with 1 to `max_pixels` pixels."""
    if not isinstance(rgb, np.ndarray):
        raise ImageError(
            f"the image is a {type(rgb).__name__}; expected a numpy array, uint8 [height, width, 3]"
        )
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ImageError(
            f"the image is {rgb.dtype} {list(rgb.shape)}; expected uint8 [height, width, 3], RGB"
        )
    height, width = rgb.shape[:2]
    if height == 0 or width == 0:
        raise ImageError(f"the image is {width}×{height} pixels; expected at least one pixel")
    if height * width > max_pixels:
        raise ImageError(
            f"the image is {width}×{height} = {height * width} pixels; at most {max_pixels} are taken, so scale it "
            "down or raise max_pixels"
        )


def _resolutions(checkpoint: Checkpoint, settings: SegmenterSettings) -> tuple[int, int]:
    """The full and the preview resolution in force, in pixels."""
    patch = checkpoint.patch_size
    full = settings.full_resolution or checkpoint.image_size
    preview = settings.preview_resolution
    if preview >= full:
        preview = max(2, round(full * 2 / 3 / patch)) * patch
        logger.info(
            "preview_resolution %d is not below the full resolution %d; previewing at %d",
            settings.preview_resolution,
            full,
            preview,
        )
    for name, value in (("full_resolution", full), ("preview_resolution", preview)):
        if value % patch or value < 2 * patch:
            raise SettingsError(
                f"{name} is {value}; expected a multiple of the model's patch size {patch}, at least twice it, such as "
                f"{max(2, round(value / patch)) * patch}"
            )
    return full, preview


def _buckets(queries: range | tuple[int, ...], size: int) -> list[list[int]]:
    return [list(queries[start : start + size]) for start in range(0, len(queries), size)]


def _active_classes(
    vocabulary: Vocabulary,
    active: tuple[int, ...],
    presence: dict[int, float],
    preview: torch.Tensor | None,
    labels: np.ndarray,
) -> tuple[ActiveClass, ...]:
    owner = vocabulary.query_classes
    queries_of: dict[int, list[int]] = {}
    for query in active:
        queries_of.setdefault(owner[query], []).append(query)
    pixels = np.bincount(labels.ravel(), minlength=vocabulary.unlabeled_id + 1)
    seen = None if preview is None else preview.tolist()
    return tuple(
        ActiveClass(
            class_id=vocabulary.classes[index].class_id,
            name=vocabulary.classes[index].name,
            presence=max(presence[query] for query in queries),
            preview_presence=None if seen is None else max(seen[query] for query in queries),
            pixels=int(pixels[vocabulary.classes[index].class_id]),
        )
        for index, queries in queries_of.items()
    )


class _Stages:
    """Seconds spent per stage; a stage inside another counts for itself only."""

    def __init__(self, device: torch.device) -> None:
        self._wait: Callable[[], None] = (
            (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)
        )
        self._seconds: dict[str, float] = {}
        self._stack: list[str] = []
        self._begin = self._since = self._now()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        self._charge()
        self._stack.append(stage)
        try:
            yield
        finally:
            self._charge()
            self._stack.pop()

    def seconds(self) -> dict[str, float]:
        return {**self._seconds, "total": self._now() - self._begin}

    def _charge(self) -> None:
        now = self._now()
        if self._stack:
            stage = self._stack[-1]
            self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._since
        self._since = now

    def _now(self) -> float:
        self._wait()
        return time.perf_counter()
