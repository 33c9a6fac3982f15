"""Count the floating-point operations of SAM 3's published architecture for every way to label an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from activesam_ros.evaluation.methods import NO_PREVIEW
from activesam_ros.evaluation.report.formatting import markdown_table
from activesam_ros.evaluation.report.plots import FIRST, MARKERS, OTHER, SERIES, WARN, figure, styled
from activesam_ros.model.flops import FrameFlops, FusedModelFlops, ModelFlops, Workload
from activesam_ros.settings import SegmenterSettings, settings_for
from activesam_ros.stages.preview import map_sides, most_uncertain, resolutions, select_active
from activesam_ros.stages.temporal_reuse import StreamMemory, single_image_schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from activesam_ros.results import PreviewSchedule

VOCABULARIES = (19, 59, 80, 150, 171)
"""Numbers of classes of Cityscapes, Pascal Context, COCO's objects, ADE20K and COCO-Stuff."""
GROWING_PROMPTS = (10, 20, 40, 60, 100, 150, 250, 400, 600, 1000)
GROWING_SIZES = (672, 840, 1008, 1176, 1344)

_TERA = 1e12
_PROMPTS = 150
_STAGE_COLOURS = {"preview": OTHER, "encode": FIRST, "decode": WARN}


@dataclass(frozen=True)
class Assumptions:
    """What is assumed: tokens of a prompt, masks of a decoded one, prompts that an image shows, and doubtful ones.

    Attributes:
        uncertain: share of the prompts that a coarse pooled map leaves neither clearly present nor absent.
    """

    tokens: int = 10
    kept: int = 20
    shown: int = 11
    uncertain: float = 0.2


@dataclass(frozen=True)
class Scale:
    """The sizes that the cost grows with: prompts, and side of the image and of the model's patches in pixels."""

    words: int
    image_size: int = 1008
    patch_size: int = 14


@dataclass(frozen=True)
class Variant:
    """A way to label images, on the reference path (as published) or on the fused one.

    `encodes_per_prompt`: whether the image is encoded anew for every prompt.
    """

    name: str
    description: str
    settings: SegmenterSettings
    reference: bool
    encodes_per_prompt: bool = False


_EVERY_CLASS = settings_for("paper", NO_PREVIEW)
_PAPER = Variant(
    "paper", "the profile `paper`: the same labels at less work", settings_for("paper", {}), False
)
VARIANTS = (
    Variant("per-class", "SAM 3 asked class by class, the image encoded anew each time", _EVERY_CLASS, True, True),
    Variant("full-vocabulary", "every class decoded at full resolution", _EVERY_CLASS, True),
    Variant("as published", "ActiveSAM as its authors' code runs it", settings_for("paper", {}), True),
    _PAPER,
    Variant("fast", "the profile `fast`: presence on pooled features", settings_for("fast", {}), False),
    Variant("realtime", "the profile `realtime` on a video", settings_for("realtime", {}), False),
)  # fmt: skip
"""From the most expensive to the cheapest."""


@dataclass(frozen=True)
class CountedVariant:
    """The cost of one variant at one scale, averaged over the images of a cycle.

    Attributes:
        way: name of the variant.
        asked, active: prompts scored for presence alone, and decoded, in an image.
        work, total: operations of an image.
    """

    way: str
    scale: Scale
    preview_resolution: int
    asked: float
    active: float
    work: FrameFlops
    total: int


@dataclass(frozen=True)
class ModelPart:
    """Operations of one part of the model on the reference (`plain`) and on the fused path (`lean`).

    Attributes:
        times: how often an image with 150 prompts needs it in the profile `paper`.
    """

    name: str
    plain: int
    lean: int
    times: int

    @property
    def saved(self) -> int:
        """Operations that the fused path saves in an image with 150 prompts."""
        return self.times * (self.plain - self.lean)


@dataclass(frozen=True)
class WorkResult:
    """The counted operations of every variant, by vocabulary, number of prompts and image size, and of each part."""

    model: str
    inputs: Assumptions
    vocabularies: tuple[CountedVariant, ...]
    growing_words: tuple[CountedVariant, ...]
    growing_sizes: tuple[CountedVariant, ...]
    steps: tuple[ModelPart, ...]


