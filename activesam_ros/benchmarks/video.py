"""What the settings for streams cost in work and labels, on drives through Toy Town."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from activesam_ros.evaluation.metrics import ConfusionMatrix
from activesam_ros.model.flops import ModelFlops, Workload
from activesam_ros.settings import PROFILES, SegmenterSettings
from activesam_ros.stages.temporal_reuse import StreamMemory, scene_change, thumbnail
from activesam_ros.toytown import CLASSES, FOREIGN
from activesam_ros.toytown.world import HELD_OUT_SEED, RenderedFrame, World
from activesam_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activesam_ros.results import SegmentationResult
    from activesam_ros.segmenter import ActiveSegmenter

FIRST_SEED = HELD_OUT_SEED + 200_000
FULL, PREVIEW = 1008, 672
TOKENS, MASKS = 10, 20
"""What work is counted for: SAM 3's sizes, tokens of a prompt, and kept masks of one that is decoded."""
FLOORS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
VARIANTS: tuple[Mapping[str, int | str], ...] = (
    {"preview_likely": 5},
    {"preview_likely": 4, "leave_after": 2},
    {"preview_likely": 0, "preview_period": 12},
    {"preview_likely": 0, "preview_period": 24},
    {"preview_way": "sweep", "preview_period": 12},
    {"preview_way": "sweep", "preview_period": 24},
)
"""What is measured beside the profile `realtime`, as changes of it."""
CHANGE_RATE, CHANGE_FRAMES = 6, 25
"""How often a second, and how many frames of each drive the change detector is measured on."""


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        drives, frames, rate: how many drives, of how many frames each, taken how often a second.
        classes: size of the vocabulary: the 19 of Toy Town, and foreign words.
        variants: changes of the profile `realtime`.
        floors: of the floor's curve.
        change_drives: how many drives the change detector is measured on; 0: it is not.
    """

    drives: int = 5
    frames: int = 40
    rate: float = 10.0
    classes: int = 150
    variants: tuple[Mapping[str, int | str], ...] = VARIANTS
    floors: tuple[float, ...] = FLOORS
    change_drives: int = 10


@dataclass
class Tally:
    """Counts over the frames of one setting.

    Attributes:
        frames, decoded, full, swept: of frames, of queries decoded, of full schedules, and of sweeps.
        asked_small, asked_full: of queries asked at the preview's, and at full resolution before decoding.
        present, found: (frame, class) pairs that the truth shows, and those of them that were decoded.
        delays: frames from the first that shows a class to the first that decodes it, for each time that one came up.
        never: how often one came up and went without being decoded.
        pairs: presence in a full preview and at full resolution of each query that was decoded then.
        work: operations of SAM 3, of every frame but the first of a drive.
        confusion: of the labels.
    """

    frames: int = 0
    decoded: int = 0
    full: int = 0
    swept: int = 0
    asked_small: int = 0
    asked_full: int = 0
    present: int = 0
    found: int = 0
    delays: list[int] = field(default_factory=list)
    never: int = 0
    pairs: list[tuple[float, float]] = field(default_factory=list)
    work: list[int] = field(default_factory=list)
    confusion: ConfusionMatrix = field(default_factory=lambda: ConfusionMatrix(len(CLASSES)))


@dataclass(frozen=True)
class Measured:
    """One row: a setting, what it costs, and what its labels are worth.

    Attributes:
        name: of the setting.
        work: operations a frame, mean; `work_highest`: of the frame with most; both without the first of a drive.
        decoded, asked_small, asked_full: queries a frame, see `Tally`.
        full_share: share of the frames with a full schedule.
        mean_iou, recall: of the 19 classes; share of the (frame, class) pairs that the truth shows that were decoded.
        delay, delay_highest: frames until a class that came up is decoded, mean and most; None if none came up.
        never: share of those that went before that.
    """

    name: str
    work: float
    work_highest: float
    decoded: float
    asked_small: float
    asked_full: float
    full_share: float
    mean_iou: float
    recall: float
    delay: float | None
    delay_highest: int | None
    never: float


@dataclass(frozen=True)
class FloorRow:
    """What a floor would take from what the published preview keeps.

    Attributes:
        floor: the floor.
        under: share of the kept queries whose preview presence is under it.
        wrong: share of those whose presence at full resolution is not.
        measured: the published settings with this floor.
    """

    floor: float
    under: float
    wrong: float
    measured: Measured


@dataclass(frozen=True)
class ChangeRow:
    """How different the change detector finds pairs of images.

    Attributes:
        pairs: which.
        low, middle, high: percentiles 5, 50 and 95.
        cuts: share above the `change_threshold` of `realtime`.
    """

    pairs: str
    low: float
    middle: float
    high: float
    cuts: float


@dataclass(frozen=True)
class Found:
    """Everything that was measured."""

    options: Options
    floors: tuple[FloorRow, ...]
    profiles: tuple[Measured, ...]
    changes: tuple[ChangeRow, ...] = ()


def measure_video(
    segmenter: ActiveSegmenter, work: ModelFlops, options: Options, say: Callable[[str], None]
) -> Found:
    """Runs every setting over the same drives.

    Args:
        segmenter: of the demo model.
        work: counts operations of SAM 3.
        options: what.
        say: told what begins.
    """
    say(f"rendering {options.drives} drives of {options.frames} frames")
    drives = render(options)
    segmenter.set_vocabulary(vocabulary(options.classes))

    def run(name: str, **changes: object) -> tuple[Measured, Tally]:
        say(name)
        given = SegmenterSettings(**{**PROFILES["paper"], **changes})
        tally = measure(segmenter.with_settings(given), drives, work)
        return measured(name, tally), tally

    floors = []
    pairs: list[tuple[float, float]] = []
    for floor in options.floors:
        row, tally = run(f"floor {floor:g}", presence_floor=floor)
        if not pairs:
            pairs = tally.pairs  # of the lowest floor: what the quantile alone keeps
        floors.append(floor_row(floor, pairs, row))
    profiles = (
        [replace(floors[0].measured, name="paper")] if options.floors[:1] == (0.0,) else [run("paper")[0]]
    )
    profiles.append(run("realtime", **PROFILES["realtime"])[0])
    for variant in options.variants:
        name = "realtime, " + ", ".join(f"{key} {value}" for key, value in variant.items())
        profiles.append(run(name, **{**PROFILES["realtime"], **variant})[0])
    changes: tuple[ChangeRow, ...] = ()
    if options.change_drives:
        say("the change detector")
        worlds = [World(FIRST_SEED + number) for number in range(options.change_drives)]
        times = [index / CHANGE_RATE for index in range(CHANGE_FRAMES)]
        changes = change_rows([[world.render(time).rgb for time in times] for world in worlds])
    return Found(options, tuple(floors), tuple(profiles), changes)


def change_rows(drives: Sequence[Sequence[np.ndarray]]) -> tuple[ChangeRow, ...]:
    """What the change detector makes of drives: of driving on, of cuts, of a camera that turned, and of light.

    Args:
        drives: images, uint8 [H, W, 3], as many of each, taken `CHANGE_RATE` times a second.
    """
    small = [[thumbnail(rgb) for rgb in drive] for drive in drives]
    rows = [
        _change_row(
            f"of a drive, at {CHANGE_RATE / step:g} Hz",
            [scene_change(*pair) for drive in small for pair in zip(drive, drive[step:], strict=False)],
        )
        for step in (1, 2, 3)
    ]
    others = [
        scene_change(*pair)
        for one in small
        for other in small
        if one is not other
        for pair in zip(one, other, strict=True)
    ]
    if others:
        rows.append(_change_row("of two drives", others))
    alone: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "turned by a third of its width": lambda rgb: np.roll(rgb, rgb.shape[1] // 3, 1),
        "with half the light": lambda rgb: rgb // 2,
        "with half as much light again": lambda rgb: np.minimum(rgb * 1.5, 255).astype(np.uint8),
    }
    for name, make in alone.items():
        made = [
            scene_change(before, thumbnail(make(rgb)))
            for drive, befores in zip(drives, small, strict=True)
            for rgb, before in zip(drive, befores, strict=True)
        ]
        rows.append(_change_row(f"one, and itself {name}", made))
    return tuple(rows)


def _change_row(pairs: str, values: Sequence[float]) -> ChangeRow:
    low, middle, high = (float(value) for value in np.percentile(values, (5, 50, 95)))
    cuts = float(np.mean(np.array(values) > PROFILES["realtime"]["change_threshold"]))
    return ChangeRow(pairs, low, middle, high, cuts)


def vocabulary(classes: int) -> Vocabulary:
    """The classes of Toy Town, and words of other worlds."""
    return Vocabulary.from_names([*CLASSES, *FOREIGN][:classes])


def render(options: Options) -> list[list[RenderedFrame]]:
    """The drives, none of which the model was trained on."""
    worlds = [World(FIRST_SEED + number) for number in range(options.drives)]
    return [[world.render(index / options.rate) for index in range(options.frames)] for world in worlds]


def measure(segmenter: ActiveSegmenter, drives: Sequence[Sequence[RenderedFrame]], work: ModelFlops) -> Tally:
    """Labels drives, each with a memory of its own."""
    tally = Tally()
    for drive in drives:
        memory = StreamMemory()
        waiting: dict[int, int] = {}
        before: set[int] = set()
        for number, frame in enumerate(drive):
            result = segmenter.segment(frame.rgb, memory)
            truth = {int(index) for index in np.unique(frame.labels) if index < len(CLASSES)}
            decoded = {each.class_id for each in result.active}
            _add(tally, result, frame, truth, decoded)
            if number:  # the first asks everything, and what it shows has not just come up
                tally.work.append(work.frame(asked(result)).total)
                waiting.update((index, number) for index in truth - before)
            for index, since in list(waiting.items()):
                if index in decoded:
                    tally.delays.append(number - since)
                elif index not in truth:
                    tally.never += 1
                else:
                    continue
                del waiting[index]
            before = truth
    return tally


def asked(result: SegmentationResult) -> Workload:
    """What SAM 3 would have been asked for a frame with these active queries."""
    small = len(result.schedule.prompts) if result.schedule.mode in ("full", "sweep") else 0
    return Workload(
        full_resolution=FULL,
        preview_resolution=PREVIEW,
        previewed=small,
        preview_tokens=TOKENS,
        decoded=((TOKENS, MASKS),) * len(result.active_prompts),
        presence_only=len(result.schedule.prompts) - small,
    )


def _add(tally: Tally, result: SegmentationResult, frame: RenderedFrame, truth: set[int], decoded: set[int]) -> None:
    way, count = result.schedule.mode, len(result.schedule.prompts)
    tally.frames += 1
    tally.decoded += len(result.active_prompts)
    tally.full += way == "full"
    tally.swept += way == "sweep"
    tally.asked_small += count if way in ("full", "sweep") else 0
    tally.asked_full += count if way == "share" else 0
    tally.present += len(truth)
    tally.found += len(truth & decoded)
    tally.confusion.add(frame.labels, np.where(result.labels == 255, 254, result.labels))
    if way == "full":
        tally.pairs += [
            (float(result.preview_presence[query]), presence)
            for query, presence in zip(result.active_prompts, result.prompt_presence, strict=True)
        ]


def measured(name: str, tally: Tally) -> Measured:
    """The row of a tally."""
    came_up = len(tally.delays) + tally.never
    return Measured(
        name=name,
        work=float(np.mean(tally.work)),
        work_highest=float(np.max(tally.work)),
        decoded=tally.decoded / tally.frames,
        asked_small=tally.asked_small / tally.frames,
        asked_full=tally.asked_full / tally.frames,
        full_share=tally.full / tally.frames,
        mean_iou=tally.confusion.mean_iou,
        recall=tally.found / tally.present,
        delay=float(np.mean(tally.delays)) if tally.delays else None,
        delay_highest=max(tally.delays, default=None),
        never=tally.never / came_up if came_up else 0.0,
    )


def floor_row(floor: float, pairs: Sequence[tuple[float, float]], row: Measured) -> FloorRow:
    """The row of a floor.

    Args:
        floor: the floor.
        pairs: presence in the preview and at full resolution of every query that the published preview keeps.
        row: the published settings with this floor.
    """
    small, full = np.array(pairs, np.float64).reshape(-1, 2).T
    under = small < floor
    wrong = float(np.mean(full[under] >= floor)) if under.any() else 0.0
    return FloorRow(floor, float(np.mean(under)) if len(under) else 0.0, wrong, row)


def as_json(found: Found) -> Mapping[str, Any]:
    """Plain data for `json.dumps`."""
    return asdict(found)


def to_markdown(found: Found) -> str:
    """A table of the floors, one of the profiles, and one of the change detector if that was measured."""
    options = found.options
    lines = [
        f"{options.drives} drives of {options.frames} frames at {options.rate:g} Hz, {options.classes} classes; work "
        f"of SAM 3 at {FULL} and {PREVIEW} px, {TOKENS} tokens a prompt, {MASKS} masks a decoded prompt, without the "
        "first frame of a drive.",
        "",
        "| presence_floor | under it | wrongly | decoded | mIoU | recall | 10¹² operations |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for floor in found.floors:
        row = floor.measured
        lines.append(
            f"| {floor.floor:g} | {floor.under:.1%} | {floor.wrong:.1%} | {row.decoded:.1f} | {row.mean_iou:.4f} | "
            f"{row.recall:.4f} | {row.work / 1e12:.2f} |"
        )
    lines += [
        "",
        "| | 10¹² operations | most | decoded | asked small | asked full | full schedules | mIoU | recall | delay "
        "| longest | never found |",
        "| --- " * 12 + "|",
    ]
    for row in found.profiles:
        delay = ("–", "–") if row.delay is None else (f"{row.delay:.2f}", str(row.delay_highest))
        lines.append(
            f"| {row.name} | {row.work / 1e12:.2f} | {row.work_highest / 1e12:.2f} | {row.decoded:.1f} | "
            f"{row.asked_small:.1f} | {row.asked_full:.1f} | {row.full_share:.1%} | {row.mean_iou:.4f} | "
            f"{row.recall:.4f} | {delay[0]} | {delay[1]} | {row.never:.1%} |"
        )
    if found.changes:
        lines += ["", "| change of two images | p5 | p50 | p95 | seen as a cut |", "| --- " * 5 + "|"]
    for row in found.changes:
        lines.append(f"| {row.pairs} | {row.low:.2f} | {row.middle:.2f} | {row.high:.2f} | {row.cuts:.1%} |")
    return "\n".join(lines) + "\n"
