"""Writes `report.html`: one file without references to others, that a telephone shows as well as a screen."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from importlib import resources
from statistics import median
from typing import TYPE_CHECKING, Any

import cv2
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from activesam_ros.evaluation.report import figures, tables, wording
from activesam_ros.evaluation.report.answers import Answer, answers
from activesam_ros.evaluation.report.gallery import (
    KeptFrame,
    frame_badness,
    read_gallery,
    typical_frame,
    worst_frames,
    write_picture,
)
from activesam_ros.evaluation.report.panels import Entry, Panels, sheet
from activesam_ros.evaluation.report.run_facts import RunFacts, run_facts
from activesam_ros.system.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from activesam_ros.evaluation.records import FrameRecord
    from activesam_ros.evaluation.report.table import Table
    from activesam_ros.evaluation.summary import Results, Summary

PAGE = "report.html"
PICTURES = "pictures"


@dataclass(frozen=True)
class Frame:
    """A frame as the page shows it: a caption, and pictures with their titles as data URIs."""

    caption: str
    pictures: tuple[tuple[str, str], ...]
    classes: tuple[Entry, ...]
    errors: tuple[Entry, ...]


@dataclass(frozen=True)
class Page:
    """Everything that the template shows; plots are data URIs, None where there is nothing to draw."""

    title: str
    head: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    answers: tuple[Answer, ...]
    typical: Frame | None
    methods: Table
    facts: RunFacts
    plots: Mapping[str, str | None]
    tables: Mapping[str, Table | None]
    worst: tuple[Frame, ...]
    worst_title: str
    worst_by: str
    stage1: tuple[str, ...]
    first: str
    cost: tuple[str, ...]
    has_truth: bool
    seen: int
    bars: int
    confused: int
    counted: str


def write_report(
    folder: Path,
    results: Results,
    records: Sequence[FrameRecord],
    run: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> Path:
    """Writes `report.html` and its plots into the folder of a run.

    The pictures of frames are those that `Gallery` left in `pictures/`; the plots and a sheet for each of the worst
    frames are written there too, in the place of those of an earlier report.

    Args:
        folder: of the run.
        results: its figures.
        records: the records behind them.
        run: what was asked, as of `run.json`.
        notes: sentences that a reader must not miss, such as that the recording was cut off.

    Returns:
        The path of the page.

    Raises:
        EvaluationError: the index of the pictures cannot be read.
        OSError: the folder cannot be written to.
    """
    plots = _plots(results, records)
    pictures = folder / PICTURES
    for pattern in ("plot_*.png", "worst_*.png"):
        for old in pictures.glob(pattern):
            old.unlink()
    for name, content in plots.items():
        if content is not None:
            write_atomically(pictures / f"plot_{name}.png", content)
    kept = read_gallery(pictures)
    for rank, frame in enumerate(worst_frames(kept), start=1):
        write_picture(pictures / f"worst_{rank:02d}_frame_{frame.index:06d}.png", _sheet(pictures, frame))
    page = _page(results, records, run_facts(run), tuple(notes), kept, plots, pictures)
    path = folder / PAGE
    write_atomically(path, render(page).encode())
    return path


def render(page: Page) -> str:
    """The page as HTML."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = wording.percent
    environment.filters["share"] = wording.share
    environment.filters["css"] = lambda colour: "rgb({},{},{})".format(*colour)
    template = resources.files("activesam_ros.evaluation.report").joinpath("page.html")
    return environment.from_string(template.read_text(encoding="utf-8")).render(page=page)


def _plots(results: Results, records: Sequence[FrameRecord]) -> dict[str, bytes | None]:
    clean = _clean(results)
    if not clean:
        return {}
    first = clean[0]
    own = _own(first, records)
    scored = first.truth is not None
    return {
        "methods": figures.methods(clean),
        "classes": figures.class_bars(results, first) if scored else None,
        "confusion": figures.confusion(first.truth, results.classes) if scored else None,
        "active_set": figures.activity(own),
        "latency": figures.latency(own),
        "stages": figures.stages(clean),
        "robustness": figures.robustness(results, _corrupted(results)),
    }


