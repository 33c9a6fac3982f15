"""Metrics of label images: confusion matrix, boundary IoU, flicker, choice of the active set, percentiles."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from activesam_ros.evaluation.records import TruthScores

BOUNDARY_RATIO = 0.02
"""Width of the boundary regions as a share of the image's diagonal: that of the paper for common images."""


class ConfusionMatrix:
    """Counts of pixels by true and predicted class.

    Attributes:
        counts: int64 [classes, classes + 1], row: truth, column: prediction; the last column counts pixels that
            were left unlabelled or got a class that the truth does not know.
    """

    def __init__(self, classes: int, counts: np.ndarray | None = None) -> None:
        """Start from the counts of other images, int64 [classes, classes + 1]; None: from zero."""
        self.counts = np.zeros((classes, classes + 1), np.int64) if counts is None else counts.copy()

    @classmethod
    def from_triples(cls, classes: int, triples: Sequence[tuple[int, int, int]]) -> Self:
        """Sum up (true class, predicted class, pixels)."""
        matrix = cls(classes)
        true, predicted, pixels = np.asarray(triples, np.int64).reshape(-1, 3).T
        np.add.at(matrix.counts, (true, predicted), pixels)
        return matrix

    def triples(self) -> tuple[tuple[int, int, int], ...]:
        """Return (true class, predicted class, pixels) of the pairs that have pixels, ascending."""
        return tuple(
            (true, predicted, int(self.counts[true, predicted]))
            for true, predicted in np.argwhere(self.counts).tolist()
        )

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Count one image.

        Args:
            truth: integers [H, W]; values that are no class are left out.
            predicted: integers [H, W]; values that are no class count as wrong.

        Raises:
            ValueError: the images differ in size.
        """
        _require_one_size(truth, predicted)
        classes = len(self.counts)
        known = (truth >= 0) & (truth < classes)
        row = truth[known].astype(np.int64)
        column = predicted[known].astype(np.int64)
        column[(column < 0) | (column > classes)] = classes
        flat = np.bincount(row * (classes + 1) + column, minlength=self.counts.size)
        self.counts += flat.reshape(self.counts.shape)

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of each class, float64 [classes]; NaN for classes in neither truth nor prediction."""
        hit = np.diagonal(self.counts).astype(np.float64)
        union = self.counts.sum(axis=1) + self.counts[:, :-1].sum(axis=0) - hit
        return np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)

    @property
    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that the truth or the prediction has; NaN if there are none."""
        return _mean_of_known(self.iou)

    @property
    def accuracy(self) -> np.ndarray:
        """Share of each class's true pixels that are labelled right, float64 [classes]; NaN for classes without any."""
        hit = np.diagonal(self.counts).astype(np.float64)
        true = self.counts.sum(axis=1)
        return np.divide(hit, true, out=np.full(len(hit), np.nan), where=true > 0)

    @property
    def mean_accuracy(self) -> float:
        """Mean of `accuracy` over the classes that the truth has; NaN if there are none."""
        return _mean_of_known(self.accuracy)

    @property
    def frequency_weighted_iou(self) -> float:
        """Mean of `iou` over the classes that the truth has, weighted by their true pixels; NaN if there are none."""
        true = self.counts.sum(axis=1)
        known = true > 0
        return float(self.iou[known] @ true[known] / true.sum()) if known.any() else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """Share of the pixels of known truth that are labelled right; NaN without any."""
        total = self.counts.sum()
        return float(np.trace(self.counts) / total) if total else float("nan")


def area_under_curve(scores: np.ndarray, present: np.ndarray) -> float:
    """Return the area under the ROC curve: P(present scores above absent); NaN if there is no such pair."""
    yes, no = scores[present], scores[~present]
    if not len(yes) or not len(no):
        return float("nan")
    return float((yes[:, None] > no[None]).mean() + 0.5 * (yes[:, None] == no[None]).mean())


def boundary_width(height: int, width: int) -> int:
    """Return the width in pixels of the boundary regions of an image, at least 1."""
    return max(1, round(BOUNDARY_RATIO * math.hypot(height, width)))