def count_work(
    inputs: Assumptions,
    say: Callable[[str], None],
    prompts: Sequence[int] = GROWING_PROMPTS,
    sizes: Sequence[int] = GROWING_SIZES,
) -> WorkResult:
    """Count every variant on the published architecture, which needs no weights, for these prompts and image sizes."""
    from transformers import Sam3Config

    say("building the published architecture without weights")
    reference, fused = ModelFlops(Sam3Config()), FusedModelFlops(Sam3Config())

    def count(scale: Scale) -> list[CountedVariant]:
        return [
            _counted(variant, reference if variant.reference else fused, scale, inputs)
            for variant in VARIANTS
        ]

    say("counting the usual vocabularies")
    vocabularies = [found for number in VOCABULARIES for found in count(Scale(number))]
    say(f"counting {prompts[0]} to {prompts[-1]} prompts")
    growing_words = [found for number in prompts for found in count(Scale(number))]
    growing_sizes = []
    for size in sizes:
        say(f"counting images of {size} pixels")
        growing_sizes += count(Scale(_PROMPTS, size))
    return WorkResult(
        "Sam3Config() of transformers",
        inputs,
        tuple(vocabularies),
        tuple(growing_words),
        tuple(growing_sizes),
        _model_parts(reference, fused, inputs),
    )


