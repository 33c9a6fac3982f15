"""The methods that an evaluation compares, over the same weights and words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.flops import PathWork, asked_by
from activesam_ros.evaluation.per_class import BARE, PerClassSegmenter
from activesam_ros.settings import BOUNDS, PROFILES, SegmenterSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np

    from activesam_ros.model.flops import FrameFlops, Workload
    from activesam_ros.results import SegmentationResult
    from activesam_ros.segmenter import ActiveSegmenter
    from activesam_ros.vocabulary import Vocabulary

PUBLISHED_PATH = (
    "As published, the model is asked prompt by prompt: what prompts have in common is done again for each."
)
SINGLE = {"preview_period": 1, "presence_floor": 0.0}
NO_PREVIEW = {"max_active": int(BOUNDS["max_active"].high), **SINGLE}
NO_EXPANSION = {"neighbor_tokens": 0, "hypernym_tokens": 0}
NO_CALIBRATION = {"background_threshold": 0.0}


class Labeller(Protocol):
    """What labels images with one method and one vocabulary.

    Attributes:
        settings: those in force, after the changes that make the method.
    """

    settings: SegmenterSettings

    def segment(self, rgb: np.ndarray) -> SegmentationResult:
        """Labels uint8 [H, W, 3]; raises as `ActiveSegmenter.segment`.

        Where `settings.reuses_frames`, `segment(rgb, memory)` labels the next image of a stream.
        """


@dataclass(frozen=True)
class Method:
    """A way to label images.

    Attributes:
        name: what it is asked for by.
        description: one line, for tables.
        differences: what it does otherwise than `active`, one sentence each.
        settings: from the settings that were given to those that make the method.
        labeller: from a segmenter with those settings and a vocabulary to what labels images.
        asked: from such a labeller and a result of it to what the model was asked.
        plain: whether it calls transformers' own modules for every prompt, as published; the others share what
            prompts have in common, with the same labels.
    """

    name: str
    description: str
    differences: tuple[str, ...]
    settings: Callable[[SegmenterSettings], SegmenterSettings]
    labeller: Callable[[ActiveSegmenter], Labeller] = lambda segmenter: segmenter
    asked: Callable[[Labeller, SegmentationResult], Workload] = asked_by
    plain: bool = False

    @property
    def path(self) -> str:
        """How the model is asked, and so what its work is counted on: "plain", see above, or "lean"."""
        return "plain" if self.plain else "lean"


def _changed(**values: object) -> Callable[[SegmenterSettings], SegmenterSettings]:
    return lambda given: replace(given, **values)


def _published(given: SegmenterSettings) -> SegmenterSettings:
    return SegmenterSettings(
        bucket_size=given.bucket_size,
        max_pixels=given.max_pixels,
        background_threshold=given.background_threshold,
    )


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("active", "ActiveSAM with the settings given", (), _changed()),
            Method(
                "paper",
                "ActiveSAM with the published settings",
                (
                    "Every setting that labels depend on is the published one, whatever was given, but for "
                    "background_threshold, which the paper sets for each data set, as our presets do.",
                ),
                _published,
            ),
            Method(
                "realtime",
                "ActiveSAM with the profile for streams: what the last frame tells is not asked again",
                (
                    "Not every class is looked for in every frame, and what is not present enough is not decoded: the "
                    "settings of the profile realtime, whatever was given for them.",
                ),
                _changed(**PROFILES["realtime"]),
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
                _changed(full_resolution=None, **NO_PREVIEW, **NO_EXPANSION, **NO_CALIBRATION),
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
                _changed(full_resolution=None, **BARE, **SINGLE),
                PerClassSegmenter,
                PerClassSegmenter.asked,
                plain=True,
            ),
            Method(
                "no-expansion",
                "ActiveSAM without context tokens",
                ("Neighbour and hypernym tokens are left out.",),
                _changed(**NO_EXPANSION),
            ),
            Method(
                "no-preview",
                "ActiveSAM without the preview",
                ("Every prompt is decoded.",),
                _changed(**NO_PREVIEW),
            ),
            Method(
                "no-calibration",
                "ActiveSAM without background calibration",
                ("Every pixel gets its best class.",),
                _changed(**NO_CALIBRATION),
            ),
        )
    }
)
"""Every method by its name."""


def known_methods(names: Iterable[str]) -> list[Method]:
    """The methods of these names, in order.

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


def build(name: str, segmenter: ActiveSegmenter, vocabulary: Vocabulary) -> Labeller:
    """A method over the weights of `segmenter`, which stays as it is.

    Args:
        name: of the method.
        segmenter: gives the weights, the hypernyms, the prompt cache and the settings.
        vocabulary: what to label with.

    Raises:
        EvaluationError: there is no such method.
        SettingsError, VocabularyError, ModelError, OutOfMemoryError: as `ActiveSegmenter.with_settings` and
            `set_vocabulary`.
    """
    (method,) = known_methods([name])
    other = segmenter.with_settings(method.settings(segmenter.settings), method.plain)
    if other.vocabulary != vocabulary:
        other.set_vocabulary(vocabulary)
    return method.labeller(other)


def frame_work(name: str, labeller: Labeller, result: SegmentationResult, work: PathWork) -> FrameFlops:
    """The counted work of one image.

    Args:
        name: of the method.
        labeller: what `build` gave for it.
        result: one of its results.
        work: counts of the model's parts; shared between images and methods, since it remembers them.
    """
    method = METHODS[name]
    return work.of(method.plain).frame(method.asked(labeller, result))