def boundary_counts(
    truth: np.ndarray, predicted: np.ndarray, classes: int
) -> tuple[tuple[int, int, int], ...]:
    """Count the intersection and the union of the boundary regions of each class of an image.

    Boundary IoU: Cheng et al., CVPR 2021, arXiv 2103.16562. The boundary region of a mask is its pixels at most
    `boundary_width` (in rows or columns, whichever is more) away from a pixel outside the mask; beyond the image's edge
    is outside. Pixels without a truth are outside every mask, of the truth and of the prediction, so that a right
    prediction scores 1 beside them too. Counts add up over images; `boundary_iou` divides them.

    Args:
        truth: integers [H, W], a class in 0 … classes - 1; anything else does not count.
        predicted: integers [H, W]; anything but a class is a prediction of none.
        classes: number of classes.

    Returns:
        (class, intersection, union) of the classes with a union above 0, ascending.

    Raises:
        ValueError: the images differ in size.
    """
    _require_one_size(truth, predicted)
    none, uncounted = classes, classes + 1
    counted = (truth >= 0) & (truth < classes)
    true = np.where(counted, truth, uncounted)
    is_class = (predicted >= 0) & (predicted < classes)
    guess = np.where(counted, np.where(is_class, predicted, none), uncounted)
    width = boundary_width(*truth.shape)
    true_edge, guess_edge = _is_boundary(true, width, classes), _is_boundary(guess, width, classes)

    def pixels(labels: np.ndarray, region: np.ndarray) -> np.ndarray:
        return np.bincount(labels[region], minlength=classes + 2)[:classes]

    both = pixels(true, true_edge & guess_edge & (true == guess))
    union = pixels(true, true_edge) + pixels(guess, guess_edge) - both
    return tuple((int(index), int(both[index]), int(union[index])) for index in np.flatnonzero(union))