def workloads(variant: Variant, scale: Scale, inputs: Assumptions) -> list[Workload]:
    """Return what a variant asks of the model for one image, or for each frame of a `preview_period` of a video."""
    full, preview = resolutions(scale.image_size, scale.patch_size, variant.settings)
    pooled = variant.settings.preview_source == "features"
    return [
        Workload(
            full_resolution=full,
            preview_resolution=preview,
            previewed=len(schedule.prompts) if not pooled and schedule.mode in ("full", "sweep") else 0,
            preview_tokens=inputs.tokens,
            decoded=((inputs.tokens, inputs.kept),) * active,
            encodings=scale.words if variant.encodes_per_prompt else 1,
            presence_only=len(schedule.prompts) if not pooled and schedule.mode == "share" else 0,
            pooled=_pooled(full // scale.patch_size, schedule, variant.settings, scale.words, inputs)
            if pooled
            else (),
        )
        for schedule, active in _simulate(variant.settings, scale.words, inputs.shown)
    ]


def _pooled(
    side: int, schedule: PreviewSchedule, settings: SegmenterSettings, prompts: int, inputs: Assumptions
) -> tuple[tuple[int, int], ...]:
    """Return the pooled maps of a frame, and the prompts scored on each."""
    count = len(schedule.prompts)
    if not count:
        return ()
    coarse, fine = map_sides(side, count, settings)
    again = (
        min(math.ceil(inputs.uncertain * count), most_uncertain(prompts, settings)) if fine > coarse else 0
    )
    return ((coarse, count), (fine, again)) if again else ((coarse, count),)


def _simulate(settings: SegmenterSettings, prompts: int, shown: int) -> list[tuple[PreviewSchedule, int]]:
    """Return schedule and number of active prompts of each frame if prompts are always clearly present or absent."""
    # Different from each other, so that quantiles are as they are on images.
    presence = np.linspace(4e-4, 1e-4, prompts, dtype=np.float32)
    presence[:shown] = np.linspace(0.95, 0.9, min(shown, prompts))
    if not settings.reuses_frames:
        schedule = single_image_schedule(prompts, settings)
        active = prompts
        if schedule.mode != "none":
            active = len(select_active(torch.from_numpy(presence), settings))
        return [(schedule, active)]
    memory = StreamMemory()
    image = np.zeros((8, 8, 3), np.uint8)
    names = tuple(map(str, range(prompts)))
    frames = []
    # One period until the schedules after the first frame have evened out, and one to count.
    for _ in range(2 * settings.preview_period + 1):
        plan = memory.plan(image, names, settings)
        scheduled = list(plan.schedule.prompts)
        asked = np.full(prompts, np.nan, np.float32)
        asked[scheduled] = presence[scheduled]
        selected, decoded = plan.active_set(asked)
        plan.keep(asked, selected, {prompt: float(presence[prompt]) for prompt in decoded})
        frames.append((plan.schedule, len(decoded)))
    return frames[-settings.preview_period :]


def _counted(variant: Variant, flops: ModelFlops, scale: Scale, inputs: Assumptions) -> CountedVariant:
    frames = workloads(variant, scale, inputs)
    counted = [flops.frame(frame) for frame in frames]

    def mean(values: Sequence[int]) -> float:
        return sum(values) / len(values)

    work = FrameFlops(
        round(mean([one.preview for one in counted])),
        round(mean([one.encode for one in counted])),
        round(mean([one.decode for one in counted])),
    )
    asked = mean(
        [frame.previewed + frame.presence_only + sum(n for _, n in frame.pooled[:1]) for frame in frames]
    )
    active = mean([len(frame.decoded) for frame in frames])
    return CountedVariant(variant.name, scale, frames[0].preview_resolution, asked, active, work, work.total)


def _model_parts(reference: ModelFlops, fused: FusedModelFlops, inputs: Assumptions) -> tuple[ModelPart, ...]:
    (asked,) = workloads(_PAPER, Scale(_PROMPTS), inputs)
    full, small = asked.full_resolution, asked.preview_resolution
    tokens, kept = inputs.tokens, inputs.kept
    decoded, previewed = len(asked.decoded), asked.previewed
    image, prompt = f"image at {full}", f"each decoded prompt at {full}"
    preview, alone = f"image at {small}", f"each prompt at {small}, presence alone"

    def part(name: str, count: Callable[[ModelFlops], int], times: int) -> ModelPart:
        return ModelPart(name, count(reference), count(fused), times)

    return (
        part(f"{image}: vision encoder", lambda path: path.vision(full), 1),
        part(f"{image}: class token", lambda path: path.class_token(full), 1),
        ModelPart(f"{image}: shared by all prompts, encoder", 0, fused.shared_encoder(full), 1),
        ModelPart(f"{image}: shared by all prompts, mask head", 0, fused.shared_masks(full), 1),
        part(f"{prompt}: encoder", lambda path: path.encoder(full, tokens), decoded),
        part(
            f"{prompt}: decoder and scores",
            lambda path: path.decoder(full, tokens) + path.scoring(tokens),
            decoded,
        ),
        part(f"{prompt}: {kept} masks", lambda path: path.masks(full, tokens, kept), decoded),
        ModelPart(f"{preview}: vision encoder", reference.vision(small), fused.coarse_vision(small), 1),
        part(f"{preview}: class token", lambda path: path.class_token(small), 1),
        ModelPart(f"{preview}: shared by all prompts, encoder", 0, fused.shared_encoder(small), 1),
        part(f"{alone}: encoder", lambda path: path.encoder(small, tokens), previewed),
        ModelPart(
            f"{alone}: decoder",
            reference.decoder(small, tokens),
            fused.presence_decoder(small, tokens),
            previewed,
        ),
        part(f"each prompt at {full}, presence alone, on a video", lambda path: path.presence(full, tokens), 0),
    )  # fmt: skip


def to_markdown(found: WorkResult) -> str:
    """Format the result as tables with a title each."""
    inputs = found.inputs
    parts = [
        f"Model: {found.model}, 1008 pixels, preview 672. Assumed: {inputs.tokens} tokens a prompt, {inputs.kept} "
        f"masks of each that is decoded, {inputs.shown} classes in view of a video; two operations for a multiply-add.",
        "\n".join(f"- `{variant.name}`: {variant.description}." for variant in VARIANTS),
        "10¹² operations an image, by stage; *asked* and *decoded*: prompts in an image, on average:",
        _vocabulary_table(found.vocabularies),
        "10¹² operations an image, by the number of prompts:",
        _growth_table(found.growing_words, "prompts", lambda one: one.scale.words),
        f"10¹² operations an image of {_PROMPTS} prompts, by its side in pixels:",
        _growth_table(found.growing_sizes, "pixels", lambda one: one.scale.image_size),
        f"Where it is saved, 10⁹ operations; *times*: in an image of {_PROMPTS} prompts:",
        _part_table(found.steps),
    ]
    return "\n\n".join(parts) + "\n"


def _vocabulary_table(counted: Sequence[CountedVariant]) -> str:
    published = {one.scale.words: one.total for one in counted if one.way == "as published"}
    header = ["prompts, variant", "asked", "decoded", "preview", "encode", "decode", "total"]
    rows = [
        [
            f"{one.scale.words}, {one.way}",
            *(f"{number:.1f}".removesuffix(".0") for number in (one.asked, one.active)),
            *(f"{value / _TERA:.2f}" for value in (one.work.preview, one.work.encode, one.work.decode)),
            f"{one.total / _TERA:.2f}",
            f"{one.total / published[one.scale.words]:.2f}",
        ]
        for one in counted
    ]
    return markdown_table([*header, "ratio to `as published`"], rows)


def _growth_table(
    counted: Sequence[CountedVariant], label: str, where: Callable[[CountedVariant], int]
) -> str:
    names = [variant.name for variant in VARIANTS]
    totals = {(where(one), one.way): one.total for one in counted}
    rows = [
        [str(place), *(f"{totals[place, name] / _TERA:.1f}" for name in names)]
        for place in dict.fromkeys(where(one) for one in counted)
    ]
    return markdown_table([label, *names], rows)


def _part_table(parts: Sequence[ModelPart]) -> str:
    rows = [
        [
            part.name,
            *(f"{value / 1e9:.1f}" if value else "" for value in (part.plain, part.lean)),
            f"{part.lean / part.plain:.2f}" if part.plain else "",
            str(part.times) if part.times else "",
            f"{part.saved / 1e9:.0f}" if part.times else "",
        ]
        for part in parts
    ]
    rows.append(["in all", "", "", "", "", f"{sum(part.saved for part in parts) / 1e9:.0f}"])
    return markdown_table(["", "reference", "fused", "ratio", "times", "saved"], rows)


@styled
def plot(found: WorkResult) -> Figure:
    """Draw the stages with 150 prompts, and the growth with the vocabulary and the image, as a PNG."""
    made, (bars, prompts, sizes) = figure(8.4, 3, gridspec_kw={"height_ratios": (1.0, 1.7, 1.7)})
    _plot_stages(bars, [one for one in found.vocabularies if one.scale.words == _PROMPTS])
    _plot_growth(
        prompts, found.growing_words, lambda one: one.scale.words, "prompts in the vocabulary", log=True
    )
    prompts.set_title("Work grows with the vocabulary")
    _plot_growth(sizes, found.growing_sizes, lambda one: one.scale.image_size, "side of the image, pixels")
    sizes.set_title(f"and with the image, {_PROMPTS} prompts")
    handles, labels = prompts.get_legend_handles_labels()
    made.legend(handles, labels, loc="outside lower center", ncols=3)
    return made


def _plot_stages(ax: Axes, rows: Sequence[CountedVariant]) -> None:
    # "per-class" costs ten times as much as the next one and would flatten all others.
    rows = [one for one in rows if one.way != "per-class"]
    for row, one in enumerate(rows):
        left = 0.0
        for stage, colour in _STAGE_COLOURS.items():
            width = getattr(one.work, stage) / _TERA
            ax.barh(row, width, left=left, color=colour, height=0.66, label=None if row else stage)
            left += width
        ax.text(left + 0.8, row, f"{left:.1f}", va="center", fontsize=8.5)
    ax.set_yticks(range(len(rows)), [one.way for one in rows])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12 * max(one.total for one in rows) / _TERA)
    ax.xaxis.set_major_locator(NullLocator())
    ax.spines["bottom"].set_visible(False)
    ax.tick_params(left=False)
    ax.legend(loc="lower right")
    ax.set_title(f"10¹² operations an image, {_PROMPTS} prompts")


def _plot_growth(
    ax: Axes,
    counted: Sequence[CountedVariant],
    where: Callable[[CountedVariant], int],
    label: str,
    log: bool = False,
) -> None:
    for variant, colour, marker in zip(VARIANTS, SERIES, MARKERS, strict=False):
        points = [one for one in counted if one.way == variant.name]
        totals = [one.total / _TERA for one in points]
        ax.plot([where(one) for one in points], totals, color=colour, marker=marker, markersize=4,
                label=variant.name)  # fmt: skip
    ax.set_yscale("log")
    if log:
        ax.set_xscale("log")
    ticks = sorted({where(one) for one in counted})
    ax.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if tick != 60] if log else ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.grid(axis="y")
    ax.set_xlabel(label)
    ax.set_ylabel("10¹² operations")
