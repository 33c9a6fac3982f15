"""Write the results of a run: `results.json`, `frames.csv` (see docs/evaluation-results.md), and the report."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.metrics import active_set_scores
from activesam_ros.evaluation.records import read_records
from activesam_ros.evaluation.report.formatting import percent, points, rate, work
from activesam_ros.evaluation.report.page import write_report
from activesam_ros.evaluation.run_folder import FRAMES, RESULTS
from activesam_ros.evaluation.summary import Results, Summary, frame_scores, summarise
from activesam_ros.system.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from activesam_ros.evaluation.records import FrameRecord
    from activesam_ros.evaluation.run_folder import RunFolder

VERSION = 2
"""Of the schema of `results.json`; readers refuse others."""

COLUMNS = (
    "method",
    "corruption",
    "index",
    "stamp_ns",
    "error",
    "width",
    "height",
    "active",
    "active_classes",
    "unlabeled_share",
    "mean_iou",
    "pixel_accuracy",
    "boundary_iou",
    "present",
    "missed",
    "missed_classes",
    "recall",
    "precision",
    "lost_share",
    "flicker",
    "agreement",
    "latency_s",
    "work",
    "peak_memory",
)
"""Of `frames.csv`; one column per stage follows, such as `decode_s`."""


def finalize(folder: RunFolder, notes: Sequence[str] = ()) -> tuple[Path, str]:
    """Write `results.json`, `frames.csv` and `report.html` of whatever has been done.

    `notes` are sentences that a reader must not miss. Return the path of the page, and the headline as plain text.

    Raises:
        EvaluationError: no frame has been done yet, or the folder is damaged.
        OSError: the folder cannot be written to.
    """
    run = folder.description()
    records = read_records(folder.records_path)
    if not records:
        raise EvaluationError(
            f"{folder.path} has no frame that was done; see that the part asked for has images"
        )
    classes = (run.get("matching") or {}).get("classes", [])
    names = {one["id"]: one["name"] for one in run["vocabulary"]}
    results = summarise(records, classes, [one["name"] for one in run["methods"]], ["", *run["corruptions"]])
    said = list(dict.fromkeys([*notes, *_notes(results)]))
    write_results(folder.path / RESULTS, results, {**run, "notes": said})
    write_frames(folder.path / FRAMES, records, classes, names)
    page = write_report(folder.path, results, records, run, said)
    return page, _table(results)


def results_to_json(results: Results, run: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return plain data for `json.dumps`; it includes `run`, the content of `run.json`."""
    plain = asdict(results)
    if run is not None:
        plain["run"] = dict(run)
    return {"version": VERSION, **plain}


def write_results(path: Path, results: Results, run: Mapping[str, Any] | None = None) -> None:
    """Write `results.json`, whole or not at all.

    Raises:
        OSError: the folder cannot be written to.
    """
    text = json.dumps(results_to_json(results, run), ensure_ascii=False, allow_nan=False, indent=1)
    write_atomically(path, text.encode() + b"\n")


def read_results(path: Path) -> dict[str, Any]:
    """Read what `write_results` wrote.

    Raises:
        EvaluationError: the file is missing, no JSON, or of another version.
    """
    try:
        plain = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EvaluationError(
            f"{path} cannot be read ({error}); expected the results of an evaluation"
        ) from error
    version = plain.get("version") if isinstance(plain, dict) else None
    if version != VERSION:
        raise EvaluationError(f"{path} has version {version!r}; expected {VERSION}, so make the results anew")
    return plain


def read_notes(folder: RunFolder) -> list[str]:
    """Return what the reader of an earlier report of the run was told; empty if there is none."""
    try:
        return list(read_results(folder.path / RESULTS)["run"]["notes"])
    except (EvaluationError, KeyError, TypeError):  # none, or another version's: then it is made anew
        return []


