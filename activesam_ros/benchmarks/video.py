"""Measure what the settings for streams cost in work and labels, on drives through Toy Town."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from activesam_ros.evaluation.metrics import ConfusionMatrix
from activesam_ros.evaluation.report.formatting import markdown_table
from activesam_ros.model.flops import ModelFlops, Workload
from activesam_ros.results import PreviewResult, SegmentationResult
from activesam_ros.settings import PROFILES, settings_for
from activesam_ros.stages.temporal_reuse import StreamMemory, scene_change, thumbnail
from activesam_ros.toytown import CLASSES, FOREIGN
from activesam_ros.toytown.world import HELD_OUT_SEED, RenderedFrame, World
from activesam_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activesam_ros.segmenter import ActiveSegmenter

FIRST_SEED = HELD_OUT_SEED + 200_000
FULL, PREVIEW, PATCH = 1008, 672, 14
TOKENS, MASKS = 10, 20
"""What work is counted for: SAM 3's resolutions, tokens of a prompt, and kept masks of a decoded one."""
FLOORS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
VARIANTS: tuple[Mapping[str, int | str], ...] = (
    {"preview_likely": 5},
    {"preview_likely": 4, "leave_after": 2},
    {"preview_likely": 0, "preview_period": 12},
    {"preview_likely": 0, "preview_period": 24},
    {"preview_way": "sweep", "preview_period": 12},
    {"preview_way": "sweep", "preview_period": 24},
    {"encode_every": 2},
)
"""Changes of the profile `realtime` that are measured beside it."""
CHANGE_RATE, CHANGE_FRAMES = 6, 25
"""Frames per second, and of each drive, that scene change detection is measured on."""


@dataclass(frozen=True)
class VideoOptions:
    """What to measure.

    Attributes:
        rate: frames per second.
        classes: size of the vocabulary: the 19 of Toy Town, and foreign ones.
        variants: changes of the profile `realtime`.
        floors: values of `presence_floor`.
        change_drives: number of drives for scene change detection; 0: it is not measured.
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
        frames, decoded, full, swept: number of frames, decoded prompts, full previews and sweeps.
        asked_small, asked_full: prompts scored at the preview's, and at full resolution without decoding.
        present, found: (frame, class) pairs in the truth, and those of them that were decoded.
        delays: frames from the first that shows a class to the first that decodes it, each time a class appears.
        never: number of times that a class appeared and disappeared without being decoded.
        pairs: presence in a full preview and at full resolution of each prompt that was decoded then.
        work: operations of SAM 3 of every frame but the first of a drive.
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

    def add(
        self, result: SegmentationResult, frame: RenderedFrame, truth: set[int], decoded: set[int]
    ) -> None:
        """Add a frame, with the classes in its truth and those decoded."""
        small, full = _scored(result)
        mode = result.schedule.mode if result.schedule else "none"
        self.frames += 1
        self.decoded += len(result.active_prompts) if mode != "moved" else 0
        self.full += mode == "full"
        self.swept += mode == "sweep"
        self.asked_small += small
        self.asked_full += full
        self.present += len(truth)
        self.found += len(truth & decoded)
        self.confusion.add(frame.labels, np.where(result.labels == 255, 254, result.labels))
        if mode == "full" and result.preview_presence is not None:
            self.pairs += [
                (float(result.preview_presence[prompt]), presence)
                for prompt, presence in zip(result.active_prompts, result.prompt_presence or (), strict=True)
            ]

    def row(self, name: str) -> SettingCost:
        """Summarize the counts."""
        appeared = len(self.delays) + self.never
        return SettingCost(
            name=name,
            work=float(np.mean(self.work)),
            work_highest=float(np.max(self.work)),
            decoded=self.decoded / self.frames,
            asked_small=self.asked_small / self.frames,
            asked_full=self.asked_full / self.frames,
            full_share=self.full / self.frames,
            mean_iou=self.confusion.mean_iou,
            recall=self.found / self.present,
            delay=float(np.mean(self.delays)) if self.delays else None,
            delay_highest=max(self.delays, default=None),
            never=self.never / appeared if appeared else 0.0,
        )


@dataclass(frozen=True)
class SettingCost:
    """What one setting costs, and what its labels are worth.

    Attributes:
        work, work_highest: operations of a frame, mean and maximum, without the first of a drive.
        decoded, asked_small, asked_full: prompts per frame, see `Tally`.
        full_share: share of the frames with a full preview.
        recall: share of the (frame, class) pairs in the truth that were decoded.
        delay, delay_highest: frames until a class that appeared is decoded, mean and maximum; None if none appeared.
        never: share of those that disappeared before that.
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
class FloorCost:
    """What a `presence_floor` would remove from what the published preview keeps.

    Attributes:
        under: share of the kept prompts whose presence in the preview is under it.
        wrong: share of those whose presence at full resolution is not.
        measured: the published settings with this floor.
    """

    floor: float
    under: float
    wrong: float
    measured: SettingCost

    @classmethod
    def of(cls, floor: float, pairs: Sequence[tuple[float, float]], measured: SettingCost) -> FloorCost:
        """Compute the shares from (preview, full resolution) presences of the prompts that the preview keeps."""
        small, full = np.array(pairs, np.float64).reshape(-1, 2).T
        under = small < floor
        wrong = float(np.mean(full[under] >= floor)) if under.any() else 0.0
        return cls(floor, float(np.mean(under)) if len(under) else 0.0, wrong, measured)


