"""Which plots the page has, made from the figures of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from activesam_ros.evaluation.report import plots, wording
from activesam_ros.evaluation.report.answers import EVERY_CLASS, NO_CLASS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activesam_ros.evaluation.records import FrameRecord
    from activesam_ros.evaluation.summary import Results, Summary, TruthSummary

MOST_BARS = 40
MOST_CONFUSED = 24

_STAGES = ("prepare", "preview", "encode", "decode", "fuse")


def methods(summaries: Sequence[Summary]) -> bytes | None:
    """mIoU, or agreement without truth, speed and work of every method; None if there is one method only."""
    if len(summaries) < 2:
        return None
    score = [one.truth.mean_iou if one.truth else None for one in summaries]
    title = "mIoU, %"
    if all(value is None for value in score):
        score, title = [one.agreement for one in summaries], "same label as full-vocabulary, % of pixels"
    groups = [
        plots.Bars(title, _percent(score), [wording.percent(value) for value in score]),
        plots.Bars(
            "frames a second", [one.rate for one in summaries], [wording.rate(one.rate) for one in summaries]
        ),
        plots.Bars(
            "work a frame", [one.work for one in summaries], [wording.work(one.work) for one in summaries]
        ),
    ]
    shown = [group for group in groups if any(value is not None for value in group.values)]
    return plots.methods([one.method for one in summaries], shown) if shown else None


def class_bars(results: Results, summary: Summary) -> bytes:
    """IoU of each class, the weakest first, beside a method that decodes every class if there is one."""
    truth = summary.truth
    order = sorted(
        (index for index, one in enumerate(truth.classes) if one.iou is not None),
        key=lambda index: truth.classes[index].iou,
    )[:MOST_BARS]
    other = next((found for name in EVERY_CLASS if (found := results.summary(name)) and found.truth), None)
    if other is summary:
        other = None
    return plots.class_bars(
        [truth.classes[index].name for index in order],
        [truth.classes[index].iou for index in order],
        summary.method,
        None if other is None else [other.truth.classes[index].iou for index in order],
        "" if other is None else other.method,
    )


def confusion(truth: TruthSummary, names: Sequence[str]) -> bytes:
    """The confusion matrix in shares of each true class; of many classes those with the most wrong pixels."""
    size = len(names)
    counts = np.zeros((size, size + 1))
    for true, label, pixels in truth.confusion:
        counts[true, label] = pixels
    hit = np.diagonal(counts)
    wrong = counts.sum(axis=1) - hit + counts[:, :-1].sum(axis=0) - hit
    seen = [index for index in range(size) if counts[index].any() or counts[:, index].any()]
    chosen = sorted(sorted(seen, key=lambda index: -wrong[index])[:MOST_CONFUSED])
    columns = [names[index] for index in chosen]
    kept = counts[np.ix_(chosen, chosen)]
    if len(chosen) < len(seen):
        rest = counts[chosen][:, [index for index in seen if index not in chosen]].sum(axis=1, keepdims=True)
        kept = np.hstack([kept, rest])
        columns.append("other classes")
    kept = np.hstack([kept, counts[chosen, size:]])
    total = counts[chosen].sum(axis=1, keepdims=True)
    shares = np.divide(kept, total, out=np.full(kept.shape, np.nan), where=total > 0)
    return plots.confusion([names[index] for index in chosen], shares, [*columns, NO_CLASS])


def activity(records: Sequence[FrameRecord]) -> bytes | None:
    """Size of the active set and its recall over time; None if it is not known what was decoded."""
    records = [record for record in records if record.active is not None]
    if not records:
        return None
    scored = any(record.truth is not None for record in records)
    return plots.activity(
        _seconds(records),
        [len(record.active) for record in records],
        [len(record.truth.present) if record.truth else None for record in records] if scored else None,
        [_recall(record) for record in records] if scored else None,
    )


def latency(records: Sequence[FrameRecord]) -> bytes | None:
    """Time a frame, over time and as a distribution; None if nothing was timed."""
    timed = [record for record in records if "total" in record.timings]
    if not timed:
        return None
    return plots.latency(
        _seconds(timed),
        [1000 * record.timings["total"] for record in timed],
        f"{timed[0].method}, time a frame",
    )


def stages(summaries: Sequence[Summary]) -> bytes | None:
    """Where the time of each method goes; None if no stage was timed."""
    known = [stage for stage in _STAGES if any(stage in one.timings for one in summaries)]
    if not known:
        return None
    return plots.stages([one.method for one in summaries], {stage: [_mean(one, stage) for one in summaries]
                                                           for stage in known})  # fmt: skip


def robustness(results: Results, methods: Sequence[str]) -> bytes | None:
    """mIoU, or agreement without truth, under every corruption; None if no corruption has any."""
    with_truth = any(one.truth for one in results.summaries)

    def score(method: str, corruption: str) -> float | None:
        one = results.summary(method, corruption)
        value = (
            None
            if one is None
            else one.truth.mean_iou
            if one.truth
            else None
            if with_truth
            else one.agreement
        )
        return None if value is None else 100 * value

    lines = []
    for method in methods:
        scores = {}
        for corruption in filter(None, results.corruptions):
            kind, _, severity = corruption.partition(":")
            scores[kind, int(severity or 0)] = score(method, corruption)
        if any(value is not None for value in scores.values()):
            lines.append(plots.Degradation(method, score(method, ""), scores))
    return plots.robustness(lines, "mIoU, %" if with_truth else "agreement, %") if lines else None


def _recall(record: FrameRecord) -> float | None:
    truth = record.truth
    if truth is None or truth.active is None or not truth.present:
        return None
    return 1 - len(truth.missed) / len(truth.present)


def _seconds(records: Sequence[FrameRecord]) -> list[float]:
    first = min(record.stamp for record in records)
    return [(record.stamp - first) / 1e9 for record in records]


def _mean(summary: Summary, stage: str) -> float | None:
    return 1000 * summary.timings[stage].mean if stage in summary.timings else None


def _percent(shares: Sequence[float | None]) -> list[float | None]:
    return [None if share is None else 100 * share for share in shares]
