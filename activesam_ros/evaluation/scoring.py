"""Score the labels of one frame against its ground truth."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from activesam_ros.datasets.class_map import NOT_COUNTED
from activesam_ros.datasets.samples import ids_of
from activesam_ros.errors import ImageError
from activesam_ros.evaluation.identities import FrameIdentities, compare_identities
from activesam_ros.evaluation.metrics import ConfusionMatrix, boundary_counts, flicker_counts
from activesam_ros.evaluation.records import FrameRecord, TruthScores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activesam_ros.datasets.class_map import ClassMatching
    from activesam_ros.datasets.samples import Sample
    from activesam_ros.results import ActiveClass, SegmentationResult


# More than are played while an image is on its way.
_MOST_TRUTHS = 64


@dataclass(frozen=True, eq=False)
class FrameLabels:
    """The part of a `SegmentationResult` that is scored, for labels that come from elsewhere.

    Attributes:
        labels: class ids, uint8 or uint16 [H, W].
        unlabeled_id: value of the pixels without a class.
        active: the decoded classes, in vocabulary order; None: not known.
        timings: seconds per stage.
        instance_ids: of the things that were found, uint8 or uint16 [H, W], 0: none; None: not known.
    """

    labels: np.ndarray
    unlabeled_id: int
    active: Sequence[ActiveClass] | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    instance_ids: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class PreviousFrame:
    """Truth and labels of the frame before, as published, integers [H, W]; flicker is measured against them."""

    truth: np.ndarray | None
    labels: np.ndarray


@dataclass(frozen=True)
class FrameCost:
    """What the labels of a frame cost; see `FrameRecord`."""

    latency: float | None = None
    work: float | None = None
    work_split: Mapping[str, float] = field(default_factory=dict)
    peak_memory: int | None = None


class RunningScore:
    """The mIoU of labels as they come, each against the truth of the nearest stamp that has come before it.

    What cannot be compared is left out here; the scoring of the recording says what is wrong with it.
    """

    def __init__(self, matching: ClassMatching, tolerance: int) -> None:
        """Start without a frame; `tolerance` is in nanoseconds."""
        self._matching = matching
        self._tolerance = tolerance
        self._truths: deque[tuple[int, Any]] = deque(maxlen=_MOST_TRUTHS)
        self._confusion = ConfusionMatrix(len(matching.classes))

    @property
    def mean_iou(self) -> float | None:
        """The mIoU so far; None if nothing was compared."""
        return self._confusion.mean_iou if self._confusion.counts.any() else None

    def add_truth(self, stamp: int, message: Any) -> None:
        """Add a label image of the truth, raw or compressed; its stamp in nanoseconds."""
        self._truths.append((stamp, message))

    def add_labels(self, stamp: int, message: Any) -> None:
        """Compare a label image; its stamp in nanoseconds."""
        while self._truths and self._truths[0][0] < stamp - self._tolerance:
            self._truths.popleft()
        distance, truth = min(
            ((abs(stamp - other), message) for other, message in self._truths),
            key=lambda one: one[0],
            default=(self._tolerance + 1, None),
        )
        if distance > self._tolerance:
            return
        try:
            labels, true = ids_of(message), ids_of(truth)
        except ImageError:
            return
        if labels.shape == true.shape:
            predicted = self._matching.labels_of(labels, int(np.iinfo(labels.dtype).max))
            self._confusion.add(self._matching.truth_of(true), predicted)


def score_frame(
    sample: Sample,
    result: SegmentationResult | FrameLabels,
    matching: ClassMatching | None,
    previous: PreviousFrame | None = None,
    *,
    method: str,
    corruption: str = "",
    reference: np.ndarray | None = None,
    cost: FrameCost | None = None,
) -> FrameRecord:
    """Return the record of a frame that was labelled.

    Args:
        sample: the frame; its error, if it has one, goes into the record.
        result: its labels.
        matching: between the classes of the truth and of the vocabulary; None: there is no truth.
        previous: the frame before, labelled by the same method with the same corruption; None: there is none, or it
            failed.
        method: see `FrameRecord`.
        corruption: likewise.
        reference: labels of another method, [H, W], for the agreement; None: there is none.
        cost: what the labels cost; None: not known.

    Raises:
        ValueError: the labels differ in size from the truth or the reference.
    """
    labels, active = result.labels, result.active
    cost = cost or FrameCost()
    if reference is not None and labels.shape != reference.shape:
        raise ValueError(
            f"the labels are {labels.shape} and the reference {reference.shape}; expected one size"
        )
    truth = None
    if matching is not None and sample.truth is not None:
        truth = _score(sample.truth, result, matching, previous)
    identities = None
    if matching is not None and sample.truth is not None and sample.true_ids is not None:
        identities = _identities(sample.truth, sample.true_ids, result, matching)
    height, width = labels.shape
    pixels = np.bincount(labels.ravel(), minlength=result.unlabeled_id + 1)
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
        unlabeled=int(pixels[result.unlabeled_id]),
        truth=truth,
        identities=identities,
        agreement=None if reference is None else float(np.mean(labels == reference)),
        timings={stage: float(seconds) for stage, seconds in result.timings.items()},
        latency=cost.latency,
        work=cost.work,
        work_split=dict(cost.work_split),
        peak_memory=cost.peak_memory,
    )


def failed_frame(sample: Sample, error: str, *, method: str, corruption: str = "") -> FrameRecord:
    """Return the record of a frame that could not be labelled, and why, in one sentence."""
    height, width = (None, None) if sample.rgb is None else sample.rgb.shape[:2]
    return FrameRecord(sample.index, sample.stamp, method, corruption, error, width, height)


def _identities(
    truth: np.ndarray, true_ids: np.ndarray, result: SegmentationResult | FrameLabels, matching: ClassMatching
) -> FrameIdentities | None:
    """Compare the ids of a result with the true ones; None if it has none."""
    if isinstance(result, FrameLabels) and result.instance_ids is None:
        return None
    if not isinstance(result, FrameLabels) and result.instances is None:
        return None
    ids, labels = result.instance_ids, matching.labels_of(result.labels, result.unlabeled_id)
    assert ids is not None
    return compare_identities(true_ids, matching.truth_of(truth), ids, labels, NOT_COUNTED)


def _score(
    truth: np.ndarray,
    result: SegmentationResult | FrameLabels,
    matching: ClassMatching,
    previous: PreviousFrame | None,
) -> TruthScores:
    classes = len(matching.classes)
    true = matching.truth_of(truth)
    predicted = matching.labels_of(result.labels, result.unlabeled_id)
    matrix = ConfusionMatrix(classes)
    matrix.add(true, predicted)
    active = changed = compared = None
    if result.active is not None:
        index = matching.label_index
        active = tuple(sorted({index[one.class_id] for one in result.active if one.class_id in index}))
    if previous is not None and previous.truth is not None and previous.truth.shape == truth.shape:
        changed, compared = flicker_counts(
            matching.truth_of(previous.truth), true, previous.labels, result.labels
        )
    return TruthScores(
        classes=classes,
        active=active,
        confusion=matrix.triples(),
        boundary=boundary_counts(true, predicted, classes),
        changed=changed,
        compared=compared,
        unknown=tuple(sorted(matching.unknown_ids(truth).items())),
    )
