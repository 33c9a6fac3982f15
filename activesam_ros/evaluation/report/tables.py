"""Make the tables of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from activesam_ros.evaluation.report import findings, formatting
from activesam_ros.evaluation.report.findings import NO_CLASS, score_of
from activesam_ros.evaluation.report.formatting import UNKNOWN, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activesam_ros.evaluation.summary import Results, Summary, TruthSummary

_MAX_PAIRS = 10
_MAX_DECODED = 15
_STAGES = ("prepare", "preview", "encode", "decode", "fuse", "total")

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Table:
    """A table of formatted cells; the first column names the rows, and the row `strong` stands out."""

    head: tuple[str, ...]
    rows: Rows
    note: str = ""
    strong: int | None = None

    def without_empty_columns(self) -> Table:
        """Return the table without the columns in which every cell is unknown."""
        kept = [
            column
            for column in range(len(self.head))
            if column == 0 or any(row[column] != UNKNOWN for row in self.rows)
        ]
        head = tuple(self.head[column] for column in kept)
        return Table(
            head, tuple(tuple(row[column] for column in kept) for row in self.rows), self.note, self.strong
        )


def methods(summaries: Sequence[Summary]) -> Table:
    """Make a row per method on clean images; differences are to the first row."""
    rows = []
    for one in summaries:
        truth, against = one.truth, one.against_first
        cells = {
            "method": one.method,
            "mIoU": percent(truth.mean_iou if truth else None),
            "points": formatting.points(against.mean_iou if against else None),
            "classes in the mIoU": str(findings.counted_classes(truth)) if truth else UNKNOWN,
            "mIoU of the classes shown": percent(findings.shown_mean_iou(truth) if truth else None),
            "frames a second": formatting.rate(one.rate),
            "× the rate": formatting.factor(against.rate if against else None),
            "work a frame": formatting.work(one.work),
            "× the work": formatting.factor(against.work if against else None),
            "classes decoded": formatting.count(one.active_size.mean if one.active_size else None),
            "pixels right": percent(truth.pixel_accuracy if truth else None),
            "boundary IoU": percent(truth.boundary_iou if truth else None),
            "flicker": percent(truth.flicker if truth else None, 2),
            "agreement": percent(one.agreement),
            "frames labelled": f"{one.labelled} of {one.frames}",
        }
        head = tuple("×" if name.startswith("×") else name for name in cells)
        rows.append(tuple(cells.values()))
    note = (
        "Points and × compare with the first row, over the frames that both methods labelled. Work is counted "
        "floating-point operations; classes decoded are a mean per frame."
    )
    if any(one.truth for one in summaries):
        note += (
            " A class that labels have and the truth never shows counts as 0 in the mIoU, so methods may differ in "
            "their number; “mIoU of the classes shown” is over those of the truth alone."
            " Flicker is the share of pixels whose label changes from one frame to the next though the truth does not."
        )
    if any(one.agreement is not None for one in summaries):
        note += " Agreement is the share of pixels with the label that full-vocabulary gives."
    return Table(head if rows else (), tuple(rows), note, strong=0).without_empty_columns()


def classes(truth: TruthSummary) -> Table:
    """Make a row per class, weakest first; those in neither truth nor labels last."""
    active_set = {truth.classes[one.index].name: one for one in truth.active_set.classes}
    rows = []
    for one in sorted(truth.classes, key=lambda one: (one.iou is None, one.iou or 0.0)):
        share = one.truth_pixels / truth.pixels if truth.pixels else None
        found = active_set.get(one.name)
        images = (str(found.present), str(found.present - found.missed)) if found else (UNKNOWN, UNKNOWN)
        scores = (percent(one.iou), percent(one.accuracy), percent(one.boundary_iou))
        rows.append((one.name, *scores, percent(share, 2), *images))
    head = (
        "class",
        "IoU",
        "pixels right",
        "boundary IoU",
        "share of the truth",
        "images with it",
        "decoded in",
    )
    return Table(head, tuple(rows)).without_empty_columns()


def identities(summaries: Sequence[Summary]) -> Table:
    """Make a row per method: whether things keep their ids on clean images."""
    rows = (
        (
            one.method,
            f"{one.identities.idf1:.3f}",
            str(one.identities.switches),
            percent(one.identities.found),
            str(one.identities.identities),
            str(one.identities.things),
        )
        for one in summaries
        if one.identities is not None
    )
    note = (
        "ID F1: share of true and found things whose ids agree, under the best assignment of ids to things. A switch: "
        "a thing was found under another id than the last time. Found: with an overlap of at least 0.5 with an "
        "instance of its class, whatever the id. Counted by motmetrics."
    )
    return Table(
        ("method", "ID F1", "switches", "found", "different things", "things in all frames"),
        tuple(rows),
        note,
    )


def confusions(truth: TruthSummary, names: Sequence[str]) -> Table:
    """Make a row per pair of a true class and another label, the largest share of a class first."""
    pairs = findings.confusions(truth, names)[:_MAX_PAIRS]
    rows = ((pair.truth, pair.label, percent(pair.of_class), percent(pair.of_all, 2)) for pair in pairs)
    note = f"“{NO_CLASS}”: no label, or a class that the truth does not have."
    return Table(
        ("truth", "labelled as", "of the class's pixels", "of all pixels"),
        tuple(rows),
        note if any(pair.label == NO_CLASS for pair in pairs) else "",
    )


def missed(truth: TruthSummary, names: Sequence[str]) -> Table:
    """Make a row per class that stage 1 missed, the most lost pixels first."""
    found = [one for one in truth.active_set.classes if one.missed][:_MAX_DECODED]
    return Table(
        ("class", "images with it", "missed in", "recall", "pixels lost, of all"),
        tuple(
            (
                names[one.index],
                str(one.present),
                str(one.missed),
                percent(one.recall),
                percent(one.lost_pixels / truth.pixels, 2),
            )
            for one in found
        ),
    )


def decoded(summary: Summary, names: Mapping[int, str], pixels: int) -> Table:
    """Make a row per class that was decoded most often; `pixels`: of all labelled frames."""
    return Table(
        ("class", "decoded in, of the images", "mean presence", "labelled pixels, of all"),
        tuple(
            (
                names.get(one.class_id, str(one.class_id)),
                percent(one.frames / summary.labelled, 0),
                f"{one.presence:.2f}",
                percent(one.pixels / pixels if pixels else None, 2),
            )
            for one in summary.decoded[:_MAX_DECODED]
        ),
    )


def stages(summary: Summary) -> Table:
    """Make a row of percentiles per timed stage of one method."""
    known = [stage for stage in _STAGES if stage in summary.timings]
    known += [stage for stage in summary.timings if stage not in _STAGES]
    spreads = [(stage, summary.timings[stage]) for stage in known]
    if summary.latency is not None:
        spreads.append(("image to labels", summary.latency))
    rows = (
        (stage, *map(formatting.milliseconds, (one.mean, one.p50, one.p90, one.p95, one.p99, one.most)))
        for stage, one in spreads
    )
    return Table(
        ("stage", "mean", "median", "90 %", "95 %", "99 %", "slowest"),
        tuple(rows),
        "In 95 % of the images a stage took no longer than the figure under “95 %”.",
    )


def robustness(results: Results, methods: Sequence[str]) -> Table:
    """Make a row per corruption and method, a column per severity: mIoU, or agreement without ground truth."""
    kinds = dict.fromkeys(name.partition(":")[0] for name in results.corruptions if name)
    severities = sorted({name.partition(":")[2] for name in results.corruptions if name})
    with_truth = any(one.truth for one in results.summaries)
    means = {one.method: one for one in results.robustness if one.mean_iou is not None}
    rows = []
    for method in methods:
        suffix = f", {method}" if len(methods) > 1 else ""
        clean = score_of(results, method, "")
        for kind in kinds:
            scores = [score_of(results, method, f"{kind}:{severity}") for severity in severities]
            known = [value for value in scores if value is not None]
            mean = sum(known) / len(known) if known else None
            change = None if mean is None or clean is None else mean - clean
            rows.append((formatting.corruption(kind) + suffix, *map(percent, (clean, *scores, mean)),
                         formatting.points(change)))  # fmt: skip
        if with_truth and method in means:
            one = means[method]
            change = None if one.fall is None else -one.fall
            rows.append((f"mean of all{suffix}", percent(clean), *[UNKNOWN] * len(severities),
                         percent(one.mean_iou), formatting.points(change)))  # fmt: skip
    note = "Agreement: share of pixels with the label that full-vocabulary gives clean images."
    return Table(
        ("images", "clean", *(f"severity {severity}" for severity in severities), "mean", "points to clean"),
        tuple(rows),
        "All figures are mIoU." if with_truth else note,
    ).without_empty_columns()


def errors(results: Results) -> Table:
    """Make a row per error sentence, with the number of frames and the methods."""
    found: dict[str, dict[str, int]] = {}
    for one in results.summaries:
        where = f"{one.method}, {formatting.corruption(one.corruption)}" if one.corruption else one.method
        for sentence, number in one.errors:
            found.setdefault(sentence, {})[where] = number
    rows = []
    for sentence, numbers in found.items():
        everywhere = len(numbers) == len(results.summaries)
        methods = "every method" if everywhere else formatting.listed(list(numbers), most=4)
        rows.append((sentence, str(max(numbers.values())), methods))
    return Table(("what", "frames", "with"), tuple(rows))
