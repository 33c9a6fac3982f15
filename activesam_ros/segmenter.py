"""The segmenter: the two stages of ActiveSAM put together.

First stage: the *preview* scores prompts for presence at low resolution and selects the *active set*. Second stage: the
active prompts are decoded in *buckets* at full resolution, fused into class scores, calibrated and labelled.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
import torch

from activesam_ros.errors import ActiveSamError, ImageError, OutOfMemoryError, SettingsError, VocabularyError
from activesam_ros.images.load import ImageInput, image_name, to_rgb
from activesam_ros.model.checkpoint import Checkpoint, load_checkpoint
from activesam_ros.model.cuda_graphs import graph_compiler
from activesam_ros.model.fused.heads import BUCKET_STEP, FusedPromptHeads
from activesam_ros.model.prompt_heads import PromptHeads
from activesam_ros.model.vision_encoder import Levels, VisionEncoder
from activesam_ros.prompts.cache import prompt_folder
from activesam_ros.prompts.hypernyms import default_hypernyms
from activesam_ros.prompts.prompt_set import HypernymLookup, PromptSet, encode_vocabulary
from activesam_ros.prompts.text_encoder import TextEncoder
from activesam_ros.results import (
    EMPTY_SCHEDULE,
    ActiveClass,
    PooledMap,
    PreviewResult,
    SegmentationResult,
    active_classes,
)
from activesam_ros.settings import GOVERNED, SegmenterSettings, settings_for
from activesam_ros.stages.association import IdCounter
from activesam_ros.stages.batch_size import AdaptiveBatchSize
from activesam_ros.stages.calibration import label_tensors
from activesam_ros.stages.decoding import EncodedImage, KeptFeatures, KeptImage, decode_prompts
from activesam_ros.stages.fusion import ScoreMaps, class_fusion
from activesam_ros.stages.instances import InstanceCollector
from activesam_ros.stages.preview import (
    map_sides,
    most_doubtful,
    resolutions,
    score_presence,
    scored_ahead,
    uncertain_prompts,
)
from activesam_ros.stages.temporal_reuse import (
    FramePlan,
    StreamMemory,
    first_frame_schedule,
    require_distinct,
    single_image_schedule,
)
from activesam_ros.stages.timing import StageTimer, add_timings
from activesam_ros.system.device_copies import HostCopies, upload
from activesam_ros.system.memory import DeviceMemory, device_memory, is_out_of_memory
from activesam_ros.vocabulary.canonical import canonical_name
from activesam_ros.vocabulary.files import to_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from activesam_ros.model.compiling import Compiler
    from activesam_ros.model.vision_encoder import ImageFeatures
    from activesam_ros.prompts.text_encoder import Residence
    from activesam_ros.stages.motion import KeyFrame
    from activesam_ros.stages.preview import Heads
    from activesam_ros.vocabulary import Vocabulary

__all__ = [
    "ActiveClass",
    "ActiveSegmenter",
    "EncodedImage",
    "KeptImage",
    "PreviewResult",
    "SegmentationResult",
    "SegmenterSettings",
    "Stream",
    "StreamMemory",
]

logger = logging.getLogger(__name__)

_LARGEST_SECONDS = 1e11
"""A larger time stamp, of a year after 5000, must be in nanoseconds or milliseconds."""

_IMAGES_TOGETHER = 8
"""Number of images of a list whose features are in memory at once."""


class ActiveSegmenter:
    """Open-vocabulary semantic segmentation with SAM 3 (ActiveSAM, arXiv 2606.16996).

    Calling it labels one image, or a list of images a few at a time. `stream` labels a video, reusing what is
    known from the frames before. Where memory runs out, images and prompts are processed in smaller batches, with the
    same results.

    One thread may label images while another sets vocabularies; a new one takes effect with the next image.

    Example:
        >>> model = ActiveSegmenter.from_pretrained("facebook/sam3", device="cuda")
        >>> model.set_vocabulary(["road", "car, automobile", "sky"])
        >>> result = model("street.jpg")
        >>> result.labels, result.confidence, result.class_names
        >>> result.plot().save("overlay.png")
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
        cuda_graphs: bool = False,
    ) -> None:
        """Create a segmenter from a loaded model; `from_pretrained` loads one.

        Args:
            checkpoint: the loaded model.
            settings: None: the defaults.
            hypernyms: canonical name → hypernym phrases; None: WordNet, or the shipped table.
            text_encoder: what happens to the text encoder after it has encoded new prompts: "keep" it on the
                device, "offload" it to host memory, or "release" it.
            prompt_cache: folder of the embeddings of known prompts; "default": `prompts` in this program's cache
                folder; None: they are kept in memory only.
            plain: use transformers' own modules, the reference, which share nothing among prompts: the same labels
                for more computation.
            compiler: compiles the model's large parts, see `torch_compiler`; None: they are not compiled.
            cuda_graphs: replay these parts as CUDA graphs; without a GPU it has no effect.

        Raises:
            SettingsError: a resolution does not fit the model, or `text_encoder` is none of the three.
        """
        self._checkpoint = checkpoint
        if cuda_graphs and checkpoint.device.type == "cuda":
            compiler = graph_compiler(compiler)
        elif cuda_graphs:
            logger.info("CUDA graphs need a GPU; the model runs on %s without them", checkpoint.device)
        self._compiler = compiler
        self._heads = _heads(checkpoint, plain, compiler)
        self._encoders: dict[tuple[str, int], VisionEncoder] = {}
        self._configure(settings or SegmenterSettings())
        self._prompt_batch = AdaptiveBatchSize("prompt")
        self._image_batch = AdaptiveBatchSize("image")
        self._text = TextEncoder(
            checkpoint,
            checkpoint.model.text_projection,
            checkpoint.device,
            text_encoder,
            prompt_folder(prompt_cache),
        )
        self._hypernyms = hypernyms
        self._prompts: PromptSet | None = None

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
        cuda_graphs: bool = False,
    ) -> ActiveSegmenter:
        """Load a model; see `load_checkpoint` for `model`, `device` and `dtype`, and the constructor for the rest.

        Raises:
            ModelError: the model cannot be loaded.
            SettingsError: as the constructor.
        """
        checkpoint = load_checkpoint(model, device, dtype)
        return cls(checkpoint, settings, hypernyms, text_encoder, prompt_cache, plain, compiler, cuda_graphs)

    def set_vocabulary(
        self, vocabulary: Vocabulary | Sequence[str] | str | Path, background: str | None = None
    ) -> None:
        """Encode a vocabulary and use it from the next image on.

        Args:
            vocabulary: a list of classes, commas between the aliases of each (`["road", "car, automobile"]`); the
                path of a vocabulary file or the name of a preset; classes in one text with semicolons between them
                ("road; car, automobile"); or a `Vocabulary`. Of a file, classes and background are used, but not
                its background threshold, which is one of the settings.
            background: with a list or text, the class that pixels without a clear winner become; None: they stay
                unlabelled.

        Raises:
            VocabularyError: the vocabulary is empty, ambiguous, too long for the model, or cannot be read.
            ModelError: the text encoder cannot be loaded.
            OutOfMemoryError: there is not enough memory.
        """
        self.use(self.encode(to_vocabulary(vocabulary, background)))

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary in use; None before the first."""
        return self._prompts.vocabulary if self._prompts else None

    @overload
    def __call__(self, images: ImageInput, instances: bool = True) -> SegmentationResult: ...
    @overload
    def __call__(self, images: Sequence[ImageInput], instances: bool = True) -> list[SegmentationResult]: ...
    def __call__(
        self, images: ImageInput | Sequence[ImageInput], instances: bool = True
    ) -> SegmentationResult | list[SegmentationResult]:
        """Label an image, or each image of a list, a few of which go through the vision encoder together.

        Memory for features does not grow with the list. A new vocabulary takes effect with the next few images.

        Args:
            images: a file name, a Pillow image, a uint8 array [H, W, 3] or a uint8 tensor [3, H, W], RGB, see
                `to_rgb`; or a list or tuple of these, of any sizes.
            instances: whether the results tell instances, too; the labels are the same.

        Returns:
            The result, or a list of results in the order of the images.

        Raises:
            ImageError, VocabularyError, ModelError, OutOfMemoryError: as `segment`, for any of the images.
        """
        if not isinstance(images, list | tuple):
            return self.segment(images, instances=instances)
        results: list[SegmentationResult] = []
        for begin in range(0, len(images), _IMAGES_TOGETHER):
            results += self._segment_together(images[begin : begin + _IMAGES_TOGETHER], instances)
        return results

    def _segment_together(self, images: Sequence[ImageInput], instances: bool) -> list[SegmentationResult]:
        """Label images in one batch, of whose features nothing remains."""
        return [self.decode(encoded, instances) for encoded in self.encode_images(images)]

    def segment(
        self, rgb: ImageInput, memory: StreamMemory | None = None, instances: bool = True
    ) -> SegmentationResult:
        """Label an image.

        Args:
            rgb: as for calling the segmenter.
            memory: of the stream whose next frame it is; None: a single image. `stream` handles this by itself.
            instances: whether the result tells instances, too.

        Raises:
            ImageError: the image is unreadable, of another type or shape, empty, or has more than `max_pixels` pixels.
            VocabularyError: no vocabulary is set.
            ModelError: the model gave numbers that are not finite.
            OutOfMemoryError: not even one prompt at a time fits into memory.
        """
        return self.decode(self.encode_images([rgb], [memory])[0], instances)

    def stream(self, profile: str = "realtime", **settings: Any) -> Stream:
        """Open a stream, such as a video, whose frames are labelled in the light of those before.

        The stream has settings of its own: those of this segmenter, with those of the profile on top, and with the
        given ones on top of these. It follows the vocabulary of this segmenter.

        Args:
            profile: a name of `PROFILES`.
            settings: values by the names of the fields of `SegmenterSettings`, which win over the profile.

        Raises:
            SettingsError: the profile or a setting is unknown, or a value is out of range.
        """
        own = {name: value for name, value in asdict(self.settings).items() if name not in GOVERNED}
        return Stream(self, settings_for(profile, {**own, **settings}))

    # The two stages, for programs that pipeline them.

    def encode_images(
        self, images: Sequence[ImageInput], memories: Sequence[StreamMemory | None] | None = None
    ) -> list[EncodedImage]:
        """Run the first stage: score the presence of prompts, select the active sets, and encode the images.

        All images go through both passes of the vision encoder together; prompts are scored image by image. `decode`
        labels with the vocabulary that is in use now.

        Args:
            images: as for calling the segmenter, of any sizes.
            memories: for each image that of its stream, or None; None: they are single images. A memory learns of an
                image when it is decoded.

        Raises:
            ImageError, VocabularyError, ModelError, OutOfMemoryError: as `segment`, for any of the images.
            SettingsError: two images have the same memory.
        """
        pixels, prompts = self._checked(images)
        timer = StageTimer(self._checkpoint.device)
        memories = memories or [None] * len(pixels)
        require_distinct(memories)
        texts, settings = prompts.vocabulary.prompts, self.settings
        single = FramePlan(single_image_schedule(len(texts), settings), texts, settings)
        frames = [
            (rgb, self._plan(rgb, memory, prompts) if memory else single)
            for rgb, memory in zip(pixels, memories, strict=True)
        ]
        with torch.inference_mode():
            encoded = self._image_batch.map(frames, lambda batch: self._encode(batch, prompts, timer))
        timer.stop()
        return [
            replace(one, together=len(frames), name=image_name(image))
            for one, image in zip(encoded, images, strict=True)
        ]

    def keep(self, image: ImageInput) -> KeptImage:
        """Take an image whose features stay once they are made, for `encode_kept`.

        Raises:
            ImageError: as `segment`.
        """
        return KeptImage(to_rgb(image, self.settings.max_pixels), image_name(image))

    def encode_kept(
        self, kept: KeptImage, prompts: PromptSet | None = None, only: Sequence[int] | None = None
    ) -> EncodedImage:
        """Run the first stage on a kept image: the vision encoder runs only where its features are not kept yet.

        So vocabularies and settings can be tried one after the other on one image, for the work of the prompts alone;
        and of these the preview scores only those that it has not scored on this image yet. The labels are those of
        `encode_images`, up to the rounding of sums in another order.

        Args:
            kept: of `keep`.
            prompts: the vocabulary to ask for; None: the one in use.
            only: indices of the prompts to score and to decode; None: those that the settings select.

        Raises:
            VocabularyError, ModelError, OutOfMemoryError: as `segment`.
        """
        prompts = prompts or self._prompts
        if prompts is None:
            raise VocabularyError("no vocabulary is set; call set_vocabulary before the first image")
        texts, settings = prompts.vocabulary.prompts, self.settings
        timer = StageTimer(self._checkpoint.device)
        plan = FramePlan(single_image_schedule(len(texts), settings), texts, settings)
        asked = plan.schedule.prompts if only is None else tuple(only)
        presence: np.ndarray | None = None
        maps: tuple[PooledMap, ...] = ()
        with torch.inference_mode():
            full = self._kept_features(kept, self._full, True, timer)
            if asked and settings.preview_source == "features":
                with timer.timed("preview"):
                    presence, maps = self._pooled_presence(full.shared, full.prepared, prompts, asked)
            elif asked:
                preview = self._kept_features(kept, self._preview, False, timer)
                with timer.timed("preview"):
                    presence = self._kept_presence(preview, prompts, asked)
        selected, active = plan.active_set(presence) if only is None else (asked, asked)
        timer.stop()
        return EncodedImage(
            full.prepared,
            kept.image,
            prompts,
            plan,
            presence,
            active,
            selected,
            timer,
            preview_maps=maps,
            name=kept.name,
        )

    def _kept_presence(self, preview: KeptFeatures, prompts: PromptSet, asked: Sequence[int]) -> np.ndarray:
        """Return presence as `_presence` does; without context tokens it depends on nothing but the prompt."""
        known = preview.presence
        new = [index for index in asked if prompts.canonical[index] not in known]
        if new:
            scores = self._presence(preview.prepared, prompts, new)
            known.update((prompts.canonical[index], float(scores[index])) for index in new)
        presence = np.full(len(prompts), np.nan, np.float32)
        presence[list(asked)] = [known[prompts.canonical[index]] for index in asked]
        return presence

    def _kept_features(
        self, kept: KeptImage, encoder: VisionEncoder, masks: bool, timer: StageTimer
    ) -> KeptFeatures:
        """Return the features of an image by an encoder; only those of the encoders in use stay."""
        found = kept.features.get(encoder)
        if found is None:
            with timer.timed("prepare"):
                pixels = encoder.prepare(kept.image)
            with timer.timed("encode" if masks else "preview"):
                shared = self._image_batch.run(1, lambda _: encoder.encode(pixels))
                found = KeptFeatures(shared, self._heads.prepare(shared, masks=masks))
            in_use = (self._full, self._preview)
            kept.features = {one: known for one, known in kept.features.items() if one in in_use}
            kept.features[encoder] = found
        return found

    def decode(
        self, encoded: EncodedImage, instances: bool = True, score_maps: bool = False
    ) -> SegmentationResult:
        """Run the second stage: decode the active set of an image, fuse, calibrate and label.

        Args:
            encoded: as `encode_images` gives it.
            instances: whether the result tells instances, too.
            score_maps: whether the result holds the score of every decoded class.

        Raises:
            ModelError, OutOfMemoryError: as `segment`.
        """
        timer = StageTimer(self._checkpoint.device)
        key = encoded.plan.key
        if key is not None:
            if not score_maps and (not instances or key.result.instances is not None):
                return self._move(encoded, key, instances, timer)
            frame = encoded.image, encoded.plan.encoded()
            with torch.inference_mode():
                (anew,) = self._image_batch.map(
                    [frame], lambda one: self._encode(one, encoded.prompts, timer)
                )
            encoded = replace(anew, timer=encoded.timer, together=encoded.together, name=encoded.name)
        with torch.inference_mode():
            result = self._prompt_batch.run(
                self.settings.bucket_size,
                lambda size: self._decode(encoded, size, timer, instances, score_maps),
            )
        self._prompt_batch.image_done()
        decoded = dict(zip(result.active_prompts, result.prompt_presence or (), strict=True))
        encoded.plan.keep(encoded.preview, encoded.selected, decoded)
        found = result.instances
        if found is None:
            encoded.plan.identify((), result.vocabulary)
        elif encoded.plan.keeps_ids:
            with timer.timed("associate"):
                found = encoded.plan.identify(found, result.vocabulary)
        encoded.plan.keep_key(replace(result, instances=found), encoded.image)
        return replace(result, instances=found, timings=add_timings(encoded.timings, timer.seconds()))

    def _plan(self, rgb: np.ndarray, memory: StreamMemory, prompts: PromptSet) -> FramePlan:
        """Plan the next frame of a stream; labels move only where they mean the same."""
        plan = memory.plan(rgb, prompts.vocabulary.prompts, self.settings)
        same = plan.key is None or plan.key.result.vocabulary == prompts.vocabulary
        return plan if same else plan.encoded()

    def _move(
        self, encoded: EncodedImage, key: KeyFrame, instances: bool, timer: StageTimer
    ) -> SegmentationResult:
        """Second stage of a frame to which the labels of an earlier one move."""
        plan = encoded.plan
        with timer.timed("move"):
            result = key.moved(encoded.image, instances)
        plan.keep_moved()
        if result.instances is not None and plan.keeps_ids:
            with timer.timed("associate"):
                plan.carry(result.instances)
        timings = add_timings(encoded.timings, timer.seconds())
        return replace(result, timings=timings, name=encoded.name)

    def preview(self, images: Sequence[ImageInput]) -> list[PreviewResult]:
        """Run the presence preview alone, for any size of vocabulary.

        Args:
            images: as for calling the segmenter, of any sizes.

        Raises:
            ImageError, VocabularyError, ModelError, OutOfMemoryError: as `segment`, for any of the images.
        """
        pixels, prompts = self._checked(images)
        timer = StageTimer(self._checkpoint.device)
        score = self._score_features if self.settings.preview_source == "features" else self._score_images
        with torch.inference_mode():
            scored = self._image_batch.map(pixels, lambda batch: score(batch, prompts, timer))
        timings = timer.seconds(max(len(pixels), 1))
        plan = self._first_plan(prompts)
        results = []
        for presence, maps in scored:
            active, _ = plan.active_set(presence)
            classes = active_classes(
                prompts.vocabulary,
                {prompt: float(presence[prompt]) for prompt in active},
                presence,
                pixels=None,
            )
            results.append(PreviewResult(presence, active, classes, timings, prompts.vocabulary, maps))
            self._prompt_batch.image_done()
        return results

    def _encode(
        self, frames: Sequence[tuple[np.ndarray, FramePlan]], prompts: PromptSet, timer: StageTimer
    ) -> list[EncodedImage]:
        """First stage: preview, features at full resolution, and the active set of each image, unless labels move."""
        still = [(rgb, plan) for rgb, plan in frames if plan.key is None]
        encoded = iter(self._encode_still(still, prompts, timer) if still else ())
        return [
            next(encoded)
            if plan.key is None
            else EncodedImage(None, rgb, prompts, plan, None, plan.key.result.active_prompts, (), timer)
            for rgb, plan in frames
        ]

    def _encode_still(
        self, frames: Sequence[tuple[np.ndarray, FramePlan]], prompts: PromptSet, timer: StageTimer
    ) -> list[EncodedImage]:
        pooled = self.settings.preview_source == "features"
        previewed = [
            (rgb, plan.schedule.prompts)
            for rgb, plan in frames
            if not pooled and plan.schedule.mode in ("full", "sweep")
        ]
        # The host waits for these when it has told the device what comes next.
        previews = iter(self._preview_presence(previewed, prompts, timer))
        with timer.timed("prepare"):
            pixels = self._full.prepare_all([rgb for rgb, _ in frames])
        with timer.timed("encode"):
            features = self._full.encode(pixels).split()
            prepared = [self._heads.prepare(image, masks=True) for image in features]
            # The finer maps have become a part of what was prepared, and would only fill memory.
            features = [replace(image, levels=image.levels[-1:]) for image in features]
        encoded = []
        for shared, image, (rgb, plan) in zip(features, prepared, frames, strict=True):
            presence: np.ndarray | None = None
            maps: tuple[PooledMap, ...] = ()
            if plan.schedule.mode == "none":
                pass
            elif pooled:
                with timer.timed("preview"):
                    presence, maps = self._pooled_presence(shared, image, prompts, plan.schedule.prompts)
            elif plan.schedule.mode == "share":
                with timer.timed("preview"):
                    presence = self._presence(image, prompts, plan.schedule.prompts)
            else:
                with timer.timed("preview"):
                    presence = next(previews)()
            selected, active = plan.active_set(presence)
            encoded.append(
                EncodedImage(image, rgb, prompts, plan, presence, active, selected, timer, preview_maps=maps)
            )
        return encoded

    def _pooled_presence(
        self, shared: ImageFeatures, image: Any, prompts: PromptSet, indices: Sequence[int]
    ) -> tuple[np.ndarray, tuple[PooledMap, ...]]:
        """Score prompts on a coarse map of an image's features, and uncertain ones again on a finer map.

        A GPU scores the most doubtful ones again before the host has read which they are, and the host reads both
        scores at once; only if more are uncertain it waits for those, too. Those that are not keep their first score.

        Args:
            shared: features of the image at full resolution.
            image: the same, prepared by the heads; None: they are prepared where they are needed.
            prompts: the vocabulary's.
            indices: of the prompts to score.

        Returns:
            Presence as `_presence`, and the maps as in `SegmentationResult.preview_maps`.
        """
        side = shared.levels[-1].shape[-1]
        coarse, fine = map_sides(side, len(indices), self.settings)

        def at(cells: int) -> Any:
            if image is not None and cells == side:
                return image
            features = shared if cells == side else self._full.pooled(shared, cells)
            return self._heads.prepare(features, masks=False)

        scores = self._scores(at(coarse), prompts, indices)
        maps = (PooledMap(coarse, side, len(indices)),)
        if fine == coarse:
            return self._spread(HostCopies(scores).wait()[0], prompts, indices), maps
        device = self._checkpoint.device
        ahead = scored_ahead(len(indices), len(prompts), self.settings, device)
        finer = at(fine) if ahead else None
        copies = [scores]
        if ahead:
            chosen = upload(indices, device).index_select(0, most_doubtful(scores, ahead, self.settings))
            copies += [self._scores(finer, prompts, chosen), chosen]
        first, *rest = HostCopies(*copies).wait()
        presence = self._spread(first, prompts, indices)
        known = self._spread(rest[0], prompts, rest[1]) if ahead else np.full_like(presence, np.nan)
        again = list(uncertain_prompts(presence, indices, self.settings))
        left = [prompt for prompt in again if np.isnan(known[prompt])]
        if left:
            known[left] = self._presence(at(fine) if finer is None else finer, prompts, left)[left]
        presence[again] = known[again]
        scored = ahead + len(left)
        return presence, (*maps, PooledMap(fine, side, scored)) if scored else maps

    def _preview_presence(
        self, frames: Sequence[tuple[np.ndarray, Sequence[int]]], prompts: PromptSet, timer: StageTimer
    ) -> list[Callable[[], np.ndarray]]:
        """Score the given prompts of each image at the preview's resolution, see `_score`."""
        if not frames:
            return []
        with timer.timed("prepare"):
            pixels = self._preview.prepare_all([rgb for rgb, _ in frames])
        with timer.timed("preview"):
            features = self._preview.encode(pixels).split()
            return [
                self._score(self._heads.prepare(image, masks=False), prompts, indices)
                for image, (_, indices) in zip(features, frames, strict=True)
            ]

    def _score_images(
        self, images: Sequence[np.ndarray], prompts: PromptSet, timer: StageTimer
    ) -> list[tuple[np.ndarray, tuple[PooledMap, ...]]]:
        """Return the presence of all prompts of each image at the preview's resolution, and no maps."""
        every = range(len(prompts))
        scores = self._preview_presence([(rgb, every) for rgb in images], prompts, timer)
        return [(presence(), ()) for presence in scores]

    def _score_features(
        self, images: Sequence[np.ndarray], prompts: PromptSet, timer: StageTimer
    ) -> list[tuple[np.ndarray, tuple[PooledMap, ...]]]:
        """Return the presence of all prompts of each image on pooled features, and the maps."""
        with timer.timed("prepare"):
            pixels = self._full.prepare_all(images)
        with timer.timed("encode"):
            features = self._full.encode(pixels).split()
        with timer.timed("preview"):
            return [self._pooled_presence(one, None, prompts, range(len(prompts))) for one in features]

    def _presence(self, image: Any, prompts: PromptSet, indices: Sequence[int]) -> np.ndarray:
        """Return the presence of the given prompts, float32 [P], NaN for the others."""
        return self._score(image, prompts, indices)()

    def _score(self, image: Any, prompts: PromptSet, indices: Sequence[int]) -> Callable[[], np.ndarray]:
        """Score the presence of the given prompts; what is returned waits for it and returns it as `_presence`."""
        copies = HostCopies(self._scores(image, prompts, indices))
        return lambda: self._spread(copies.wait()[0], prompts, indices)

    def _scores(self, image: Any, prompts: PromptSet, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Score the presence of the given prompts, float32 [len(indices)] on the device."""
        return self._prompt_batch.run(
            self._together(image), lambda size: score_presence(self._heads, image, prompts, indices, size)
        )

    def _spread(
        self, scores: np.ndarray, prompts: PromptSet, indices: Sequence[int] | np.ndarray
    ) -> np.ndarray:
        """Return the scores of the given prompts at their places, float32 [P], NaN elsewhere."""
        self._checkpoint.require_finite(scores)
        every = np.full(len(prompts), np.nan, np.float32)
        every[list(indices)] = scores
        return every

    def _together(self, image: Any) -> int:
        """Return how many prompts to score together: with as many cells as a bucket has at full resolution.

        On a GPU twice as many, since no masks follow. Compiled functions know the sizes of buckets alone, and the
        reference path runs as published.
        """
        size = self.settings.bucket_size
        if self.compiled or self.plain:
            return size
        full = (self.full_resolution // self._checkpoint.patch_size) ** 2
        if self._checkpoint.device.type != "cpu":
            full *= 2
        return max(1, size * full // self._heads.cells(image))

    def _decode(
        self,
        encoded: EncodedImage,
        bucket_size: int,
        timer: StageTimer,
        instances: bool,
        score_maps: bool = False,
    ) -> SegmentationResult:
        """Second stage: decode the active prompts in buckets, fuse them into class scores, calibrate and label."""
        settings, vocabulary = self.settings, encoded.prompts.vocabulary
        owner = vocabulary.prompt_classes
        presence: dict[int, float] = {}
        counts: list[int] = []
        collector = (
            InstanceCollector(vocabulary, encoded.size, settings.instance_overlap) if instances else None
        )
        maps = ScoreMaps() if score_maps else None
        found = None
        with timer.timed("fuse"):
            fusion = class_fusion(encoded.size, self._checkpoint.device, settings)
            for indices, prompts in decode_prompts(
                self._heads, encoded, bucket_size, settings.confidence_threshold, timer, boxes=instances
            ):
                presence |= zip(indices, prompts.known_presence, strict=True)
                counts += prompts.counts
                fusion.add([owner[index] for index in indices], prompts)
                for index, prompt in zip(indices, prompts.split(), strict=True):
                    if maps is not None:
                        maps.add(owner[index], prompt)
                    if collector is not None:
                        collector.add(index, prompt)
            planes = label_tensors(fusion.finish(), vocabulary, settings)
            held = collector.held_tensors() if collector else ()
            labels, confidence, *copied = HostCopies(*planes, *held).wait(kept=len(planes))
            self._checkpoint.require_finite(confidence)
            labels = labels.astype(vocabulary.label_dtype, copy=False)
            pixels = np.bincount(labels.ravel(), minlength=vocabulary.unlabeled_id + 1)
            if collector is not None:
                found = collector.finish(*copied)
        return SegmentationResult(
            labels=labels,
            unlabeled_id=vocabulary.unlabeled_id,
            confidence=confidence,
            active=active_classes(vocabulary, presence, encoded.preview, pixels),
            preview_presence=encoded.preview,
            active_prompts=encoded.active,
            timings={},
            vocabulary=vocabulary,
            instances=found.instances if found else None,
            instances_without_pixels=found.without_pixels if found else 0,
            instances_beyond_limit=found.beyond_limit if found else 0,
            instance_counts=tuple(counts),
            schedule=encoded.plan.schedule,
            preview_maps=encoded.preview_maps,
            prompt_presence=tuple(presence.values()),
            image=encoded.image,
            name=encoded.name,
            score_maps=maps.finish() if maps else None,
        )

    def _checked(self, images: Sequence[ImageInput]) -> tuple[list[np.ndarray], PromptSet]:
        pixels = [to_rgb(image, self.settings.max_pixels) for image in images]
        prompts = self._prompts
        if prompts is None:
            raise VocabularyError("no vocabulary is set; call set_vocabulary before the first image")
        return pixels, prompts

    def _first_plan(self, prompts: PromptSet) -> FramePlan:
        texts = prompts.vocabulary.prompts
        return FramePlan(first_frame_schedule(len(texts), self.settings), texts, self.settings)

    # Vocabularies and settings, for programs that prepare them while images are labelled.

    @property
    def prompts(self) -> PromptSet | None:
        """The encoded prompts in use; None before the first vocabulary."""
        return self._prompts

    def check(self, vocabulary: Vocabulary) -> None:
        """Check quickly that the model can read a vocabulary; from any thread.

        Raises:
            VocabularyError: a prompt is longer than the model's context.
        """
        self._text.check_length([canonical_name(prompt) for prompt in vocabulary.prompts])

    def check_settings(self, settings: SegmenterSettings) -> None:
        """Check quickly that the model can serve other settings; from any thread.

        Raises:
            SettingsError: a resolution does not fit the model.
        """
        resolutions(self._checkpoint.image_size, self._checkpoint.patch_size, settings)

    def encode(self, vocabulary: Vocabulary) -> PromptSet:
        """Encode the prompts of a vocabulary without using it yet; may run beside `segment` in another thread.

        The text encoder is loaded only if the prompt cache lacks a prompt.

        Raises:
            VocabularyError: a prompt is longer than the model's context.
            ModelError: the text encoder cannot be loaded.
            OutOfMemoryError: there is not enough memory.
        """
        if self._hypernyms is None:
            self._hypernyms = default_hypernyms()
        try:
            return encode_vocabulary(
                vocabulary,
                self._text,
                self._hypernyms,
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

    def fits(self, prompts: PromptSet) -> bool:
        """Return whether `prompts` were encoded with the numbers of context tokens of these settings."""
        settings = self.settings
        return (prompts.neighbor_tokens, prompts.hypernym_tokens) == (
            settings.neighbor_tokens,
            settings.hypernym_tokens,
        )

    def use(self, prompts: PromptSet) -> None:
        """Use encoded prompts from the next image on; from any thread.

        Raises:
            SettingsError: the prompts were encoded with other settings.
        """
        if not self.fits(prompts):
            raise SettingsError(
                f"the prompts have {prompts.neighbor_tokens} neighbour and {prompts.hypernym_tokens} hypernym tokens; "
                f"expected {self.settings.neighbor_tokens} and {self.settings.hypernym_tokens}, so encode the "
                "vocabulary with this segmenter"
            )
        self._prompts = prompts

    def with_settings(
        self, settings: SegmenterSettings, plain: bool | None = None, follow: bool = True
    ) -> ActiveSegmenter:
        """Return a segmenter with other settings, the same weights and the vocabulary in use.

        The vocabulary is encoded again only if the number of context tokens changes.

        Args:
            settings: the other ones.
            plain: as in the constructor; None: unchanged.
            follow: False: it has no vocabulary yet.

        Raises:
            SettingsError: a resolution does not fit the model.
        """
        other = copy.copy(self)
        if plain is not None and plain != self.plain:
            other._heads = _heads(self._checkpoint, plain, self._compiler)
        other._configure(settings)
        other._prompts = None
        if follow:
            other.follow(self)
        return other

    def follow(self, other: ActiveSegmenter) -> None:
        """Use the vocabulary that another segmenter of the same model uses, encoded as these settings need."""
        prompts = other.prompts
        if prompts is not None and prompts is not self._prompts:
            self.use(prompts if self.fits(prompts) else self.encode(prompts.vocabulary))

    def _configure(self, settings: SegmenterSettings) -> None:
        known = getattr(self, "settings", SegmenterSettings()).preview_resolution
        self.settings = settings
        self.full_resolution, self.preview_resolution = resolutions(
            self._checkpoint.image_size, self._checkpoint.patch_size, settings
        )
        if settings.preview_resolution not in (known, self.preview_resolution):
            logger.info(
                "preview_resolution %d is not below the full resolution %d; previewing at %d",
                settings.preview_resolution,
                self.full_resolution,
                self.preview_resolution,
            )
        full: Levels = "all" if self.plain else "masks"
        preview: Levels = "all" if self.plain else "coarse"
        self._full = self._encoder(full, self.full_resolution)
        self._preview = self._encoder(preview, self.preview_resolution)
        # What is compiled for a resolution stays compiled while the other changes.
        self._encoders = {
            (full, self.full_resolution): self._full,
            (preview, self.preview_resolution): self._preview,
        }

    def _encoder(self, levels: Levels, resolution: int) -> VisionEncoder:
        known = self._encoders.get((levels, resolution))
        return known or VisionEncoder(self._checkpoint, resolution, levels, self._compiler)

    def warm_up(self, prompts: PromptSet) -> None:
        """Run every bucket size that images may need, so that compiling does not delay the first of them.

        Args:
            prompts: a vocabulary that is used next.

        Raises:
            ModelError: torch cannot compile the model on this machine, or as `segment`.
            OutOfMemoryError: as `segment`.
        """
        with torch.inference_mode():
            self._image_batch.run(1, lambda _: self._run_every_bucket_size(prompts))

    def _run_every_bucket_size(self, prompts: PromptSet) -> None:
        settings = self.settings
        timer = StageTimer(self._checkpoint.device)
        blank = np.zeros((self.full_resolution, self.full_resolution, 3), np.uint8)
        shared = self._full.encode(self._full.prepare_all([blank]))
        full = self._heads.prepare(shared, masks=True)
        plan = self._first_plan(prompts)
        scored_on = []
        if plan.schedule != EMPTY_SCHEDULE and settings.preview_source == "features":
            side = shared.levels[-1].shape[-1]
            counts = (len(prompts), 1) if settings.reuses_frames else (len(prompts),)
            sides = {cells for count in counts for cells in map_sides(side, count, settings)}
            scored_on += [
                full if cells == side else self._heads.prepare(self._full.pooled(shared, cells), masks=False)
                for cells in sorted(sides)
            ]
        elif plan.schedule != EMPTY_SCHEDULE:
            small = self._preview.encode(self._preview.prepare_all([blank]))
            scored_on.append(self._heads.prepare(small, masks=False))
            if settings.reuses_frames and settings.preview_way == "share":
                scored_on.append(full)
        most = min(len(prompts), settings.bucket_size)
        for size in range(BUCKET_STEP, most + BUCKET_STEP, BUCKET_STEP):
            indices = tuple(range(min(size, most)))
            for image in scored_on:
                self._presence(image, prompts, indices)
            if size - BUCKET_STEP < settings.max_active:
                active = indices[: settings.max_active]
                encoded = EncodedImage(full, blank[:1, :1], prompts, plan, None, active, active, timer)
                self._prompt_batch.run(
                    settings.bucket_size, partial(self._decode, encoded, timer=timer, instances=True)
                )

    # The model and its state, for reports.

    @property
    def checkpoint(self) -> Checkpoint:
        """The model."""
        return self._checkpoint

    @property
    def plain(self) -> bool:
        """Whether transformers' own modules are used, which share nothing among prompts."""
        return isinstance(self._heads, PromptHeads)

    @property
    def preview_description(self) -> str:
        """What presence is scored on, such as "672 px"."""
        settings = self.settings
        if settings.preview_source == "image":
            return f"{self.preview_resolution} px"
        scales = sorted({settings.preview_scale, max(settings.preview_scale, settings.preview_fine_scale)})
        return f"on the same features at {' and '.join(f'{scale:.2g}' for scale in scales)} of their side"

    @property
    def batching_pays(self) -> bool:
        """Whether images take less time together than one after the other; on a CPU the first would only wait."""
        return self._checkpoint.device.type != "cpu"

    @property
    def compiled(self) -> bool:
        """Whether large parts of the model are compiled, so that the first images of each kind take long."""
        return self._compiler is not None and not self.plain

    @property
    def device(self) -> str:
        """Device of the model, such as "cpu" or "cuda:0"."""
        return str(self._checkpoint.device)

    @property
    def dtype(self) -> str:
        """Precision of the model's matrix products, such as "bfloat16"."""
        return self._checkpoint.dtype_name

    @property
    def bucket_size(self) -> int:
        """Number of prompts decoded together: the setting, or less while memory is short."""
        return self._prompt_batch.within(self.settings.bucket_size)

    @property
    def text_encoder_loaded(self) -> bool:
        """Whether the text encoder is in memory."""
        return self._text.loaded

    def device_memory(self) -> DeviceMemory | None:
        """Return the memory of the model's GPU; None on the CPU. From any thread."""
        return device_memory(self._checkpoint.device)


class Stream:
    """Labels the frames of one video, reusing what is known from the frames before (`ActiveSegmenter.stream`).

    It uses the vocabulary that its segmenter uses at each frame; a change scores all prompts again. An instance keeps
    its id while its masks in successive frames overlap, and over `occlusion_frames` in which it is not found. One
    thread uses it.

    Example:
        >>> with model.stream(profile="realtime") as stream:
        ...     for image, seconds in video:
        ...         result = stream(image, stamp=seconds)
    """

    def __init__(self, segmenter: ActiveSegmenter, settings: SegmenterSettings) -> None:
        self._source = segmenter
        self._segmenter: ActiveSegmenter | None = segmenter.with_settings(settings)
        self._memory = StreamMemory(IdCounter())
        self.settings = settings

    def __call__(
        self, image: ImageInput, stamp: float | datetime | None = None, instances: bool = True
    ) -> SegmentationResult:
        """Label the next frame.

        Args:
            image: as for calling the segmenter.
            stamp: when it was taken, in seconds since any fixed time, or a datetime. All prompts are scored again
                if it is before the last frame or more than 5 s after it. None: not known.
            instances: whether the result tells instances, too.

        Raises:
            ImageError: the image is unusable, or the stamp is not such a time.
            VocabularyError, ModelError, OutOfMemoryError: as `ActiveSegmenter.segment`.
            ActiveSamError: the stream is closed.
        """
        if self._segmenter is None:
            raise ActiveSamError("the stream is closed; open another one with ActiveSegmenter.stream()")
        self._memory.at(None if stamp is None else _nanoseconds(stamp))
        self._segmenter.follow(self._source)
        return self._segmenter.segment(image, self._memory, instances)

    def reset(self) -> None:
        """Forget the frames before, so that the next one scores all prompts and all its instances have new ids."""
        self._memory.forget()

    def close(self) -> None:
        """Release what the stream holds; further frames are refused."""
        self._segmenter = None
        self._memory = StreamMemory()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _nanoseconds(stamp: float | datetime) -> int:
    if isinstance(stamp, datetime):
        stamp = stamp.timestamp()
    if isinstance(stamp, bool) or not isinstance(stamp, int | float | np.number) or not isfinite(stamp):
        raise ImageError(f"the stamp is {stamp!r}; expected seconds as a finite number, or a datetime")
    if abs(stamp) > _LARGEST_SECONDS:
        raise ImageError(f"the stamp is {stamp!r}; expected seconds, so divide nanoseconds by 1e9")
    return round(float(stamp) * 1e9)


def _heads(checkpoint: Checkpoint, plain: bool, compiler: Compiler | None) -> Heads:
    return PromptHeads(checkpoint) if plain else FusedPromptHeads(checkpoint, compiler)