def _page(
    results: Results,
    records: Sequence[FrameRecord],
    facts: RunFacts,
    notes: tuple[str, ...],
    kept: Sequence[KeptFrame],
    plots: Mapping[str, bytes | None],
    pictures: Path,
) -> Page:
    clean = _clean(results)
    first = clean[0] if clean else None
    own = _own(first, records) if first else []
    begin = min((record.stamp for record in own), default=0)
    badness = [value for record in own if (value := frame_badness(record)) is not None]
    typical = typical_frame(kept, median(badness) if badness else None)
    worst = worst_frames(kept)
    truth = first.truth if first else None

    def shown(frame: KeptFrame, rank: int | None = None) -> Frame:
        return Frame(
            _caption(frame, begin, rank),
            tuple(
                (title, _inlined(pictures / name, photograph=number == 0))
                for number, (title, name) in enumerate(frame.panels)
            ),  # fmt: skip
            frame.classes,
            frame.errors,
        )

    def table(made: Callable[[], Table], wanted: bool = True) -> Table | None:
        found = made() if wanted else None
        return found if found is not None and found.rows else None

    return Page(
        title=facts.title,
        head=_head(facts, own, results),
        notes=(*notes, *_findings(results, first)),
        answers=answers(results, records, len(facts.names) or None),
        typical=None if typical is None else shown(typical),
        methods=tables.methods(clean),
        facts=facts,
        plots={name: None if content is None else _uri(content) for name, content in plots.items()},
        tables={
            "classes": table(lambda: tables.classes(truth), truth is not None),
            "confusions": table(lambda: tables.confusions(truth, results.classes), truth is not None),
            "missed": table(lambda: tables.missed(truth, results.classes), truth is not None),
            "decoded": table(lambda: tables.decoded(first, facts.names, _pixels(own)), first is not None),
            "stages": table(lambda: tables.stages(first), first is not None),
            "robustness": table(
                lambda: tables.robustness(results, _corrupted(results)), bool(_corrupted(results))
            ),
            "errors": table(lambda: tables.errors(results)),
        },
        worst=tuple(shown(frame, rank) for rank, frame in enumerate(worst, start=1)),
        worst_title=f"The {len(worst)} worst frames"
        if truth is not None
        else f"The {len(worst)} frames that differ most",
        worst_by="By the lowest mIoU of the frame" if truth is not None else "By the least agreement",
        stage1=_stage1(first),
        first=first.method if first else "",
        cost=_cost(first, facts),
        has_truth=truth is not None,
        seen=sum(one.iou is not None for one in truth.classes) if truth else 0,
        bars=figures.MOST_BARS,
        confused=figures.MOST_CONFUSED,
        counted=wording.percent(truth.counted_share if truth else None),
    )


def _clean(results: Results) -> list[Summary]:
    found = (results.summary(method) for method in results.methods)
    return [one for one in found if one is not None]


def _corrupted(results: Results) -> list[str]:
    return [
        name
        for name in results.methods
        if any(one.corruption for one in results.summaries if one.method == name)
    ]


def _own(first: Summary, records: Sequence[FrameRecord]) -> list[FrameRecord]:
    own = [record for record in records if record.method == first.method and not record.corruption]
    return sorted(own, key=lambda record: record.index)


def _pixels(records: Sequence[FrameRecord]) -> int:
    return sum(record.width * record.height for record in records if record.unlabeled is not None)


def _head(facts: RunFacts, own: Sequence[FrameRecord], results: Results) -> tuple[tuple[str, str], ...]:
    span = (max(record.stamp for record in own) - min(record.stamp for record in own)) / 1e9 if own else 0.0
    sizes = sorted({(record.width, record.height) for record in own if record.width})
    size = f", {sizes[0][0]} × {sizes[0][1]} pixels" if len(sizes) == 1 else ""
    lines = [("images", f"{len(own)} over {wording.duration(span)}{size}")]
    if results.classes:
        lines.append(("evaluated", f"{len(results.classes)} classes"))
    return (*lines, *facts.head)


