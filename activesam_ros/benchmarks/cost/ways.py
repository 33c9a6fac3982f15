"""The ways to label an image whose work is compared, and what each asks of the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from activesam_ros.evaluation.methods import NO_PREVIEW
from activesam_ros.model.flops import Workload
from activesam_ros.results import PreviewSchedule
from activesam_ros.settings import PROFILES, SegmenterSettings
from activesam_ros.stages.preview import resolutions, select_active
from activesam_ros.stages.temporal_reuse import StreamMemory, single_image_schedule

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Inputs:
    """What is assumed of the images, since the work depends on it.

    Attributes:
        tokens: of every prompt: text, context and the image's class token.
        kept: instance masks of every prompt that is decoded.
        shown: words that a video shows, at least one.
    """

    tokens: int = 10
    kept: int = 20
    shown: int = 11


@dataclass(frozen=True)
class Scale:
    """The sizes that work grows with.

    Attributes:
        words: prompts of the vocabulary.
        image_size: full resolution in pixels; the preview's follows from it as in `resolutions`.
        patch_size: of the model, in pixels.
    """

    words: int
    image_size: int = 1008
    patch_size: int = 14


@dataclass(frozen=True)
class Way:
    """A way to label images.

    Attributes:
        name: in tables.
        description: one sentence.
        plain: whether on the plain path, as published; otherwise on the lean one.
        frames: what is asked of each image over a cycle; the work of an image is their mean.
    """

    name: str
    description: str
    plain: bool
    frames: Callable[[Scale, Inputs], list[Workload]]


def _with(**values: object) -> Callable[[Scale, Inputs], list[Workload]]:
    return lambda scale, inputs: frames(SegmenterSettings(**values), scale, inputs)


def _class_by_class(scale: Scale, inputs: Inputs) -> list[Workload]:
    (whole,) = frames(SegmenterSettings(**NO_PREVIEW), scale, inputs)
    return [replace(whole, encodings=scale.words)]


PAPER = Way("paper", "the profile `paper`: the same labels at less work", False, _with(**PROFILES["paper"]))
WAYS = (
    Way("per-class", "SAM 3 asked class by class, the image encoded anew each time", True, _class_by_class),
    Way("full-vocabulary", "every class decoded at full resolution", True, _with(**NO_PREVIEW)),
    Way("as published", "ActiveSAM as its authors' code runs it", True, _with(**PROFILES["paper"])),
    PAPER,
    Way("realtime", "the profile `realtime` on a video", False, _with(**PROFILES["realtime"])),
)
"""From the most work to the least."""


def frames(settings: SegmenterSettings, scale: Scale, inputs: Inputs) -> list[Workload]:
    """What a segmenter with these settings asks.

    Args:
        settings: those of a profile.
        scale, inputs: of what.

    Returns:
        One image, or on a video the frames of one `preview_period`, some time after its beginning.
    """
    full, preview = resolutions(scale.image_size, scale.patch_size, settings)
    return [
        Workload(
            full_resolution=full,
            preview_resolution=preview,
            previewed=len(schedule.prompts) if schedule.mode in ("full", "sweep") else 0,
            preview_tokens=inputs.tokens,
            decoded=((inputs.tokens, inputs.kept),) * active,
            presence_only=len(schedule.prompts) if schedule.mode == "share" else 0,
        )
        for schedule, active in _played(settings, scale.words, inputs.shown)
    ]


def _played(settings: SegmenterSettings, words: int, shown: int) -> list[tuple[PreviewSchedule, int]]:
    """What is presence_only for, and how many queries are active, if the same words are always seen, and clearly."""
    # Different from each other, so that quantiles are as they are on images.
    presence = np.linspace(0.05, 0.01, words, dtype=np.float32)
    presence[:shown] = np.linspace(0.95, 0.9, min(shown, words))
    if settings.preview_period == 1:
        schedule = single_image_schedule(words, settings)
        return [(schedule, words if schedule.mode == "none" else len(select_active(torch.from_numpy(presence), settings)))]
    memory = StreamMemory()
    image = np.zeros((8, 8, 3), np.uint8)
    queries = tuple(map(str, range(words)))
    played = []
    # A period until the schedules after the first one have spread, and one to count.
    for _ in range(2 * settings.preview_period + 1):
        plan = memory.plan(image, queries, settings)
        asked = np.full(words, np.nan, np.float32)
        asked[list(plan.schedule.prompts)] = presence[list(plan.schedule.prompts)]
        selected, active = plan.active_set(asked)
        plan.keep(asked, selected, {query: float(presence[query]) for query in active})
        played.append((plan.schedule, len(active)))
    return played[-settings.preview_period :]
