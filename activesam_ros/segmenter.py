"""The active-vocabulary segmenter: the library's public entry point."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import torch

from activesam_ros.errors import OutOfMemoryError, SettingsError, VocabularyError
from activesam_ros.images.checks import check_image
from activesam_ros.model.checkpoint import Checkpoint, load_checkpoint
from activesam_ros.model.fused.heads import BUCKET_STEP, FusedPromptHeads, PreparedImage
from activesam_ros.model.prompt_heads import PromptHeads
from activesam_ros.model.vision_encoder import ImageFeatures, Levels, VisionEncoder
from activesam_ros.prompts.cache import prompt_folder
from activesam_ros.prompts.hypernyms import default_hypernyms
from activesam_ros.prompts.prompt_set import (
    HypernymLookup,
    PromptSet,
    encode_vocabulary,
)
from activesam_ros.prompts.text_encoder import TextEncoder
from activesam_ros.results import (
    EMPTY_SCHEDULE,
    ActiveClass,
    PreviewResult,
    SegmentationResult,
    active_classes,
)
from activesam_ros.settings import SegmenterSettings
from activesam_ros.stages.batch_size import AdaptiveBatchSize
from activesam_ros.stages.decoding import EncodedImage, ask_presence, decode_planes
from activesam_ros.stages.fusion import fuse
from activesam_ros.stages.labelling import label_pixels
from activesam_ros.stages.preview import select_active
from activesam_ros.stages.resolutions import resolutions
from activesam_ros.stages.temporal_reuse import (
    Plan,
    StreamMemory,
    distinct,
    first_frame_schedule,
    single_image_schedule,
)
from activesam_ros.stages.timing import StageTimer, added
from activesam_ros.system.memory import DeviceMemory, device_memory, is_out_of_memory
from activesam_ros.vocabulary.canonical import canonical_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from activesam_ros.model.compiling import Compiler
    from activesam_ros.prompts.text_encoder import Residence
    from activesam_ros.vocabulary import Vocabulary

__all__ = [
    "ActiveClass",
    "ActiveSegmenter",
    "EncodedImage",
    "PreviewResult",
    "SegmentationResult",
    "SegmenterSettings",
    "StreamMemory",
]

S = TypeVar("S")
T = TypeVar("T")


class ActiveSegmenter:
    """Names every pixel of an image with the words of a vocabulary (ActiveSAM, arXiv 2606.16996).

    A low-resolution *preview* asks every prompt whether it is present; only the *active set* is decoded at full
    resolution, many prompts at once.

    Several images go through the vision encoder together: `encode_images`, then `decode` each. Where memory runs out
    fewer images and fewer prompts are worked on at a time, with the same results.

    The frames of a stream may share a `StreamMemory`: with `preview_period` above 1 only a part of the vocabulary is
    asked in each of them. Without one every image is for itself.

    One thread may call `segment`, `encode_images`, `decode` and `preview` while another calls `encode`; `use` may be
    called from any thread and takes effect with the next image.

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
        plain: bool = False,
        compiler: Compiler | None = None,
    ) -> None:
        """Args:
            checkpoint: the loaded model.
            settings: None: the defaults.
            hypernyms: canonical name → hypernym phrases; None: WordNet, or the shipped table.
            text_encoder: what happens to the text encoder after it has encoded unknown words: "keep" it on the
                device, "offload" it to host memory, or "release" it.
            prompt_cache: folder of the embeddings of known words; "default": `prompts` in this program's cache
                folder; None: they are remembered in memory only.
            plain: call transformers' own modules, which share nothing among prompts: the same labels at more work,
                for comparison.
            compiler: makes faster functions of the model's large parts, see `torch_compiler`; None: none does.

        Raises:
            SettingsError: a resolution does not fit the model, or `text_encoder` is none of the three.
        """
        self._checkpoint = checkpoint
        self._compiler = compiler
        self._heads = _heads(checkpoint, plain, compiler)
        self._encoders: dict[tuple[str, int], VisionEncoder] = {}
        self._configure(settings or SegmenterSettings())
        self._prompt_room = AdaptiveBatchSize("prompt")
        self._image_room = AdaptiveBatchSize("image")
        self._text = TextEncoder(
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
        self.full_resolution, self.preview_resolution = resolutions(
            self._checkpoint.image_size, self._checkpoint.patch_size, settings
        )
        full: Levels = "all" if self.plain else "masks"
        preview: Levels = "all" if self.plain else "coarse"
        self._full = self._encoder(full, self.full_resolution)
        self._preview = self._encoder(preview, self.preview_resolution)
        # What is compiled for a resolution stays compiled while others change.
        self._encoders = {
            (full, self.full_resolution): self._full,
            (preview, self.preview_resolution): self._preview,
        }

    def _encoder(self, levels: Levels, resolution: int) -> VisionEncoder:
        known = self._encoders.get((levels, resolution))
        return known or VisionEncoder(self._checkpoint, resolution, levels, self._compiler)

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
        plain: bool = False,
        compiler: Compiler | None = None,
    ) -> ActiveSegmenter:
        """Loads a model; see `load_checkpoint` for `model`, `device` and `dtype`, and the constructor for the rest.

        Raises:
            ModelError: the model cannot be loaded.
            SettingsError: as the constructor.
        """
        checkpoint = load_checkpoint(model, device, dtype)
        return cls(checkpoint, settings, hypernyms, text_encoder, prompt_cache, plain, compiler)

    @property
    def checkpoint(self) -> Checkpoint:
        """The model."""
        return self._checkpoint

    @property
    def plain(self) -> bool:
        """Whether transformers' own modules are called, which share nothing among prompts."""
        return isinstance(self._heads, PromptHeads)

    @property
    def compiled(self) -> bool:
        """Whether large parts of the model are compiled, so that the first images of each kind take long."""
        return self._compiler is not None and not self.plain

    @property
    def prompts(self) -> PromptSet | None:
        """The expanded prompts in force; None before the first vocabulary."""
        return self._prompts

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary in force; None before the first."""
        return self._prompts.vocabulary if self._prompts else None

    @property
    def device(self) -> str:
        """Where the model lives, such as "cpu" or "cuda:0"."""
        return str(self._checkpoint.device)

    @property
    def dtype(self) -> str:
        """Precision of its matrix products, such as "bfloat16"."""
        return self._checkpoint.dtype_name

    @property
    def bucket_size(self) -> int:
        """Prompts that are asked at once: the setting, or less while memory is short."""
        return self._prompt_room.within(self.settings.bucket_size)

    def device_memory(self) -> DeviceMemory | None:
        """Memory of the model's GPU; None on the CPU. For any thread."""
        return device_memory(self._checkpoint.device)

    def with_settings(self, settings: SegmenterSettings, plain: bool | None = None) -> ActiveSegmenter:
        """A segmenter over the same weights with other settings and the vocabulary in force.

        The vocabulary is encoded again only if the number of context tokens changes.

        Args:
            settings: the other ones.
            plain: as of the constructor; None: as here.

        Raises:
            SettingsError: a resolution does not fit the model.
        """
        other = copy.copy(self)
        if plain is not None and plain != self.plain:
            other._heads = _heads(self._checkpoint, plain, self._compiler)
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
        self._text.check_length([canonical_name(prompt) for prompt in vocabulary.prompts])

    def encode(self, vocabulary: Vocabulary) -> PromptSet:
        """Embeds and expands the prompts of a vocabulary, without putting it in force.

        Touches only the text side of the model, so that it may run beside `segment`. The text encoder is loaded if
        the prompt cache lacks a phrase.

        Raises:
            VocabularyError: a prompt is longer than the model's context.
            ModelError: the text encoder cannot be loaded.
            OutOfMemoryError: there is not enough memory.
        """
        try:
            return encode_vocabulary(
                vocabulary,
                self._text,
                self._hypernym_lookup(),
                self.settings.neighbor_tokens,
                self.settings.hypernym_tokens,
            )
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"there is not enough memory for the {len(vocabulary.prompts)} prompts of the vocabulary; free memory, "
                "ask for fewer, or fill the prompt cache ahead on a machine that has more"
            ) from error

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

    def segment(self, rgb: np.ndarray, memory: StreamMemory | None = None) -> SegmentationResult:
        """Labels an image with the vocabulary in force.

        Args:
            rgb: uint8 [H, W, 3].
            memory: of the stream that it is the next image of; None: of none.

        Raises:
            ImageError: `rgb` is no such array, is empty or has more than `max_pixels` pixels.
            VocabularyError: no vocabulary is set.
            ModelError: the model gave numbers that are not finite.
            OutOfMemoryError: not even one prompt at a time fits into memory.
        """
        return self.decode(self.encode_images([rgb], [memory])[0])

    @torch.inference_mode()
    def warm_up(self, prompts: PromptSet) -> None:
        """Runs every size of bucket that images may need, so that compiling does not hold up the first of them.

        Args:
            prompts: a vocabulary that comes into force.

        Raises:
            ModelError: torch cannot compile the model on this machine, or as `segment`.
            OutOfMemoryError: as `segment`.
        """
        self._image_room.run(1, lambda _: self._run_every_size(prompts))

    def _run_every_size(self, prompts: PromptSet) -> None:
        settings = self.settings
        clock = StageTimer(self._checkpoint.device)
        blank = [np.zeros((self.full_resolution, self.full_resolution, 3), np.uint8)]
        full = self._heads.prepare(self._full.encode(self._full.prepare_all(blank)), masks=True)
        asked = []
        if self._prunes(prompts):
            small = self._preview.encode(self._preview.prepare_all(blank))
            asked.append(self._heads.prepare(small, masks=False))
            if settings.reuses_frames and settings.preview_way == "share":
                asked.append(full)
        most = min(len(prompts), settings.bucket_size)
        for size in range(BUCKET_STEP, most + BUCKET_STEP, BUCKET_STEP):
            queries = tuple(range(min(size, most)))
            for image in asked:
                self._ask(image, prompts, queries)
            if size - BUCKET_STEP < settings.max_active:
                some = EncodedImage(full, (1, 1), prompts, None, queries[: settings.max_active], {})
                self._prompt_room.run(settings.bucket_size, partial(self._decode, some, clock=clock))

    @torch.inference_mode()
    def encode_images(
        self, images: Sequence[np.ndarray], memories: Sequence[StreamMemory | None] | None = None
    ) -> list[EncodedImage]:
        """The part of `segment` that images share: selects the active prompts of each, and encodes it.

        All go through both passes of the vision encoder at once; prompts are asked image by image. The vocabulary in
        force now is the one that `decode` labels with.

        Args:
            images: uint8 [H, W, 3] each, of any sizes.
            memories: one for each image, of the stream that it belongs to, or None; None: they belong to none. A
                memory learns of an image when it is decoded.

        Raises:
            ImageError, VocabularyError, ModelError, OutOfMemoryError: as `segment`, for any of the images.
            SettingsError: two images have the same memory.
        """
        prompts = self._checked(images)
        clock = StageTimer(self._checkpoint.device)
        frames = self._planned(images, memories or [None] * len(images), prompts)
        encoded = self._together(frames, lambda some: self._encode(some, prompts, clock))
        timings = clock.seconds(max(len(images), 1))
        return [replace(one, timings=timings) for one in encoded]

    @torch.inference_mode()
    def decode(self, encoded: EncodedImage) -> SegmentationResult:
        """Decodes the active prompts of an encoded image and labels its pixels.

        Raises:
            ModelError, OutOfMemoryError: as `segment`.
        """
        clock = StageTimer(self._checkpoint.device)
        result = self._prompt_room.run(
            self.settings.bucket_size, lambda size: self._decode(encoded, size, clock)
        )
        self._prompt_room.image_done()
        encoded.remember(result)
        return replace(result, timings=added(encoded.timings, clock.seconds()))

    @torch.inference_mode()
    def preview(self, images: Sequence[np.ndarray]) -> list[PreviewResult]:
        """Asks the preview alone which prompts each image shows, for any size of vocabulary.

        Args:
            images: uint8 [H, W, 3] each, of any sizes.

        Raises:
            ImageError, VocabularyError, ModelError, OutOfMemoryError: as `segment`, for any of the images.
        """
        prompts = self._checked(images)
        clock = StageTimer(self._checkpoint.device)
        everything = range(len(prompts))
        asked = self._together(
            images,
            lambda some: self._ask_preview([(rgb, everything) for rgb in some], prompts, clock),
        )
        timings = clock.seconds(max(len(images), 1))
        results = []
        for presence in asked:
            active = tuple(everything)
            if self._prunes(prompts):
                active = self._select(presence)
            values = presence.cpu().numpy()
            classes = active_classes(
                prompts.vocabulary, {query: float(values[query]) for query in active}, values, pixels=None
            )
            results.append(PreviewResult(values, active, classes, timings, prompts.vocabulary))
            self._prompt_room.image_done()
        return results

    def _checked(self, images: Sequence[np.ndarray]) -> PromptSet:
        for rgb in images:
            check_image(rgb, self.settings.max_pixels)
        prompts = self._prompts
        if prompts is None:
            raise VocabularyError("no vocabulary is set; call set_vocabulary before the first image")
        return prompts

    def _planned(
        self, images: Sequence[np.ndarray], memories: Sequence[StreamMemory | None], prompts: PromptSet
    ) -> list[tuple[np.ndarray, Plan]]:
        distinct(memories)
        settings, queries = self.settings, prompts.vocabulary.prompts
        alone = Plan(single_image_schedule(len(queries), settings), queries, settings)
        return [
            (rgb, alone if memory is None else memory.plan(rgb, queries, settings))
            for rgb, memory in zip(images, memories, strict=True)
        ]

    def _together(self, images: Sequence[S], work: Callable[[Sequence[S]], list[T]]) -> list[T]:
        """What `work` gives for each image, as many at a time as memory has room for."""
        if not images:
            return []
        found = self._image_room.run(
            len(images),
            lambda size: [
                one for start in range(0, len(images), size) for one in work(images[start : start + size])
            ],
        )
        for _ in images:
            self._image_room.image_done()
        return found

    def _encode(
        self, frames: Sequence[tuple[np.ndarray, Plan]], prompts: PromptSet, clock: StageTimer
    ) -> list[EncodedImage]:
        small = [one for one, (_, plan) in enumerate(frames) if plan.schedule.mode in ("full", "sweep")]
        previews = iter(
            self._ask_preview(
                [(frames[one][0], frames[one][1].schedule.prompts) for one in small], prompts, clock
            )
        )
        with clock.timed("prepare"):
            pixels = self._full.prepare_all([rgb for rgb, _ in frames])
        with clock.timed("encode"):
            features = [self._heads.prepare(image, masks=True) for image in self._full.encode(pixels).split()]
        encoded = []
        for index, (image, (rgb, plan)) in enumerate(zip(features, frames, strict=True)):
            asked = next(previews) if index in small else None
            if plan.schedule.mode == "share":
                with clock.timed("preview"):
                    asked = self._ask(image, prompts, plan.schedule.prompts)
            selected, active = self._choose(plan, asked)
            encoded.append(EncodedImage(image, rgb.shape[:2], prompts, asked, active, {}, plan, selected))
        return encoded

    def _ask_preview(
        self, frames: Sequence[tuple[np.ndarray, Sequence[int]]], prompts: PromptSet, clock: StageTimer
    ) -> list[torch.Tensor]:
        """Presence of the given queries of each image at the preview's resolution; see `_ask`."""
        if not frames:
            return []
        # The features end with this call, so that they take no memory beside those of the full resolution.
        with clock.timed("prepare"):
            pixels = self._preview.prepare_all([rgb for rgb, _ in frames])
        with clock.timed("preview"):
            features = self._preview.encode(pixels).split()
            return [
                self._ask(self._heads.prepare(image, masks=False), prompts, queries)
                for image, (_, queries) in zip(features, frames, strict=True)
            ]

    def _ask(
        self, image: ImageFeatures | PreparedImage, prompts: PromptSet, queries: Sequence[int]
    ) -> torch.Tensor:
        """Presence of the given queries, float32 [Q], NaN for the others."""
        presence = self._prompt_room.run(
            self.settings.bucket_size,
            lambda size: ask_presence(self._heads, image, prompts, size, queries),
        )
        self._checkpoint.require_finite(presence)
        every = presence.new_full((len(prompts),), torch.nan)
        every[list(queries)] = presence
        return every

    def _choose(self, plan: Plan, asked: torch.Tensor | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The queries that presence selects, and those to decode, ascending."""
        if not plan.prunes:
            everything = tuple(range(len(plan.queries)))
            return everything, everything
        if plan.known is None:
            selected = self._select(asked)
            return selected, selected
        presence = plan.presence(None if asked is None else asked.cpu().numpy())
        selected = self._select(torch.from_numpy(presence))
        return selected, plan.active(selected, presence)

    def _prunes(self, prompts: PromptSet) -> bool:
        """Whether the first image of a stream may have classes that are not decoded."""
        return first_frame_schedule(len(prompts), self.settings) != EMPTY_SCHEDULE

    def _select(self, presence: torch.Tensor) -> tuple[int, ...]:
        settings = self.settings
        # Of so few words none has to go for want of room.
        fraction = settings.keep_fraction if len(presence) > settings.max_active else 1.0
        return select_active(presence, fraction, settings.max_active, settings.presence_floor)

    def _decode(self, encoded: EncodedImage, bucket_size: int, clock: StageTimer) -> SegmentationResult:
        settings = self.settings
        vocabulary = encoded.prompts.vocabulary
        presence: dict[int, float] = {}
        instances: dict[int, int] = {}
        planes = decode_planes(
            self._heads, encoded, bucket_size, settings.confidence_threshold, presence, clock, instances
        )
        with clock.timed("fuse"):
            top = fuse(planes, len(vocabulary), encoded.size, self._checkpoint.device)
            self._checkpoint.require_finite(top.best)
            labels, confidence = label_pixels(top, vocabulary, settings)
            preview = None if encoded.preview is None else encoded.preview.cpu().numpy()
            pixels = np.bincount(labels.ravel(), minlength=vocabulary.unlabeled_id + 1)

        return SegmentationResult(
            labels=labels,
            unlabeled_id=vocabulary.unlabeled_id,
            confidence=confidence,
            active=active_classes(vocabulary, presence, preview, pixels),
            preview_presence=preview,
            active_prompts=encoded.active,
            schedule=encoded.schedule,
            prompt_presence=tuple(presence.values()),
            timings={},
            vocabulary=vocabulary,
            instances=tuple(instances.values()),
        )

    def _hypernym_lookup(self) -> HypernymLookup:
        if self._hypernyms is None:
            self._hypernyms = default_hypernyms()
        return self._hypernyms


def _heads(checkpoint: Checkpoint, plain: bool, compiler: Compiler | None) -> PromptHeads | FusedPromptHeads:
    return PromptHeads(checkpoint) if plain else FusedPromptHeads(checkpoint, compiler)