def boundary_iou(intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Divide pixel counts summed over images, int [classes]; float64 [classes], NaN where the union is 0."""
    return np.divide(intersection, union, out=np.full(len(union), np.nan), where=np.asarray(union) > 0)


def _is_boundary(labels: np.ndarray, width: int, classes: int) -> np.ndarray:
    """Where another value, or the image's edge, is at most `width` away, bool [H, W]; values 0 … classes + 1."""
    # One pass for all classes: within one mask the least and the greatest value around a pixel are the same.
    outside = classes + 2
    plane = labels.astype(np.uint8 if outside <= 255 else np.float32)
    plane = cv2.copyMakeBorder(plane, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=outside)
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    least = cv2.erode(plane, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=outside)
    greatest = cv2.dilate(plane, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=outside)
    return (least != greatest)[1:-1, 1:-1]


def flicker_counts(
    truth_before: np.ndarray, truth: np.ndarray, labels_before: np.ndarray, labels: np.ndarray
) -> tuple[int, int]:
    """Count the pixels whose label changed between two frames, of those whose truth did not.

    Pixels are compared in place, so a moving camera leaves only the inside of what stays: flicker tells how steady
    labels are there, not how well they follow a motion.

    Args:
        truth_before: integers [H, W]; negative: does not count.
        truth: likewise.
        labels_before: class ids as published, integers [H, W]; "unlabelled" is a label like others.
        labels: likewise.

    Returns:
        How many changed, and how many were compared.

    Raises:
        ValueError: the images differ in size.
    """
    _require_one_size(truth_before, truth, labels_before, labels)
    steady = (truth == truth_before) & (truth >= 0)
    return int(np.count_nonzero((labels != labels_before) & steady)), int(np.count_nonzero(steady))


@dataclass(frozen=True)
class ClassRecall:
    """How often one class was decoded where the truth shows it.

    Attributes:
        index: the evaluated class.
        present: frames whose truth shows it.
        missed: those of them in which it was missed (see `TruthScores.missed`).
        lost_pixels: its true pixels in the frames that missed it.
    """

    index: int
    present: int
    missed: int
    lost_pixels: int

    @property
    def recall(self) -> float:
        """Share of the frames that show it in which it was not missed."""
        return 1 - self.missed / self.present


@dataclass(frozen=True)
class ActiveSetScores:
    """How well the active set was chosen over many frames; shares are of (frame, class) pairs.

    Attributes:
        recall: share of the pairs in which the truth shows the class where it was not missed; None without any.
        prominent_recall: the same over the pairs in which the class is prominent (see `TruthScores.prominent`).
        precision: share of the pairs in which an evaluated class was decoded where the truth shows it, with however
            few pixels; None without any. Decoded classes that are not evaluated do not count.
        classes: of each class that the truth shows, the one most often missed first.
        lost_share: share of the counted pixels whose class was missed; None without any.
        lost_iou: the mIoU over the pixels that the active set could reach, less the mIoU over all of them: both of one
            confusion matrix, once without and once with the pixels whose class was missed in their frame; None without
            any pixel left. It does not know how well stage 2 would have labelled the missed pixels, and a class that
            was missed in every frame leaves the first mean; so it is a share of the blame, not a prediction. What
            pruning costs in all is the difference to a run that decodes every class.
    """

    recall: float | None
    prominent_recall: float | None
    precision: float | None
    classes: tuple[ClassRecall, ...]
    lost_share: float | None
    lost_iou: float | None


def active_set_scores(frames: Iterable[TruthScores]) -> ActiveSetScores:
    """Score the choice of the active set over those frames of which it is known; all over the same classes."""
    present: Counter[int] = Counter()
    missed: Counter[int] = Counter()
    lost: Counter[int] = Counter()
    prominent = prominent_missed = decoded = decoded_present = 0
    classes = 0
    whole: list[tuple[int, int, int]] = []
    reached: list[tuple[int, int, int]] = []
    for frame in frames:
        if frame.active is None:
            continue
        gone = set(frame.missed)
        present.update(frame.present)
        missed.update(gone)
        lost.update(frame.lost_pixels)
        prominent += len(frame.prominent)
        prominent_missed += len(gone.intersection(frame.prominent))
        decoded += len(frame.active)
        decoded_present += len(set(frame.active).intersection(frame.present))
        classes = frame.classes
        whole.extend(frame.confusion)
        reached.extend(triple for triple in frame.confusion if triple[0] not in gone)
    recalls = (ClassRecall(index, present[index], missed[index], lost[index]) for index in present)
    counted = sum(pixels for *_, pixels in whole)

    def mean_iou(triples: Sequence[tuple[int, int, int]]) -> float:
        return ConfusionMatrix.from_triples(classes, triples).mean_iou

    def share_without(bad: int, total: int) -> float | None:
        return 1 - bad / total if total else None

    return ActiveSetScores(
        recall=share_without(missed.total(), present.total()),
        prominent_recall=share_without(prominent_missed, prominent),
        precision=share_without(decoded - decoded_present, decoded),
        classes=tuple(sorted(recalls, key=lambda each: (-each.missed, -each.lost_pixels, each.index))),
        lost_share=lost.total() / counted if counted else None,
        lost_iou=mean_iou(reached) - mean_iou(whole) if reached else None,
    )


@dataclass(frozen=True)
class Percentiles:
    """Mean, nearest-rank percentiles and extremes of some values; each percentile is a value that occurred."""

    count: int
    mean: float
    least: float
    p50: float
    p90: float
    p95: float
    p99: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        """Return the percentiles of some values; None if there are none."""
        ascending = sorted(values)
        if not ascending:
            return None
        ranks = [
            max(math.ceil(percent * len(ascending) / 100), 1) - 1 for percent in (0, 50, 90, 95, 99, 100)
        ]
        return cls(
            len(ascending), math.fsum(ascending) / len(ascending), *(ascending[rank] for rank in ranks)
        )


def _require_one_size(truth: np.ndarray, *others: np.ndarray) -> None:
    if any(other.shape != truth.shape for other in others):
        raise ValueError(
            f"the truth is {truth.shape} and the labels {others[-1].shape}; expected images of one size"
        )


def _mean_of_known(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
