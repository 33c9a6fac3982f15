"""What the segmenter says of one image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from activesam_ros.vocabulary import Vocabulary


PreviewMode = Literal["full", "sweep", "share", "none"]


@dataclass(frozen=True)
class PreviewSchedule:
    """Which prompts are scored for presence before the active set of a frame is known.

    Attributes:
        mode: "full": all, at the preview's resolution; "sweep": all inactive ones, at the preview's resolution;
            "share": some inactive ones, on the frame's features at full resolution; "none".
        prompts: their indices, ascending.
    """

    mode: PreviewMode
    prompts: tuple[int, ...] = ()


EMPTY_SCHEDULE = PreviewSchedule("none")


@dataclass(frozen=True)
class ActiveClass:
    """A class of the active set: one that is decoded at full resolution.

    Attributes:
        class_id: its id in the vocabulary.
        name: its display name.
        presence: probability in [0, 1] that the image shows it, at full resolution, or from the preview where there
            is no more; maximum over its active prompts.
        preview_presence: the same of those of its prompts that were asked before decoding; None if none was.
        pixels: number of pixels labelled with it; None where nothing was decoded.
    """

    class_id: int
    name: str
    presence: float
    preview_presence: float | None
    pixels: int | None


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """The labels of one image.

    Attributes:
        labels: class ids, uint8 or uint16 [H, W]; `unlabeled_id` where no class won.
        unlabeled_id: 255 in uint8, 65535 in uint16 labels.
        confidence: float32 [H, W] in [0, 1], the fused score of the published class; 0 where the calibration
            took the pixel.
        active: the decoded classes, in vocabulary order.
        preview_presence: float32 [queries], presence of every query in the preview, NaN for those that were not asked
            in this frame (see `schedule`); None if none was.
        active_prompts: indices of the decoded queries, ascending.
        timings: seconds per stage ("prepare", "preview", "encode", "decode", "fuse") and "total".
        vocabulary: the vocabulary that the labels belong to.
        instances: number of instance masks that each active query kept; None where nobody counted.
        schedule: what was asked before the active set was known: all, some, or none; None where nobody says.
        prompt_presence: presence of each active query at full resolution; None where nobody says.
    """

    labels: np.ndarray
    unlabeled_id: int
    confidence: np.ndarray
    active: tuple[ActiveClass, ...]
    preview_presence: np.ndarray | None
    active_prompts: tuple[int, ...]
    timings: Mapping[str, float]
    vocabulary: Vocabulary
    instances: tuple[int, ...] | None = None
    schedule: PreviewSchedule | None = None
    prompt_presence: tuple[float, ...] | None = None

    @property
    def active_queries(self) -> tuple[int, ...]:
        """Former name of `active_prompts`."""
        return self.active_prompts

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of the vocabulary, in its order."""
        return tuple(one.name for one in self.vocabulary.classes)


@dataclass(frozen=True, eq=False)
class PreviewResult:
    """What the preview alone says of one image.

    Attributes:
        preview_presence: float32 [queries], presence of every query.
        active_prompts: indices of the queries that would be decoded, ascending: those that the preview selects, or
            all where the vocabulary is small enough to be decoded whole.
        active: their classes, in vocabulary order, without pixels.
        timings: seconds per stage ("prepare", "preview") and "total".
        vocabulary: the vocabulary that was asked.
    """

    preview_presence: np.ndarray
    active_prompts: tuple[int, ...]
    active: tuple[ActiveClass, ...]
    timings: Mapping[str, float]
    vocabulary: Vocabulary

    @property
    def active_queries(self) -> tuple[int, ...]:
        """Former name of `active_prompts`."""
        return self.active_prompts


def active_classes(
    vocabulary: Vocabulary,
    presence: Mapping[int, float],
    preview: Sequence[float] | np.ndarray | None,
    pixels: np.ndarray | None,
) -> tuple[ActiveClass, ...]:
    """The classes of the active queries, in vocabulary order.

    Args:
        vocabulary: whose queries they are.
        presence: of each active query, in ascending order of the queries.
        preview: presence of every query in the preview, NaN for those not asked; None if it was skipped.
        pixels: number of pixels of each class id; None: nothing was decoded.
    """
    owner = vocabulary.prompt_classes
    queries_of: dict[int, list[int]] = {}
    for query in presence:
        queries_of.setdefault(owner[query], []).append(query)
    found = []
    for index, queries in queries_of.items():
        entry = vocabulary.classes[index]
        found.append(
            ActiveClass(
                class_id=entry.class_id,
                name=entry.name,
                presence=max(presence[query] for query in queries),
                preview_presence=_highest(preview, queries),
                pixels=None if pixels is None else int(pixels[entry.class_id]),
            )
        )
    return tuple(found)


def _highest(preview: Sequence[float] | np.ndarray | None, queries: Sequence[int]) -> float | None:
    asked = [float(preview[query]) for query in queries] if preview is not None else []
    return max((value for value in asked if not math.isnan(value)), default=None)
