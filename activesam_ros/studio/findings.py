"""What there is to say about each class of a labelled picture: how present, how much of it, and why not decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from activesam_ros.results import SegmentationResult
    from activesam_ros.settings import SegmenterSettings
    from activesam_ros.studio.document import Document


@dataclass(frozen=True)
class ClassFindings:
    """One class in one picture.

    Attributes:
        class_id: of the class.
        presence: what the active set is chosen by, of its most present prompt; at full resolution where all prompts
            are decoded; None: not known.
        share: of the picture's pixels, 0 to 1.
        active: whether it was decoded.
        reason: why it was not; empty if it was.
    """

    class_id: int
    presence: float | None
    share: float
    active: bool
    reason: str


def class_findings(document: Document, result: SegmentationResult) -> tuple[ClassFindings, ...]:
    """Return the findings of all classes in the order of the vocabulary."""
    vocabulary = document.vocabulary
    pixels = np.bincount(result.labels.ravel(), minlength=result.unlabeled_id + 1)
    known = dict(zip(result.active_prompts, result.prompt_presence or (), strict=True))
    if result.preview_presence is not None:
        known |= {
            index: float(value)
            for index, value in enumerate(result.preview_presence)
            if not math.isnan(value)
        }
    decoded = {one.class_id: one.presence for one in result.active}
    limits = selection_limits(result, document.configuration.settings)
    findings = []
    first = 0
    for one in vocabulary.classes:
        prompts = range(first, first + len(one.prompts))
        first += len(one.prompts)
        presence = max((known[prompt] for prompt in prompts if prompt in known), default=None)
        presence = decoded.get(one.class_id) if presence is None else presence
        active = one.class_id in decoded
        reason = "" if active or presence is None else _why_not(presence, limits, document)
        share = float(pixels[one.class_id]) / result.labels.size
        findings.append(ClassFindings(one.class_id, presence, share, active, reason))
    return tuple(findings)


@dataclass(frozen=True)
class Limits:
    """What presence has to reach for a prompt to be decoded.

    Attributes:
        floor: the setting `presence_floor`.
        kept: the presence from which on `keep_fraction` keeps prompts; 0: all are kept.
        cap: the least presence that was decoded; 0: nothing was left out.
    """

    floor: float
    kept: float
    cap: float


def selection_limits(result: SegmentationResult, settings: SegmenterSettings) -> Limits:
    """Return what presence had to reach in a picture."""
    scored = result.preview_presence
    if scored is None or len(result.active_prompts) == len(scored):
        return Limits(settings.presence_floor, 0.0, 0.0)
    kept = 0.0
    if len(scored) > settings.max_active:
        kept = float(np.nanquantile(scored, 1 - settings.keep_fraction))
    cap = float(np.nanmin(scored[list(result.active_prompts)]))
    return Limits(settings.presence_floor, kept, cap)


def _why_not(presence: float, limits: Limits, document: Document) -> str:
    settings = document.configuration.settings
    if presence < limits.floor:
        return f"presence {presence:.2f} is below presence_floor, {limits.floor:g}"
    if presence < limits.kept:
        return (
            f"presence {presence:.2f} is not among the highest {settings.keep_fraction:.0%} (keep_fraction), "
            f"which begin at {limits.kept:.2f}"
        )
    return f"presence {presence:.2f} is below that of the {settings.max_active} prompts of max_active"


@dataclass(frozen=True)
class PixelFindings:
    """What a pixel is: its label, class and score, and the best other class; None: no class."""

    label: int
    name: str | None
    score: float
    runner_up: str | None
    runner_up_score: float


@dataclass(frozen=True, eq=False)
class Rivals:
    """The best other class of every pixel, where the result has no score maps.

    Attributes:
        names: by their index.
        labels: integers [H, W], indices of the names; others: no class.
        scores: uint8 [H, W], 255 is certain.
        refused: why there is no answer; the rest is empty.
    """

    names: tuple[str, ...] = ()
    labels: np.ndarray = field(default_factory=lambda: np.zeros((1, 1), np.uint8))
    scores: np.ndarray = field(default_factory=lambda: np.zeros((1, 1), np.uint8))
    refused: str = ""

    def at(self, x: float, y: float) -> tuple[str | None, float]:
        """Return name and score at a place, see `at_pixel`; None: no class."""
        height, width = self.labels.shape
        row, column = _cell(y, height), _cell(x, width)
        label = int(self.labels[row, column])
        return (self.names[label] if label < len(self.names) else None), float(self.scores[row, column]) / 255


def at_pixel(
    document: Document, result: SegmentationResult, x: float, y: float, rivals: Rivals | None = None
) -> PixelFindings:
    """Return what is at a place; x and y are shares of the picture's width and height, 0 to 1.

    The class is that of the label image; scores are those of the masks' cell there, or where the result has no score
    maps, the confidence, and those of the rivals, if they are known.
    """
    height, width = result.labels.shape
    row, column = _cell(y, height), _cell(x, width)
    label = int(result.labels[row, column])
    names = {one.class_id: one.name for one in document.vocabulary.classes}
    scores = {label: float(result.confidence[row, column])} if result.score_maps is None else {}
    if result.score_maps is not None and len(result.score_maps):
        _, rows, columns = result.score_maps.shape
        values = result.score_maps[:, _cell(y, rows), _cell(x, columns)]
        scores = {one.class_id: float(value) for one, value in zip(result.active, values, strict=True)}
    others = sorted(((score, number) for number, score in scores.items() if number != label), reverse=True)
    second, runner_up = others[0] if others else (0.0, -1)
    other = names.get(runner_up)
    if rivals is not None and result.score_maps is None:
        other, second = rivals.at(x, y)
    return PixelFindings(label, names.get(label), scores.get(label, 0.0), other, second)


def _cell(share: float, count: int) -> int:
    return max(0, min(count - 1, int(share * count)))
