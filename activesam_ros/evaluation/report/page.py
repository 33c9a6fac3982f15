"""Write `report.html`: one self-contained file for a telephone or a screen."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import PurePath
from statistics import median
from typing import TYPE_CHECKING, Any

import cv2
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from activesam_ros.evaluation.report import formatting, plots, tables
from activesam_ros.evaluation.report.findings import findings
from activesam_ros.evaluation.report.gallery import (
    GalleryFrame,
    frame_badness,
    read_gallery,
    typical_frame,
    worst_frames,
    write_png,
)
from activesam_ros.evaluation.report.panels import Panels, contact_sheet
from activesam_ros.system.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from activesam_ros.evaluation.records import FrameRecord
    from activesam_ros.evaluation.report.tables import Table
    from activesam_ros.evaluation.summary import Results, Summary

PAGE = "report.html"
PICTURES = "pictures"

Lines = Sequence[tuple[str, str]]


def write_report(
    folder: Path,
    results: Results,
    records: Sequence[FrameRecord],
    run: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> Path:
    """Write `report.html`, its plots and a contact sheet of each of the worst frames into the folder of a run.

    Pictures of frames are those that `Gallery` left in `pictures/`; plots and sheets replace those of an earlier
    report there.

    Args:
        folder: of the run.
        results: its figures.
        records: the records behind them.
        run: its description, as in `run.json`; what it lacks is left out.
        notes: sentences that a reader must not miss, such as that the recording was cut off.

    Returns:
        The path of the page.

    Raises:
        EvaluationError: the index of the pictures cannot be read.
        OSError: the folder cannot be written to.
    """
    drawn = _draw_plots(results, records)
    pictures = folder / PICTURES
    for pattern in ("plot_*.png", "worst_*.png"):
        for old in pictures.glob(pattern):
            old.unlink()
    for name, content in drawn.items():
        if content:
            write_atomically(pictures / f"plot_{name}.png", content)
    kept = read_gallery(pictures)
    for rank, frame in enumerate(worst_frames(kept), start=1):
        write_png(pictures / f"worst_{rank:02d}_frame_{frame.index:06d}.png", _contact_sheet(pictures, frame))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = formatting.percent
    environment.filters["share"] = formatting.share
    environment.filters["css"] = lambda colour: "rgb({},{},{})".format(*colour)
    template = resources.files("activesam_ros.evaluation.report").joinpath("page.html")
    page = _context(results, records, run, notes, kept, drawn, pictures)
    html = environment.from_string(template.read_text(encoding="utf-8")).render(page=page)
    write_atomically(folder / PAGE, html.encode())
    return folder / PAGE


def _draw_plots(results: Results, records: Sequence[FrameRecord]) -> dict[str, bytes]:
    clean = _clean(results)
    if not clean:
        return {}
    first, truth = clean[0], clean[0].truth
    own = _records_of(first, records)
    return {
        "methods": plots.methods(clean),
        "classes": plots.class_bars(first, truth, results) if truth is not None else b"",
        "confusion": plots.confusion(truth, results.classes) if truth is not None else b"",
        "active_set": plots.active_set(own),
        "latency": plots.latency(own),
        "stages": plots.stages(clean),
        "robustness": plots.robustness(results, _corrupted(results)),
    }


def _context(
    results: Results,
    records: Sequence[FrameRecord],
    run: Mapping[str, Any],
    notes: Sequence[str],
    kept: Sequence[GalleryFrame],
    drawn: Mapping[str, bytes],
    pictures: Path,
) -> dict[str, Any]:
    """Return what the template shows; plots and pictures are data URIs, None where there is nothing to draw."""
    clean = _clean(results)
    first = clean[0] if clean else None
    own = _records_of(first, records) if first else []
    truth = first.truth if first else None
    begin = min((record.stamp for record in own), default=0)
    badness = [value for record in own if (value := frame_badness(record)) is not None]
    typical = typical_frame(kept, median(badness) if badness else None)
    worst = worst_frames(kept)
    corrupted = _corrupted(results)
    pixels = sum((record.width or 0) * (record.height or 0) for record in own if record.unlabeled is not None)
    vocabulary, matching = run.get("vocabulary") or (), run.get("matching") or {}
    names = {int(one["id"]): str(one["name"]) for one in vocabulary}

    def shown(frame: GalleryFrame, rank: int | None = None) -> dict[str, Any]:
        uris = [
            (title, _inline(pictures / name, photograph=number == 0))
            for number, (title, name) in enumerate(frame.panels)
        ]
        return {
            "caption": _caption(frame, begin, rank),
            "pictures": uris,
            "classes": frame.classes,
            "errors": frame.errors,
        }

    made: dict[str, Table | None] = {
        "classes": tables.classes(truth) if truth else None,
        "confusions": tables.confusions(truth, results.classes) if truth else None,
        "identities": tables.identities(clean),
        "missed": tables.missed(truth, results.classes) if truth else None,
        "decoded": tables.decoded(first, names, pixels) if first else None,
        "stages": tables.stages(first) if first else None,
        "robustness": tables.robustness(results, corrupted) if corrupted else None,
        "errors": tables.errors(results),
    }
    return {
        "title": PurePath((run.get("recording") or {}).get("path") or "").name or "a recording",
        "head": _head(run, own, results),
        "notes": (*notes, *_warnings(results, first)),
        "findings": findings(results, records, len(names) or None),
        "typical": shown(typical) if typical else None,
        "methods": tables.methods(clean),
        "described_methods": run.get("methods") or (),
        "unmatched_truth": matching.get("unmatched_truth", ()),
        "unmatched_vocabulary": matching.get("unmatched_vocabulary", ()),
        "command": run.get("command") or "",
        "details": _details(run),
        "plots": {name: _data_uri(content) if content else None for name, content in drawn.items()},
        "tables": {name: table if table and table.rows else None for name, table in made.items()},
        "worst": [shown(frame, rank) for rank, frame in enumerate(worst, start=1)],
        "worst_title": f"The {len(worst)} worst frames" if truth else f"The {len(worst)} frames that differ most",
        "worst_by": "By the lowest mIoU of the frame" if truth else "By the least agreement",
        "active_set": _active_set(first),
        "first": first.method if first else "",
        "cost": _cost(first, run.get("machine") or ""),
        "has_truth": truth is not None,
        "seen": sum(one.iou is not None for one in truth.classes) if truth else 0,
        "bars": plots.MAX_BARS,
        "confused": plots.MAX_CONFUSED,
        "counted": formatting.percent(truth.counted_share if truth else None),
    }  # fmt: skip


def _clean(results: Results) -> list[Summary]:
    found = (results.summary(method) for method in results.methods)
    return [one for one in found if one is not None]


def _corrupted(results: Results) -> list[str]:
    """List the methods that were run with corruptions."""
    corrupted = {one.method for one in results.summaries if one.corruption}
    return [name for name in results.methods if name in corrupted]


def _records_of(first: Summary, records: Sequence[FrameRecord]) -> list[FrameRecord]:
    own = [record for record in records if record.method == first.method and not record.corruption]
    return sorted(own, key=lambda record: record.index)


def _head(run: Mapping[str, Any], own: Sequence[FrameRecord], results: Results) -> Lines:
    span = (max(record.stamp for record in own) - min(record.stamp for record in own)) / 1e9 if own else 0.0
    sizes = sorted({(record.width, record.height) for record in own if record.width})
    size = f", {sizes[0][0]} × {sizes[0][1]} pixels" if len(sizes) == 1 else ""
    lines = [("images", f"{len(own)} over {formatting.duration(span)}{size}")]
    if results.classes:
        lines.append(("evaluated", f"{len(results.classes)} classes"))
    return [
        *lines,
        ("model", _text((run.get("model") or {}).get("name"))),
        ("vocabulary", f"{len(run.get('vocabulary') or ())} classes"),
        ("made", _text(run.get("made")).replace("T", " ").replace("+00:00", " UTC")),
    ]


def _warnings(results: Results, first: Summary | None) -> list[str]:
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
    if len({one.frames for one in _clean(results)}) > 1:
        found.append("The methods were not run on equally many frames; their mIoU is over different images.")
    return found


def _active_set(first: Summary | None) -> list[str]:
    """Describe size, recall and precision of the active set in sentences."""
    if first is None or first.active_size is None:
        return []
    size = first.active_size
    sentences = [
        f"{formatting.count(size.mean)} classes decoded in an image on average, {size.least:.0f} at least, "
        f"{size.most:.0f} at most."
    ]
    scores = first.truth.active_set if first.truth is not None else None
    if scores is not None and scores.recall is not None:
        sentences += [
            f"Recall {formatting.percent(scores.recall)}: of the classes that the truth of an image shows, so many "
            f"were decoded; {formatting.percent(scores.prominent_recall)} of those with 1 % of the image or more.",
            f"Precision {formatting.percent(scores.precision)}: of the classes that were decoded, so many are there.",
            f"{formatting.percent(scores.lost_share, 2)} of the pixels belong to a class that was missed. Leaving them "
            f"out changes the mIoU by {formatting.points(scores.lost_iou)} points.",
        ]
    return sentences


def _cost(first: Summary | None, machine: str) -> list[str]:
    sentences = []
    if first is not None and first.peak_memory is not None:
        memory = formatting.memory(first.peak_memory)
        sentences.append(f"Peak memory until the last frame, of all that ran: {memory}.")
    if first is not None and first.work is not None:
        sentences.append(f"Counted work: {formatting.work(first.work)} a frame with {first.method}.")
    if machine:
        sentences.append(f"Measured on: {machine}.")
    return sentences


def _caption(frame: GalleryFrame, begin: int, rank: int | None) -> str:
    parts = [f"frame {frame.index}", f"at {(frame.stamp - begin) / 1e9:.2f} s"]
    if frame.mean_iou is not None:
        parts.append(f"mIoU {formatting.percent(frame.mean_iou)}")
    if frame.pixel_accuracy is not None:
        parts.append(f"{formatting.percent(frame.pixel_accuracy)} of the pixels right")
    if frame.mean_iou is None and frame.agreement is not None:
        parts.append(f"{formatting.percent(frame.agreement)} of the pixels agree")
    if frame.missed:
        parts.append(f"not decoded: {formatting.listed(frame.missed, most=4)}")
    text = " · ".join(parts)
    return text if rank is None else f"{rank}. {text}"


def _details(run: Mapping[str, Any]) -> list[tuple[str, Lines]]:
    """Return what is needed to repeat the run, as (group, lines of (name, value))."""
    methods: Sequence[Any] = run.get("methods") or ()
    groups = {name: run.get(name) for name in ("recording", "model")}
    for number, method in enumerate(methods):
        settings, first = method.get("settings") or {}, methods[0].get("settings") or {}
        if number == 0:
            groups[f"settings of {method['name']}"] = settings
            continue
        changed = {name: value for name, value in settings.items() if first.get(name) != value}
        groups[f"other settings of {method['name']}"] = changed or {"settings": "the same"}
    groups["versions"] = run.get("versions")
    classes = [", ".join([one["name"], *(f"“{each}”" for each in one.get("prompts", ()) if each != one["name"])])
               for one in run.get("vocabulary") or ()]  # fmt: skip
    groups["other"] = {
        "corruptions": run.get("corruptions"),
        "seed of the corruptions": run.get("seed"),
        "vocabulary": "; ".join(classes),
        "machine": run.get("machine"),
    }
    return [
        (group, [(str(name).replace("_", " "), _text(value)) for name, value in values.items()])
        for group, values in groups.items()
        if values
    ]


def _text(value: Any) -> str:
    """Format a value of `run.json`."""
    if value is None:
        return formatting.UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_text(each)}" for key, each in value.items())
    if isinstance(value, Sequence):
        return ", ".join(_text(each) or "none" for each in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _contact_sheet(pictures: Path, frame: GalleryFrame) -> Any:
    read = [(title, cv2.imread(str(pictures / name))) for title, name in frame.panels]
    rgb = tuple((title, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)) for title, picture in read)
    return contact_sheet(Panels(rgb, frame.classes, frame.errors))


def _inline(path: Path, photograph: bool) -> str:
    """Return a picture as a data URI; a photograph as JPEG, since a PNG would be ten times as large."""
    if not photograph:
        return _data_uri(path.read_bytes())
    _, jpeg = cv2.imencode(".jpg", cv2.imread(str(path)), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return _data_uri(jpeg.tobytes(), "jpeg")


def _data_uri(content: bytes, kind: str = "png") -> str:
    return Markup(f"data:image/{kind};base64,{b64encode(content).decode('ascii')}")
