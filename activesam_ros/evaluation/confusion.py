"""The confusion matrix of label images, and the figures that follow from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


class ConfusionMatrix:
    """Counts of pixels by true and predicted class; predictions outside the classes have a column of their own.

    Attributes:
        counts: int64 [classes, classes + 1], row: truth, column: prediction; the last column counts pixels that
            were left unlabelled or got a class that the truth does not know.
    """

    def __init__(self, classes: int, counts: np.ndarray | None = None) -> None:
        """Args:
        classes: how many.
        counts: counts of images that were added elsewhere, int64 [classes, classes + 1]; None: none yet.
        """
        self.counts = np.zeros((classes, classes + 1), np.int64) if counts is None else counts.copy()

    @classmethod
    def from_triples(cls, classes: int, triples: Sequence[tuple[int, int, int]]) -> ConfusionMatrix:
        """A matrix from a sparse one.

        Args:
            classes: how many.
            triples: (true class, predicted class, pixels); what is listed several times adds up.
        """
        matrix = cls(classes)
        true, predicted, pixels = np.asarray(triples, np.int64).reshape(-1, 3).T
        np.add.at(matrix.counts, (true, predicted), pixels)
        return matrix

    def triples(self) -> tuple[tuple[int, int, int], ...]:
        """(true class, predicted class, pixels) of the pairs that have pixels, ascending."""
        return tuple((*at, int(self.counts[tuple(at)])) for at in np.argwhere(self.counts).tolist())

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Counts one image.

        Args:
            truth: integers [H, W]; values that are no class are left out.
            predicted: integers [H, W]; values that are no class count as wrong.

        Raises:
            ValueError: the images differ in size.
        """
        if truth.shape != predicted.shape:
            raise ValueError(
                f"the truth is {truth.shape} and the prediction {predicted.shape}; expected one size"
            )
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
        iou = self.iou
        return float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan")

    @property
    def accuracy(self) -> np.ndarray:
        """Share of each class's true pixels that are labelled right, float64 [classes]; NaN for classes without any."""
        hit = np.diagonal(self.counts).astype(np.float64)
        true = self.counts.sum(axis=1)
        return np.divide(hit, true, out=np.full(len(hit), np.nan), where=true > 0)

    @property
    def mean_accuracy(self) -> float:
        """Mean of `accuracy` over the classes that the truth has; NaN if there are none."""
        accuracy = self.accuracy
        return float(np.nanmean(accuracy)) if np.isfinite(accuracy).any() else float("nan")

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