@dataclass(frozen=True)
class SceneChanges:
    """Differences of pairs of images: percentiles 5, 50 and 95, and the share above the threshold of `realtime`."""

    pairs: str
    low: float
    middle: float
    high: float
    cuts: float

    @classmethod
    def of(cls, pairs: str, values: Sequence[float]) -> SceneChanges:
        """Compute percentiles and share."""
        low, middle, high = (float(value) for value in np.percentile(values, (5, 50, 95)))
        threshold = float(PROFILES["realtime"]["change_threshold"])
        return cls(pairs, low, middle, high, float(np.mean(np.array(values) > threshold)))


@dataclass(frozen=True)
class VideoResult:
    """The measurements."""

    options: VideoOptions
    floors: tuple[FloorCost, ...]
    profiles: tuple[SettingCost, ...]
    changes: tuple[SceneChanges, ...] = ()


def measure_video(
    segmenter: ActiveSegmenter, flops: ModelFlops, options: VideoOptions, say: Callable[[str], None]
) -> VideoResult:
    """Run every setting over the same drives, none of which the demo model was trained on."""
    say(f"rendering {options.drives} drives of {options.frames} frames")
    worlds = [World(FIRST_SEED + number) for number in range(options.drives)]
    drives = [[world.render(index / options.rate) for index in range(options.frames)] for world in worlds]
    segmenter.set_vocabulary(Vocabulary.from_names([*CLASSES, *FOREIGN][: options.classes]))

    def run(name: str, **changes: object) -> tuple[SettingCost, Tally]:
        say(name)
        tally = measure_drives(segmenter.with_settings(settings_for("paper", changes)), drives, flops)
        return tally.row(name), tally

    floors: list[FloorCost] = []
    pairs: list[tuple[float, float]] = []
    for floor in options.floors:
        row, tally = run(f"floor {floor:g}", presence_floor=floor)
        pairs = pairs or tally.pairs  # Of the lowest floor: what the quantile alone keeps.
        floors.append(FloorCost.of(floor, pairs, row))
    published = floors[0].measured if options.floors[:1] == (0.0,) else run("paper")[0]
    profiles = [replace(published, name="paper"), run("realtime", **PROFILES["realtime"])[0]]
    for variant in options.variants:
        name = "realtime, " + ", ".join(f"{key} {value}" for key, value in variant.items())
        profiles.append(run(name, **{**PROFILES["realtime"], **variant})[0])
    changes: tuple[SceneChanges, ...] = ()
    if options.change_drives:
        say("scene change detection")
        worlds = [World(FIRST_SEED + number) for number in range(options.change_drives)]
        times = [index / CHANGE_RATE for index in range(CHANGE_FRAMES)]
        changes = measure_scene_changes([[world.render(time).rgb for time in times] for world in worlds])
    return VideoResult(options, tuple(floors), tuple(profiles), changes)


def measure_drives(
    segmenter: ActiveSegmenter, drives: Sequence[Sequence[RenderedFrame]], flops: ModelFlops
) -> Tally:
    """Label drives, each with a stream memory of its own."""
    tally = Tally()
    for drive in drives:
        memory = StreamMemory()
        waiting: dict[int, int] = {}
        before: set[int] = set()
        for number, frame in enumerate(drive):
            result = segmenter.segment(frame.rgb, memory, instances=False)
            truth = {int(index) for index in np.unique(frame.labels) if index < len(CLASSES)}
            decoded = {each.class_id for each in result.active}
            tally.add(result, frame, truth, decoded)
            if number:  # The first scores every prompt, and its classes have not just appeared.
                tally.work.append(flops.frame(workload(result)).total)
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


