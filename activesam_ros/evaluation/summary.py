"""Summarise the frames of a run, for each method, clean and with each corruption."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.identities import IdentityScores, score_identities
from activesam_ros.evaluation.metrics import (
    ActiveSetScores,
    ConfusionMatrix,
    Percentiles,
    active_set_scores,
    boundary_iou,
)
from activesam_ros.evaluation.records import FrameRecord, TruthScores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MOST_ERRORS = 20
"""So many different errors are listed; all are counted, and each is in the record of its frame."""


@dataclass(frozen=True)
class ClassScores:
    """One evaluated class over the frames with truth; shares are in 0..1, None where nothing is known.

    Attributes:
        name: in the vocabulary.
        iou: intersection over union; None if neither truth nor labels have the class.
        accuracy: share of its true pixels that are labelled right; None without true pixels.
        boundary_iou: of its outlines; None if neither has any, or if it was not measured.
        truth_pixels: with this truth.
        labelled_pixels: labelled so, among those whose truth counts.
    """

    name: str
    iou: float | None
    accuracy: float | None
    boundary_iou: float | None
    truth_pixels: int
    labelled_pixels: int


@dataclass(frozen=True)
class TruthSummary:
    """Labels against ground truth; shares are in 0..1, None where nothing is known.

    Attributes:
        mean_iou: mean IoU of the classes that truth or labels have.
        pixel_accuracy: share of the counted pixels that are labelled right.
        mean_accuracy: mean accuracy of the classes that the truth has.
        frequency_weighted_iou: mean IoU weighted by true pixels.
        boundary_iou: mean boundary IoU of the classes that truth or labels have.
        flicker: share of the pixels with the same truth as in the frame before that changed their label.
        pixels: number of pixels whose truth counts.
        counted_share: their share of all pixels of the frames that were compared with a truth.
        unknown: (id, pixels) of ids in the truth that it neither names nor ignores, the most frequent first.
        classes: of each evaluated class, in order.
        confusion: (true class, predicted class, pixels); the number of classes stands for pixels without a label or
            with a class that is not evaluated.
        active_set: how well the active set was chosen.
    """

    mean_iou: float | None
    pixel_accuracy: float | None
    mean_accuracy: float | None
    frequency_weighted_iou: float | None
    boundary_iou: float | None
    flicker: float | None
    pixels: int
    counted_share: float | None
    unknown: tuple[tuple[int, int], ...]
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, int, int], ...]
    active_set: ActiveSetScores


@dataclass(frozen=True)
class Decoded:
    """One class of the vocabulary in the active sets of the labelled frames.

    Attributes:
        class_id: in the vocabulary.
        frames: in which it was decoded.
        presence: mean over those frames.
        pixels: labelled with it in those frames.
    """

    class_id: int
    frames: int
    presence: float
    pixels: int


@dataclass(frozen=True)
class Comparison:
    """A method, or a corruption, against another over the frames that both have.

    Attributes:
        frames: that have a truth in both.
        mean_iou: difference of the mIoU over those frames; below 0: worse than the other.
        rate: frames a second as a multiple of the other's, over the frames that were timed in both.
        work: counted work as a multiple of the other's, over the frames where it was counted in both.
    """

    frames: int
    mean_iou: float | None
    rate: float | None
    work: float | None


@dataclass(frozen=True)
class Summary:
    """One method with one corruption; None where nothing is known.

    Attributes:
        method, corruption: as of the records.
        frames: number of records.
        labelled: those that were labelled.
        scored: those that were compared with a truth.
        failed: those with an error.
        errors: the most frequent errors and the number of frames of each.
        truth: against ground truth; None if no frame has any.
        identities: whether things keep their ids; None if no frame has true ids and found ones.
        agreement: mean share of pixels that have the label of the method that is the reference.
        active_size: number of decoded classes per frame.
        decoded: each class that was ever decoded, the most frequent first.
        latency: seconds from image to labels.
        timings: seconds per stage, over the frames that had it.
        rate: frames a second that the method can do: one divided by the mean of the stage "total".
        work: mean floating-point operations of a frame.
        work_split: the same per stage, over the frames whose work was split.
        peak_memory: bytes.
        against_first: against the first method with the same corruption; None for the first.
        against_clean: against the same method on clean images; None for those.
    """

    method: str
    corruption: str
    frames: int
    labelled: int
    scored: int
    failed: int
    errors: tuple[tuple[str, int], ...]
    truth: TruthSummary | None
    identities: IdentityScores | None
    agreement: float | None
    active_size: Percentiles | None
    decoded: tuple[Decoded, ...]
    latency: Percentiles | None
    timings: dict[str, Percentiles]
    rate: float | None
    work: float | None
    work_split: dict[str, float]
    peak_memory: int | None
    against_first: Comparison | None
    against_clean: Comparison | None


@dataclass(frozen=True)
class Robustness:
    """One method over all corruptions.

    Attributes:
        method: its name.
        mean_iou: mean of the mIoU with each corruption; None if one of them has none.
        fall: how much lower that is than the mIoU on clean images; None likewise.
    """

    method: str
    mean_iou: float | None
    fall: float | None


@dataclass(frozen=True)
class Results:
    """All figures of a run.

    Attributes:
        classes: names of the evaluated classes; empty without ground truth.
        methods: in order; others are compared with the first.
        corruptions: in order; "" is none.
        summaries: one of each method and corruption that has records, methods first.
        robustness: one of each method that was run with corruptions.
    """

    classes: tuple[str, ...]
    methods: tuple[str, ...]
    corruptions: tuple[str, ...]
    summaries: tuple[Summary, ...]
    robustness: tuple[Robustness, ...]

    def summary(self, method: str, corruption: str = "") -> Summary | None:
        """Return that of a method and a corruption; None if there is none."""
        wanted = (method, corruption)
        return next((each for each in self.summaries if (each.method, each.corruption) == wanted), None)


def summarise(
    records: Iterable[FrameRecord],
    classes: Sequence[str] = (),
    methods: Sequence[str] | None = None,
    corruptions: Sequence[str] | None = None,
) -> Results:
    """Compute the figures of a run.

    Args:
        records: in any order.
        classes: names of the evaluated classes, as of the matching; empty without ground truth.
        methods: that were asked for, in order; records of others are left out. None: those of the records.
        corruptions: likewise; "" is none.

    Raises:
        EvaluationError: a record was scored with another number of classes.
    """
    records = list(records)
    for record in records:
        if record.truth is not None and record.truth.classes != len(classes):
            raise EvaluationError(
                f"the record of frame {record.index} ({record.method}) was scored with {record.truth.classes} classes; "
                f"expected the {len(classes)} of this run, so begin it anew"
            )
    methods = tuple(dict.fromkeys(record.method for record in records) if methods is None else methods)
    if corruptions is None:
        found = {record.corruption for record in records}
        # By kind, then severity as a number.
        corruptions = sorted(found, key=lambda name: (name.partition(":")[0], len(name), name))
    groups: dict[tuple[str, str], dict[int, FrameRecord]] = {
        (method, corruption): {} for method in methods for corruption in corruptions
    }
    for record in records:
        if (record.method, record.corruption) in groups:
            groups[record.method, record.corruption][record.index] = record
    summaries = tuple(
        _summary(
            method,
            corruption,
            frames,
            classes,
            first=groups.get((methods[0], corruption)) if method != methods[0] else None,
            clean=groups.get((method, "")) if corruption else None,
        )
        for (method, corruption), frames in groups.items()
        if frames
    )
    robustness = (_robustness(method, corruptions, summaries) for method in methods)
    known = tuple(each for each in robustness if each is not None)
    return Results(tuple(classes), methods, tuple(corruptions), summaries, known)


def frame_scores(truth: TruthScores) -> tuple[float | None, float | None, float | None]:
    """mIoU, pixel accuracy and mean boundary IoU of a single frame, each over the classes that it has."""
    matrix = truth.matrix
    boundary = [intersection / union for _, intersection, union in truth.boundary]
    return _known(matrix.mean_iou), _known(matrix.pixel_accuracy), _mean(boundary)


Frames = dict[int, FrameRecord]
T = TypeVar("T")


def _summary(
    method: str,
    corruption: str,
    frames: Frames,
    classes: Sequence[str],
    first: Frames | None,
    clean: Frames | None,
) -> Summary:
    records = [frames[index] for index in sorted(frames)]
    labelled = [record for record in records if record.unlabeled is not None]
    scored = [record for record in records if record.truth is not None]
    identified = [record.identities for record in records if record.identities is not None]
    errors = Counter(record.error for record in records if record.error is not None)
    stages = dict.fromkeys(stage for record in labelled for stage in record.timings)
    parts = dict.fromkeys(part for record in labelled for part in record.work_split)
    timings = {
        stage: Percentiles.of(record.timings[stage] for record in labelled if stage in record.timings)
        for stage in stages
    }
    peaks = [record.peak_memory for record in records if record.peak_memory is not None]
    split = [record.work_split for record in labelled if record.work_split]
    return Summary(
        method=method,
        corruption=corruption,
        frames=len(records),
        labelled=len(labelled),
        scored=len(scored),
        failed=errors.total(),
        errors=tuple(errors.most_common(MOST_ERRORS)),
        truth=_against_truth(scored, classes) if scored else None,
        identities=score_identities(identified) if any(one.things for one in identified) else None,
        agreement=_mean(record.agreement for record in labelled),
        active_size=Percentiles.of(len(record.active) for record in labelled if record.active is not None),
        decoded=_decoded(labelled),
        latency=Percentiles.of(record.latency for record in labelled if record.latency is not None),
        timings={stage: seconds for stage, seconds in timings.items() if seconds is not None},
        rate=_rate(labelled),
        work=_mean(record.work for record in labelled),
        # A stage that a frame did not need cost it nothing.
        work_split={part: math.fsum(each.get(part, 0) for each in split) / len(split) for part in parts},
        peak_memory=max(peaks, default=None),
        against_first=None if first is None else _comparison(frames, first),
        against_clean=None if clean is None else _comparison(frames, clean),
    )


def _against_truth(records: Sequence[FrameRecord], classes: Sequence[str]) -> TruthSummary:
    scored = [record.truth for record in records if record.truth is not None]
    size = sum((record.width or 0) * (record.height or 0) for record in records)
    unknown: Counter[int] = Counter()
    matrix = _matrix(scored)
    intersection, union = np.zeros((2, len(classes)), np.int64)
    for scores in scored:
        unknown.update(dict(scores.unknown))
        for index, both, either in scores.boundary:
            intersection[index] += both
            union[index] += either
    outlines = boundary_iou(intersection, union)
    compared = [scores for scores in scored if scores.compared and scores.changed is not None]
    true, labelled = matrix.counts.sum(axis=1), matrix.counts.sum(axis=0)
    iou, accuracy = matrix.iou, matrix.accuracy
    return TruthSummary(
        mean_iou=_known(matrix.mean_iou),
        pixel_accuracy=_known(matrix.pixel_accuracy),
        mean_accuracy=_known(matrix.mean_accuracy),
        frequency_weighted_iou=_known(matrix.frequency_weighted_iou),
        boundary_iou=float(np.nanmean(outlines)) if union.any() else None,
        flicker=(
            sum(scores.changed or 0 for scores in compared) / sum(scores.compared or 0 for scores in compared)
            if compared
            else None
        ),
        pixels=int(true.sum()),
        counted_share=int(true.sum()) / size if size else None,
        unknown=tuple(unknown.most_common()),
        classes=tuple(
            ClassScores(
                name,
                _known(iou[index]),
                _known(accuracy[index]),
                _known(outlines[index]),
                int(true[index]),
                int(labelled[index]),
            )
            for index, name in enumerate(classes)
        ),
        confusion=matrix.triples(),
        active_set=active_set_scores(scored),
    )


def _matrix(scored: Sequence[TruthScores]) -> ConfusionMatrix:
    return ConfusionMatrix.from_triples(
        scored[0].classes, [triple for scores in scored for triple in scores.confusion]
    )


def _decoded(labelled: Sequence[FrameRecord]) -> tuple[Decoded, ...]:
    found: dict[int, list[tuple[float, int]]] = {}
    for record in labelled:
        for class_id, presence, pixels in zip(
            record.active or (), record.presence, record.pixels, strict=True
        ):
            found.setdefault(class_id, []).append((presence, pixels))
    decoded = (
        Decoded(
            class_id,
            len(frames),
            math.fsum(presence for presence, _ in frames) / len(frames),
            sum(pixels for _, pixels in frames),
        )
        for class_id, frames in found.items()
    )
    return tuple(sorted(decoded, key=lambda each: (-each.frames, -each.pixels, each.class_id)))


def _comparison(frames: Frames, other: Frames) -> Comparison:
    pairs = [(record, other[index]) for index, record in sorted(frames.items()) if index in other]
    ours, theirs = _both(pairs, lambda record: record.truth)
    timed, their_timed = _both(pairs, lambda record: record.timings.get("total"))
    worked, their_worked = _both(pairs, lambda record: record.work)
    difference = _matrix(ours).mean_iou - _matrix(theirs).mean_iou if ours else math.nan
    return Comparison(
        frames=len(ours),
        mean_iou=_known(difference),
        rate=_ratio(their_timed, timed),
        work=_ratio(worked, their_worked),
    )


def _both(
    pairs: Sequence[tuple[FrameRecord, FrameRecord]], value: Callable[[FrameRecord], T | None]
) -> tuple[list[T], list[T]]:
    """Return the values of those pairs of records that both have one."""
    ours, theirs = [], []
    for one, other in pairs:
        mine, its = value(one), value(other)
        if mine is not None and its is not None:
            ours.append(mine)
            theirs.append(its)
    return ours, theirs


def _ratio(above: Sequence[float], below: Sequence[float]) -> float | None:
    total = math.fsum(below)
    return math.fsum(above) / total if total else None


def _rate(labelled: Sequence[FrameRecord]) -> float | None:
    seconds = [record.timings["total"] for record in labelled if "total" in record.timings]
    return len(seconds) / math.fsum(seconds) if math.fsum(seconds) else None


def _robustness(method: str, corruptions: Sequence[str], summaries: Sequence[Summary]) -> Robustness | None:
    found = {each.corruption: each.truth for each in summaries if each.method == method}
    corrupted = [found.get(corruption) for corruption in corruptions if corruption]
    if not any(corrupted):
        return None
    ious = [truth.mean_iou for truth in corrupted if truth is not None and truth.mean_iou is not None]
    mean = math.fsum(ious) / len(ious) if len(ious) == len(corrupted) else None
    clean = found.get("")
    if mean is None or clean is None or clean.mean_iou is None:
        return Robustness(method, mean, None)
    return Robustness(method, mean, clean.mean_iou - mean)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
