"""From the labels of one frame and its ground truth to a record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from activesam_ros.evaluation.boundary import boundary_counts
from activesam_ros.evaluation.confusion import ConfusionMatrix
from activesam_ros.evaluation.flicker import flicker_counts
from activesam_ros.evaluation.records import FrameRecord, TruthScores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activesam_ros.datasets.class_map import ClassMatching
    from activesam_ros.datasets.samples import Sample
    from activesam_ros.results import ActiveClass, SegmentationResult


@dataclass(frozen=True, eq=False)
class Answer:
    """The part of a `SegmentationResult` that is judged, for labels that come from elsewhere.

    Attributes:
        labels: class ids, uint8 or uint16 [H, W].
        unlabeled_id: value of the pixels without a class.
        active: the decoded classes, in vocabulary order; None: not known.
        timings: seconds per stage.
    """

    labels: np.ndarray
    unlabeled_id: int
    active: Sequence[ActiveClass] | None = None
    timings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class FrameBefore:
    """What flicker is measured against: truth and labels of the frame before, as published, integers [H, W]."""

    truth: np.ndarray | None
    labels: np.ndarray


@dataclass(frozen=True)
class Cost:
    """What the labels of a frame cost; see `FrameRecord`."""

    latency: float | None = None
    work: float | None = None
    work_split: Mapping[str, float] = field(default_factory=dict)
    peak_memory: int | None = None


NO_COST = Cost()


class FrameJudge:
    """Scores frames against their ground truth, all with the same vocabulary."""

    def __init__(self, matching: ClassMatching | None, boundary: bool = True) -> None:
        """Args:
        matching: between the classes of the truth and of the vocabulary; None: there is no truth.
        boundary: whether to measure boundary IoU.
        """
        self._matching = matching
        self._boundary = boundary

    def judge(
        self,
        sample: Sample,
        answer: SegmentationResult | Answer,
        previous: FrameBefore | None = None,
        *,
        method: str,
        corruption: str = "",
        reference: np.ndarray | None = None,
        cost: Cost = NO_COST,
    ) -> FrameRecord:
        """The record of a frame that was labelled.

        Args:
            sample: the frame; its error, if it has one, goes into the record.
            answer: what was said of it.
            previous: the frame before, labelled by the same method with the same corruption; None: there is none, or
                it failed.
            method, corruption: see `FrameRecord`.
            reference: labels of another method, [H, W], for the agreement; None: there is none.
            cost: what the labels cost.

        Raises:
            ValueError: the labels differ in size from the truth or the reference.
        """
        labels = answer.labels
        height, width = labels.shape
        pixels = np.bincount(labels.ravel(), minlength=answer.unlabeled_id + 1)
        active = answer.active
        return FrameRecord(
            index=sample.index,
            stamp=sample.stamp,
            method=method,
            corruption=corruption,
            error=sample.error,
            width=width,
            height=height,
            active=None if active is None else tuple(each.class_id for each in active),
            presence=tuple(float(each.presence) for each in active or ()),
            pixels=tuple(int(pixels[each.class_id]) for each in active or ()),
            unlabeled=int(pixels[answer.unlabeled_id]),
            truth=self._score(sample.truth, answer, previous),
            agreement=None if reference is None else _agreement(labels, reference),
            timings={stage: float(seconds) for stage, seconds in answer.timings.items()},
            latency=cost.latency,
            work=cost.work,
            work_split=dict(cost.work_split),
            peak_memory=cost.peak_memory,
        )

    def failed(self, sample: Sample, error: str, *, method: str, corruption: str = "") -> FrameRecord:
        """The record of a frame that could not be labelled.

        Args:
            sample: the frame.
            error: why, in one sentence.
            method, corruption: see `FrameRecord`.
        """
        height, width = (None, None) if sample.rgb is None else sample.rgb.shape[:2]
        return FrameRecord(sample.index, sample.stamp, method, corruption, error, width, height)

    def _score(
        self, truth: np.ndarray | None, answer: SegmentationResult | Answer, previous: FrameBefore | None
    ) -> TruthScores | None:
        matching = self._matching
        if matching is None or truth is None:
            return None
        classes = len(matching.classes)
        true = matching.truth_of(truth)
        predicted = matching.labels_of(answer.labels, answer.unlabeled_id)
        matrix = ConfusionMatrix(classes)
        matrix.add(true, predicted)
        changed = compared = None
        if previous is not None and previous.truth is not None and previous.truth.shape == truth.shape:
            changed, compared = flicker_counts(
                matching.truth_of(previous.truth), true, previous.labels, answer.labels
            )
        return TruthScores(
            classes=classes,
            active=None if answer.active is None else _evaluated(answer.active, matching),
            confusion=matrix.triples(),
            boundary=boundary_counts(true, predicted, classes) if self._boundary else (),
            changed=changed,
            compared=compared,
            unknown=tuple(sorted(matching.unknown_ids(truth).items())),
        )


def _evaluated(active: Sequence[ActiveClass], matching: ClassMatching) -> tuple[int, ...]:
    ids = (each.class_id for each in active)
    return tuple(sorted({matching.label_index[number] for number in ids if number in matching.label_index}))


def _agreement(labels: np.ndarray, reference: np.ndarray) -> float:
    if labels.shape != reference.shape:
        raise ValueError(
            f"the labels are {labels.shape} and the reference {reference.shape}; expected one size"
        )
    return float(np.mean(labels == reference))