def workload(result: SegmentationResult | PreviewResult) -> Workload:
    """Return what SAM 3 would do for a frame with this schedule, these pooled maps and this many active prompts."""
    small, full = _scored(result)
    # Pooled maps have the same share of SAM 3's full map as of the model's that was used.
    schedule = getattr(result, "schedule", None)
    moved = schedule is not None and schedule.mode == "moved"
    pooled = tuple(
        (round(one.side / one.full_side * FULL / PATCH), one.prompts) for one in result.preview_maps
    )
    return Workload(
        full_resolution=FULL,
        preview_resolution=PREVIEW,
        previewed=0 if pooled else small,
        preview_tokens=TOKENS,
        decoded=() if moved else ((TOKENS, MASKS),) * len(result.active_prompts),
        encodings=0 if moved else 1,
        presence_only=0 if pooled else full,
        pooled=pooled,
    )


def _scored(result: SegmentationResult | PreviewResult) -> tuple[int, int]:
    """Count the prompts scored in a preview of all or of the inactive ones, and round-robin."""
    if isinstance(result, PreviewResult):
        return len(result.preview_presence), 0
    if result.schedule is None:
        return 0, 0
    count = len(result.schedule.prompts)
    return (0, count) if result.schedule.mode == "share" else (count, 0)


def measure_scene_changes(drives: Sequence[Sequence[np.ndarray]]) -> tuple[SceneChanges, ...]:
    """Measure scene change detection on driving on, on cuts, on a camera that turned, and on light.

    Args:
        drives: images, uint8 [H, W, 3], as many of each, taken `CHANGE_RATE` times a second.
    """
    small = [[thumbnail(rgb) for rgb in drive] for drive in drives]
    rows = []
    for step in (1, 2, 3):
        values = [scene_change(*pair) for drive in small for pair in zip(drive, drive[step:], strict=False)]
        rows.append(SceneChanges.of(f"of a drive, at {CHANGE_RATE / step:g} Hz", values))
    others = [
        scene_change(*pair)
        for one in small
        for other in small
        if one is not other
        for pair in zip(one, other, strict=True)
    ]
    if others:
        rows.append(SceneChanges.of("of two drives", others))
    edits: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "turned by a third of its width": lambda rgb: np.roll(rgb, rgb.shape[1] // 3, 1),
        "with half the light": lambda rgb: rgb // 2,
        "with half as much light again": lambda rgb: np.minimum(rgb * 1.5, 255).astype(np.uint8),
    }
    for name, edit in edits.items():
        values = [
            scene_change(before, thumbnail(edit(rgb)))
            for drive, befores in zip(drives, small, strict=True)
            for rgb, before in zip(drive, befores, strict=True)
        ]
        rows.append(SceneChanges.of(f"one, and itself {name}", values))
    return tuple(rows)


def to_markdown(found: VideoResult) -> str:
    """Format a table of the floors, one of the profiles, and one of scene changes if they were measured."""
    options = found.options
    parts = [
        f"{options.drives} drives of {options.frames} frames at {options.rate:g} Hz, {options.classes} classes; work "
        f"of SAM 3 at {FULL} and {PREVIEW} px, {TOKENS} tokens a prompt, {MASKS} masks a decoded prompt, without the "
        "first frame of a drive.",
        markdown_table(
            ["presence_floor", "under it", "wrongly", "decoded", "mIoU", "recall", "10¹² operations"],
            [_floor_cells(floor) for floor in found.floors],
        ),
        markdown_table(
            ["", "10¹² operations", "most", "decoded", "asked small", "asked full", "full previews", "mIoU", "recall",
             "delay", "longest", "never found"],
            [_setting_cells(row) for row in found.profiles],
        ),
    ]  # fmt: skip
    if found.changes:
        rows = [
            [row.pairs, f"{row.low:.2f}", f"{row.middle:.2f}", f"{row.high:.2f}", f"{row.cuts:.1%}"]
            for row in found.changes
        ]
        parts.append(markdown_table(["change of two images", "p5", "p50", "p95", "seen as a cut"], rows))
    return "\n\n".join(parts) + "\n"


def _floor_cells(floor: FloorCost) -> list[str]:
    row = floor.measured
    shares = [f"{floor.under:.1%}", f"{floor.wrong:.1%}"]
    scores = [f"{row.mean_iou:.4f}", f"{row.recall:.4f}"]
    return [f"{floor.floor:g}", *shares, f"{row.decoded:.1f}", *scores, f"{row.work / 1e12:.2f}"]


def _setting_cells(row: SettingCost) -> list[str]:
    prompts = [f"{number:.1f}" for number in (row.decoded, row.asked_small, row.asked_full)]
    scores = [f"{row.full_share:.1%}", f"{row.mean_iou:.4f}", f"{row.recall:.4f}"]
    delay = ["–", "–"] if row.delay is None else [f"{row.delay:.2f}", str(row.delay_highest)]
    work = [f"{row.work / 1e12:.2f}", f"{row.work_highest / 1e12:.2f}"]
    return [row.name, *work, *prompts, *scores, *delay, f"{row.never:.1%}"]
