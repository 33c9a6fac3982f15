"""What the tables of the page say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activesam_ros.evaluation.report import wording
from activesam_ros.evaluation.report.answers import NO_CLASS, confused, counted_classes, shown_mean_iou
from activesam_ros.evaluation.report.table import Table
from activesam_ros.evaluation.report.wording import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activesam_ros.evaluation.summary import Results, Summary, TruthSummary

_MOST_PAIRS = 10
_MOST_DECODED = 15
_STAGES = ("prepare", "preview", "encode", "decode", "fuse", "total")


def methods(summaries: Sequence[Summary]) -> Table:
    """One row a method, on clean images; differences are to the first row."""
    rows = []
    for one in summaries:
        truth, against = one.truth, one.against_first
        rows.append(
            (
                one.method,
                wording.percent(truth.mean_iou if truth else None),
                wording.points(against.mean_iou) if against else UNKNOWN,
                str(counted_classes(truth)) if truth else UNKNOWN,
                wording.percent(shown_mean_iou(truth) if truth else None),
                wording.rate(one.rate),
                wording.factor(against.rate) if against else UNKNOWN,
                wording.work(one.work),
                wording.factor(against.work) if against else UNKNOWN,
                wording.count(one.active_size.mean if one.active_size else None),
                wording.percent(truth.pixel_accuracy if truth else None),
                wording.percent(truth.boundary_iou if truth else None),
                wording.percent(truth.flicker if truth else None, 2),
                wording.percent(one.agreement),
                f"{one.labelled} of {one.frames}",
            )
        )
    return Table(
        (
            "method",
            "mIoU",
            "points",
            "classes in the mIoU",
            "mIoU of the classes shown",
            "frames a second",
            "×",
            "work a frame",
            "×",
            "classes decoded",
            "pixels right",
            "boundary IoU",
            "flicker",
            "agreement",
            "frames labelled",
        ),
        tuple(rows),
        "Points and × compare with the first row, over the frames that both methods labelled. Work is counted "
        "floating-point operations; classes decoded are a mean per frame."
        + (
            " A class that labels have and the truth never shows counts as 0 in the mIoU, so methods may differ in "
            "their number; “mIoU of the classes shown” is over those of the truth alone."
            " Flicker is the share of pixels whose label changes from one frame to the next though the truth does not."
            if any(one.truth for one in summaries)
            else ""
        )
        + (
            " Agreement is the share of pixels with the label that full-vocabulary gives."
            if any(one.agreement is not None for one in summaries)
            else ""
        ),
        strong=0,
    ).without_empty_columns(UNKNOWN)


def classes(truth: TruthSummary) -> Table:
    """One row a class, the weakest first; those that are nowhere last."""
    order = sorted(truth.classes, key=lambda one: (one.iou is None, one.iou or 0.0))
    recalls = {truth.classes[one.index].name: one for one in truth.active_set.classes}
    return Table(
        (
            "class",
            "IoU",
            "pixels right",
            "boundary IoU",
            "share of the truth",
            "images with it",
            "decoded in",
        ),
        tuple(
            (
                one.name,
                wording.percent(one.iou),
                wording.percent(one.accuracy),
                wording.percent(one.boundary_iou),
                wording.percent(one.truth_pixels / truth.pixels if truth.pixels else None, 2),
                str(recalls[one.name].present) if one.name in recalls else UNKNOWN,
                str(recalls[one.name].present - recalls[one.name].missed) if one.name in recalls else UNKNOWN,
            )
            for one in order
        ),
    ).without_empty_columns(UNKNOWN)


def confusions(truth: TruthSummary, names: Sequence[str]) -> Table:
    """Which class is labelled as which other, the largest share of a class first."""
    pairs = confused(truth, names)[:_MOST_PAIRS]
    return Table(
        ("truth", "labelled as", "of the class's pixels", "of all pixels"),
        tuple(
            (pair.truth, pair.label, wording.percent(pair.of_class), wording.percent(pair.of_all, 2))
            for pair in pairs
        ),
        f"“{NO_CLASS}”: no label, or a word that the truth does not have."
        if any(pair.label == NO_CLASS for pair in pairs)
        else "",
    )


def missed(truth: TruthSummary, names: Sequence[str]) -> Table:
    """The classes that stage 1 missed, the one that lost most pixels first."""
    return Table(
        ("class", "images with it", "missed in", "recall", "pixels lost, of all"),
        tuple(
            (
                names[one.index],
                str(one.present),
                str(one.missed),
                wording.percent(one.recall),
                wording.percent(one.lost_pixels / truth.pixels, 2),
            )
            for one in truth.active_set.classes
            if one.missed
        )[:_MOST_DECODED],
    )


def decoded(summary: Summary, names: dict[int, str], pixels: int) -> Table:
    """The classes that were decoded most often.

    Args:
        summary: of a method.
        names: of the ids.
        pixels: of all labelled frames.
    """
    return Table(
        ("class", "decoded in, of the images", "mean presence", "labelled pixels, of all"),
        tuple(
            (
                names.get(one.class_id, str(one.class_id)),
                wording.percent(one.frames / summary.labelled, 0),
                f"{one.presence:.2f}",
                wording.percent(one.pixels / pixels if pixels else None, 2),
            )
            for one in summary.decoded[:_MOST_DECODED]
        ),
    )


def stages(summary: Summary) -> Table:
    """Percentiles of the time of every stage of one method."""
    known = [stage for stage in _STAGES if stage in summary.timings]
    known += [stage for stage in summary.timings if stage not in _STAGES]
    spreads = [(stage, summary.timings[stage]) for stage in known]
    if summary.latency is not None:
        spreads.append(("image to labels", summary.latency))
    return Table(
        ("stage", "mean", "median", "90 %", "95 %", "99 %", "slowest"),
        tuple(
            (
                stage,
                *(
                    wording.milliseconds(value)
                    for value in (spread.mean, spread.p50, spread.p90, spread.p95, spread.p99, spread.most)
                ),
            )
            for stage, spread in spreads
        ),
        "In 95 % of the images a stage took no longer than the figure under “95 %”.",
    )


def robustness(results: Results, methods: Sequence[str]) -> Table:
    """One row a corruption and method, one column a severity: mIoU, or agreement where there is no truth."""
    kinds = dict.fromkeys(name.partition(":")[0] for name in results.corruptions if name)
    severities = sorted({name.partition(":")[2] for name in results.corruptions if name})
    with_truth = any(one.truth for one in results.summaries)
    means = {one.method: one for one in results.robustness if one.mean_iou is not None}

    def score(method: str, corruption: str) -> float | None:
        one = results.summary(method, corruption)
        if one is None or not with_truth:
            return None if one is None else one.agreement
        return one.truth.mean_iou if one.truth else None

    rows = []
    for method in methods:
        suffix = f", {method}" if len(methods) > 1 else ""
        clean = score(method, "")
        for kind in kinds:
            scores = [score(method, f"{kind}:{severity}") for severity in severities]
            known = [value for value in scores if value is not None]
            mean = sum(known) / len(known) if known else None
            fall = None if mean is None or clean is None else mean - clean
            rows.append((wording.corruption(kind) + suffix, *map(wording.percent, (clean, *scores, mean)),
                         wording.points(fall)))  # fmt: skip
        if with_truth and method in means:
            one = means[method]
            fall = None if one.fall is None else -one.fall
            rows.append((f"mean of all{suffix}", wording.percent(clean), *[UNKNOWN] * len(severities),
                         wording.percent(one.mean_iou), wording.points(fall)))  # fmt: skip
    table = Table(
        ("images", "clean", *(f"severity {severity}" for severity in severities), "mean", "points to clean"),
        tuple(rows),
        "All figures are mIoU."
        if with_truth
        else "Agreement: share of pixels with the label that full-vocabulary gives clean images.",
    )
    return table.without_empty_columns(UNKNOWN)


def errors(results: Results) -> Table:
    """What went wrong, in how many frames, and where."""
    found: dict[str, dict[str, int]] = {}
    for one in results.summaries:
        where = f"{one.method}, {wording.corruption(one.corruption)}" if one.corruption else one.method
        for sentence, number in one.errors:
            found.setdefault(sentence, {})[where] = number
    return Table(
        ("what", "frames", "with"),
        tuple(
            (
                sentence,
                str(max(numbers.values())),
                "every method"
                if len(numbers) == len(results.summaries)
                else wording.listed(list(numbers), most=4),
            )
            for sentence, numbers in found.items()
        ),
    )
