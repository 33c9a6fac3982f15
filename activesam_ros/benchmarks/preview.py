"""Measure what the ways to preview presence cost in work, found classes and labels, on held-out scenes of Toy Town."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.ticker import FuncFormatter

from activesam_ros.benchmarks.video import FULL, MASKS, TOKENS, workload
from activesam_ros.evaluation.corruptions import corrupt
from activesam_ros.evaluation.metrics import ConfusionMatrix
from activesam_ros.evaluation.report.formatting import markdown_table
from activesam_ros.evaluation.report.plots import MARKERS, SERIES, WARN, figure, styled
from activesam_ros.settings import SegmenterSettings, settings_for
from activesam_ros.stages.preview import select_active
from activesam_ros.toytown import CLASSES, DEMO_CLASSES, FOREIGN
from activesam_ros.toytown.world import held_out_scene
from activesam_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.figure import Figure

    from activesam_ros.model.flops import ModelFlops
    from activesam_ros.results import PreviewResult
    from activesam_ros.segmenter import ActiveSegmenter

WORTH_KEEPING = 0.01
"""Share of the image that a class has to cover for its loss to count."""
CORRUPTIONS = ("gaussian_noise", "motion_blur", "jpeg_compression", "fog")
SEVERITY = 3
PROFILES = ("paper", "fast")
KEPT = (0.05, 0.075, 0.1, 0.15, 0.2, 0.3)
"""Shares of the prompts that the ways of the curve keep."""


def _pooled(scale: float) -> SegmenterSettings:
    return SegmenterSettings(preview_source="features", preview_scale=scale, preview_fine_scale=scale)


WAYS = {
    "image at ⅔, as published": SegmenterSettings(),
    "features, whole": _pooled(1.0),
    "features at ⅔": _pooled(0.6667),
    "features at ½": _pooled(0.5),
    "features at ⅓": _pooled(0.3333),
    "features at ⅓, then ⅔": replace(settings_for("fast", {}), presence_floor=0.0002),
}
"""Ways to preview, which each keep a share of the prompts."""


@dataclass(frozen=True)
class PreviewOptions:
    """What to measure.

    Attributes:
        scenes: number of held-out scenes.
        first: index of the first.
        classes: sizes of the vocabulary; 19, 60 (the demo's), or more: the 19 of Toy Town and foreign ones.
        corruptions: names, beside clean images; at severity 3.
        curve: size of the vocabulary for the trade-off curve; None: it is not measured.
    """

    scenes: int = 200
    first: int = 0
    classes: tuple[int, ...] = (19, 60, 150)
    corruptions: tuple[str, ...] = CORRUPTIONS
    curve: int | None = 150


@dataclass
class Found:
    """Counts over scenes: large classes in the truth, those of them in the active set, decoded prompts and work."""

    scenes: int = 0
    large: int = 0
    kept: int = 0
    decoded: int = 0
    work: int = 0
    confusion: ConfusionMatrix = field(default_factory=lambda: ConfusionMatrix(len(CLASSES)))

    def add(self, truth: np.ndarray, active: set[int], work: int) -> None:
        """Add a scene with labels `truth`, whose classes `active` were decoded for so many operations."""
        large = {index for index in range(len(CLASSES)) if np.mean(truth == index) >= WORTH_KEEPING}
        self.scenes += 1
        self.large += len(large)
        self.kept += len(large & active)
        self.decoded += len(active)
        self.work += work


@dataclass(frozen=True)
class ProfileCost:
    """What a profile does with one vocabulary and one kind of images.

    Attributes:
        lost: number of large classes in the truth that were not decoded, of `large`.
        decoded: prompts per image.
        work: operations of SAM 3 per image.
    """

    profile: str
    classes: int
    images: str
    lost: int
    large: int
    mean_iou: float
    decoded: float
    work: float


@dataclass(frozen=True)
class CurvePoint:
    """Work and recall of the large classes of one way that keeps a share of the prompts."""

    way: str
    keep_fraction: float
    recall: float
    decoded: float
    work: float


@dataclass(frozen=True)
class PreviewCost:
    """The measurements."""

    options: PreviewOptions
    profiles: tuple[ProfileCost, ...]
    curve: tuple[CurvePoint, ...]


def measure_preview(
    segmenter: ActiveSegmenter, flops: ModelFlops, options: PreviewOptions, say: Callable[[str], None]
) -> PreviewCost:
    """Run both profiles on every kind of images and vocabulary, and every way to preview on clean images."""
    say(f"rendering {options.scenes} scenes")
    scenes = [held_out_scene(options.first + index) for index in range(options.scenes)]
    profiles = []
    for classes in options.classes:
        segmenter.set_vocabulary(vocabulary_of(classes))
        for images in ("clean", *options.corruptions):
            for profile in PROFILES:
                say(f"{classes} classes, {images}, {profile}")
                ready = segmenter.with_settings(settings_for(profile, {}))
                found = Found()
                for number, scene in enumerate(scenes):
                    rgb = scene.rgb
                    if images != "clean":
                        rgb = corrupt(rgb, images, SEVERITY, frame=number)
                    result = ready.segment(rgb)
                    work = flops.frame(workload(result)).total
                    found.add(scene.labels, {one.class_id for one in result.active}, work)
                    found.confusion.add(scene.labels, np.where(result.labels == 255, 254, result.labels))
                profiles.append(
                    ProfileCost(
                        profile,
                        classes,
                        images,
                        found.large - found.kept,
                        found.large,
                        found.confusion.mean_iou,
                        found.decoded / found.scenes,
                        found.work / found.scenes,
                    )
                )
    curve: list[CurvePoint] = []
    if options.curve:
        segmenter.set_vocabulary(vocabulary_of(options.curve))
        for way, settings in WAYS.items():
            say(f"{options.curve} classes, {way}")
            ready = segmenter.with_settings(settings)
            seen = [(scene.labels, ready.preview([scene.rgb])[0]) for scene in scenes]
            curve += [_point(way, replace(settings, keep_fraction=share), seen, flops) for share in KEPT]
    return PreviewCost(options, tuple(profiles), tuple(curve))


def vocabulary_of(classes: int) -> Vocabulary:
    """Return the vocabulary of this size, whose first 19 classes are those of Toy Town."""
    names = DEMO_CLASSES if classes == len(DEMO_CLASSES) else (*CLASSES, *FOREIGN)
    return Vocabulary.from_names(names[:classes])


def _point(
    way: str,
    settings: SegmenterSettings,
    seen: Sequence[tuple[np.ndarray, PreviewResult]],
    flops: ModelFlops,
) -> CurvePoint:
    found = Found()
    for truth, result in seen:
        active = select_active(torch.from_numpy(result.preview_presence), settings)
        found.add(truth, set(active), flops.frame(workload(replace(result, active_prompts=active))).total)
    return CurvePoint(
        way,
        settings.keep_fraction,
        found.kept / max(found.large, 1),
        found.decoded / found.scenes,
        found.work / found.scenes,
    )


def to_markdown(found: PreviewCost) -> str:
    """Format a table of the profiles, and one of the curve if it was measured."""
    options = found.options
    parts = [
        f"{options.scenes} held-out scenes, corruptions at severity {SEVERITY}; lost: classes of at least "
        f"{WORTH_KEEPING:.0%} of an image that were not decoded; work of SAM 3 at {FULL} px, {TOKENS} tokens a prompt, "
        f"{MASKS} masks a decoded prompt.",
        markdown_table(
            ["classes", "images", "profile", "lost", "mIoU", "decoded", "10¹² operations"],
            [
                [
                    str(one.classes),
                    one.images,
                    one.profile,
                    f"{one.lost} of {one.large}",
                    f"{one.mean_iou:.4f}",
                    f"{one.decoded:.1f}",
                    f"{one.work / 1e12:.1f}",
                ]
                for one in found.profiles
            ],
        ),
    ]
    if found.curve:
        parts.append(
            markdown_table(
                ["preview", "kept", "recall", "decoded", "10¹² operations"],
                [
                    [
                        one.way,
                        f"{one.keep_fraction:g}",
                        f"{one.recall:.4f}",
                        f"{one.decoded:.1f}",
                        f"{one.work / 1e12:.1f}",
                    ]
                    for one in found.curve
                ],
            )
        )
    return "\n\n".join(parts) + "\n"


@styled
def plot(found: PreviewCost) -> Figure | None:
    """Draw recall over work for every way to preview, and the profiles, as a PNG; None without a curve."""
    if not found.curve:
        return None
    made, (ax,) = figure(3.6)
    ways = list(dict.fromkeys(one.way for one in found.curve))
    for way, colour, marker in zip(ways, SERIES, MARKERS, strict=False):
        points = [one for one in found.curve if one.way == way]
        ax.plot([one.work / 1e12 for one in points], [one.recall for one in points], color=colour, marker=marker,
                markersize=4, label=way)  # fmt: skip
    for one in found.profiles:
        if one.classes == found.options.curve and one.images == "clean":
            at = (one.work / 1e12, 1 - one.lost / one.large)
            ax.plot(*at, color=WARN, marker="*", markersize=11, linestyle="none")
            ax.annotate(one.profile, at, xytext=(5, -12), textcoords="offset points")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.grid(axis="y")
    ax.set_xlabel(f"10¹² operations an image, {found.options.curve} classes")
    ax.set_ylabel("classes ≥ 1 % that are decoded")
    made.legend(loc="outside lower center", ncols=2)
    return made
