"""From the records of a run to its figures and its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.records import read_records
from activesam_ros.evaluation.report.formatting import percent, points, rate, work
from activesam_ros.evaluation.report.page import write_report
from activesam_ros.evaluation.results import write_frames, write_results
from activesam_ros.evaluation.run_folder import FRAMES, RESULTS, RunFolder
from activesam_ros.evaluation.summary import Results, Summary, summarise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def finish(folder: RunFolder, notes: Sequence[str] = ()) -> tuple[Path, str]:
    """Writes `results.json`, `frames.csv` and `report.html` of whatever has been done.

    Args:
        folder: of the run.
        notes: sentences that a reader must not miss.

    Returns:
        the path of the page, and the headline as plain text.

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


def _notes(results: Results) -> list[str]:
    """What a reader of the figures has to know about the frames."""
    first = results.summary(results.methods[0])
    unknown = first.truth.unknown if first is not None and first.truth is not None else ()
    if not unknown:
        return []
    ids = ", ".join(f"{number} ({pixels} pixels)" for number, pixels in unknown[:5])
    return [f"The ground truth has ids without a name, which do not count: {ids}."]


def _table(results: Results) -> str:
    rows = [("", "frames", "mIoU", "to the first", "agreement", "frames/s", "work/frame")]
    for summary in results.summaries:
        rows.append(_row(summary))
    failures = [_failure(summary) for summary in results.summaries if summary.errors]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )  # fmt: skip
        for row in rows
    ]
    return "\n".join([*lines, *failures])


def _failure(summary: Summary) -> str:
    sentence, frames = summary.errors[0]
    name = f"{summary.method} {summary.corruption}".strip()
    return f"{name}: {summary.failed} with an error, most often ({frames}): {sentence}"


def _row(summary: Summary) -> tuple[str, ...]:
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