def _findings(results: Results, first: Summary | None) -> list[str]:
    if first is None:
        return ["No frame was evaluated."]
    found = []
    if first.failed:
        found.append(
            f"{first.failed} of {first.frames} frames could not be labelled or scored; see “What was left out”."
        )
    lacking = first.labelled - first.scored
    if first.truth is not None and lacking > 0:
        found.append(
            f"{lacking} of {first.labelled} labelled frames have no ground truth and count in no score."
        )
    frames = {results.summary(method).frames for method in results.methods if results.summary(method)}
    if len(frames) > 1:
        found.append("The methods were not run on equally many frames; their mIoU is over different images.")
    return found


def _stage1(first: Summary | None) -> tuple[str, ...]:
    """What is to be said of the active set, in sentences."""
    if first is None or first.active_size is None:
        return ()
    size = first.active_size
    told = [
        f"{wording.count(size.mean)} classes decoded in an image on average, {size.least:.0f} at least, "
        f"{size.most:.0f} at most."
    ]
    choice = first.truth.active_set if first.truth is not None else None
    if choice is not None and choice.recall is not None:
        told.append(
            f"Recall {wording.percent(choice.recall)}: of the classes that the truth of an image shows, so many were "
            f"decoded; {wording.percent(choice.prominent_recall)} of those with 1 % of the image or more."
        )
        told.append(
            f"Precision {wording.percent(choice.precision)}: of the classes that were decoded, so many are there."
        )
        told.append(
            f"{wording.percent(choice.lost_share, 2)} of the pixels belong to a class that was missed. Leaving them "
            f"out changes the mIoU by {wording.points(choice.lost_iou)} points."
        )
    return tuple(told)


def _cost(first: Summary | None, facts: RunFacts) -> tuple[str, ...]:
    told = []
    if first is not None and first.peak_memory is not None:
        told.append(
            f"Peak memory until the last frame, of all that ran: {wording.memory(first.peak_memory)}."
        )
    if first is not None and first.work is not None:
        told.append(f"Counted work: {wording.work(first.work)} a frame with {first.method}.")
    if facts.machine:
        told.append(f"Measured on: {facts.machine}.")
    return tuple(told)


def _caption(frame: KeptFrame, begin: int, rank: int | None) -> str:
    parts = [f"frame {frame.index}", f"at {(frame.stamp - begin) / 1e9:.2f} s"]
    if frame.mean_iou is not None:
        parts.append(f"mIoU {wording.percent(frame.mean_iou)}")
    if frame.pixel_accuracy is not None:
        parts.append(f"{wording.percent(frame.pixel_accuracy)} of the pixels right")
    if frame.mean_iou is None and frame.agreement is not None:
        parts.append(f"{wording.percent(frame.agreement)} of the pixels agree")
    if frame.missed:
        parts.append(f"not decoded: {wording.listed(frame.missed, most=4)}")
    text = " · ".join(parts)
    return text if rank is None else f"{rank}. {text}"


def _sheet(pictures: Path, frame: KeptFrame) -> Any:
    read = [(title, cv2.imread(str(pictures / name))) for title, name in frame.panels]
    return sheet(
        Panels(
            tuple((title, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)) for title, picture in read),
            frame.classes,
            frame.errors,
        )
    )


def _inlined(path: Path, photograph: bool) -> str:
    """A picture as data URI; of a photograph, which as PNG is ten times as large, as JPEG."""
    if not photograph:
        return _uri(path.read_bytes())
    _, jpeg = cv2.imencode(".jpg", cv2.imread(str(path)), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return _uri(jpeg.tobytes(), "jpeg")


def _uri(content: bytes, kind: str = "png") -> str:
    return Markup(f"data:image/{kind};base64,{b64encode(content).decode('ascii')}")