def write_frames(
    path: Path, records: Iterable[FrameRecord], classes: Sequence[str], names: Mapping[int, str]
) -> None:
    """Write `frames.csv`, whole or not at all: one row a record, empty cells where nothing is known.

    `classes` are the names of the evaluated classes, `names` those of the ids of the vocabulary.

    Raises:
        OSError: the folder cannot be written to.
    """
    records = list(records)
    stages = list(dict.fromkeys(stage for record in records for stage in record.timings))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, (*COLUMNS, *(f"{stage}_s" for stage in stages)), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: _cell(value) for name, value in _row(record, classes, names).items()})
    write_atomically(path, text.getvalue().encode())


def _row(record: FrameRecord, classes: Sequence[str], names: Mapping[int, str]) -> dict[str, object]:
    row: dict[str, object] = {
        "method": record.method,
        "corruption": record.corruption,
        "index": record.index,
        "stamp_ns": record.stamp,
        "error": record.error,
        "width": record.width,
        "height": record.height,
        "agreement": record.agreement,
        "latency_s": record.latency,
        "work": record.work,
        "peak_memory": record.peak_memory,
    }
    row.update({f"{stage}_s": seconds for stage, seconds in record.timings.items()})
    if record.active is not None:
        row["active"] = len(record.active)
        row["active_classes"] = "; ".join(names.get(number, str(number)) for number in record.active)
    if record.unlabeled is not None and record.width and record.height:
        row["unlabeled_share"] = record.unlabeled / (record.width * record.height)
    if record.truth is not None:
        choice = active_set_scores([record.truth])
        row["mean_iou"], row["pixel_accuracy"], row["boundary_iou"] = frame_scores(record.truth)
        row["present"] = len(record.truth.present)
        row["flicker"] = record.truth.flicker
        row["recall"], row["precision"], row["lost_share"] = (
            choice.recall,
            choice.precision,
            choice.lost_share,
        )
        if record.truth.active is not None:
            row["missed"] = len(record.truth.missed)
            row["missed_classes"] = "; ".join(classes[index] for index in record.truth.missed)
    return row


def _cell(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def _notes(results: Results) -> list[str]:
    """Return what a reader of the figures has to know about the frames."""
    first = results.summary(results.methods[0])
    unknown = first.truth.unknown if first is not None and first.truth is not None else ()
    if not unknown:
        return []
    ids = ", ".join(f"{number} ({pixels} pixels)" for number, pixels in unknown[:5])
    if len(unknown) > 5:
        ids += f" and {len(unknown) - 5} more"
    return [f"The ground truth has ids without a name, which do not count: {ids}."]


def _table(results: Results) -> str:
    head = ("", "frames", "mIoU", "to the first", "agreement", "frames/s", "work/frame")
    rows = [head, *(_table_row(summary) for summary in results.summaries)]
    failures = [_failure(summary) for summary in results.summaries if summary.errors]
    identities = [_identities(summary) for summary in results.summaries if summary.identities]
    column_widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(column_widths[0]), *map(str.rjust, row[1:], column_widths[1:])])
        for row in rows
    ]
    return "\n".join([*lines, *identities, *failures])


def _identities(summary: Summary) -> str:
    scores, name = summary.identities, f"{summary.method} {summary.corruption}".strip()
    assert scores is not None
    return f"{name}: ID F1 {scores.idf1:.3f}, {scores.switches} switches of {scores.identities} things"


def _failure(summary: Summary) -> str:
    sentence, frames = summary.errors[0]
    name = f"{summary.method} {summary.corruption}".strip()
    return f"{name}: {summary.failed} with an error, most often ({frames}): {sentence}"


def _table_row(summary: Summary) -> tuple[str, ...]:
    against = summary.against_clean or summary.against_first
    return (
        f"{summary.method} {summary.corruption}".strip(),
        str(summary.labelled) + (f" (+{summary.failed} failed)" if summary.failed else ""),
        percent(summary.truth.mean_iou) if summary.truth else "–",
        points(against.mean_iou) if against else "",
        percent(summary.agreement) if summary.agreement is not None else "–",
        rate(summary.rate),
        work(summary.work),
    )
