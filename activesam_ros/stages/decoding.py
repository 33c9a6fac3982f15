"""Decoding of the active prompts at full resolution, bucket by bucket."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from activesam_ros.model.prompt_heads import PromptTokens
from activesam_ros.stages.preview import bucket_slices, prompts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from activesam_ros.model.prompt_heads import DecodedPrompts
    from activesam_ros.model.vision_encoder import ImageFeatures, VisionEncoder
    from activesam_ros.prompts.prompt_set import PromptSet
    from activesam_ros.results import PooledMap
    from activesam_ros.stages.preview import Heads
    from activesam_ros.stages.temporal_reuse import FramePlan
    from activesam_ros.stages.timing import StageTimer


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """An image after the first stage: its features, and the active set to decode.

    Attributes:
        features: features at full resolution; the images of a batch share memory, which is free when all are dropped.
        image: RGB, uint8 [H, W, 3].
        prompts: the prompts in force when it was encoded.
        plan: which prompts were scored, in the light of the frames before.
        preview: presence of the scored prompts, float32 [P], NaN for the others; None: none was scored.
        active: indices of the prompts to decode, ascending.
        selected: those of them that presence selected; the others stay active because of earlier frames.
        preview_maps: see `SegmentationResult`.
        timer: of the batch's stages so far ("prepare", "preview", "encode").
        together: number of images in the batch.
        name: that of the image file without its ending, or "image".
    """

    features: Any
    image: np.ndarray
    prompts: PromptSet
    plan: FramePlan
    preview: np.ndarray | None
    active: tuple[int, ...]
    selected: tuple[int, ...]
    timer: StageTimer
    together: int = 1
    preview_maps: tuple[PooledMap, ...] = ()
    name: str = "image"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        height, width = self.image.shape[:2]
        return height, width

    @property
    def timings(self) -> Mapping[str, float]:
        """Seconds per stage so far and "total", an equal share of the batch's."""
        return self.timer.seconds(self.together)


@dataclass(eq=False)
class KeptImage:
    """An image whose features stay, to be asked for one vocabulary after the other; for one thread.

    Attributes:
        image: RGB, uint8 [H, W, 3].
        name: that of the image file without its ending, or "image".
        features: what each vision encoder has made of the image so far.
    """

    image: np.ndarray
    name: str = "image"
    features: dict[VisionEncoder, KeptFeatures] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class KeptFeatures:
    """Features of an image: as the vision encoder gives them, and as the prompt heads need them.

    Attributes:
        shared: as the encoder gives them.
        prepared: as the prompt heads need them.
        presence: of the canonical prompts that were scored on them so far.
    """

    shared: ImageFeatures
    prepared: Any
    presence: dict[str, float] = field(default_factory=dict)


def decode_prompts(
    heads: Heads,
    encoded: EncodedImage,
    bucket_size: int,
    confidence_threshold: float,
    timer: StageTimer,
    boxes: bool = False,
) -> Iterator[tuple[tuple[int, ...], DecodedPrompts]]:
    """Decode the active prompts with their context tokens, and yield them with their indices, ascending.

    The model's share of the time counts for the stage "decode". `boxes`: with the boxes of the instances.
    """
    prompts, active = encoded.prompts, encoded.active
    context = prompts.context
    with timer.timed("decode"):
        text, text_valid, more, more_valid = prompts_of(
            prompts, active, prompts.text, prompts.text_valid, context.tokens, context.valid
        )
        tokens, valid = torch.cat([text, more], dim=1), torch.cat([text_valid, more_valid], dim=1)
    buckets = (PromptTokens(tokens[part], valid[part]) for part in bucket_slices(len(active), bucket_size))
    decoded = heads.decode(encoded.features, buckets, confidence_threshold, boxes)
    done = 0
    while done < len(active):
        with timer.timed("decode"):
            some = next(decoded)
        yield active[done : done + len(some.counts)], some
        done += len(some.counts)
        # Not held while the next ones are decoded.
        del some
