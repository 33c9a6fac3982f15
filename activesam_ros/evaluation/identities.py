"""Scores of identities on a stream: whether a thing keeps its id, by motmetrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from activesam_ros.errors import ActiveSamError

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_IOU = 0.5
"""A thing counts as found by an instance of its class whose pixels have at least this intersection over union."""


@dataclass(frozen=True)
class IdentityScores:
    """Scores of the ids of a stream.

    Attributes:
        frames: how many.
        things: number of true things, over all frames, each counted in every frame.
        identities: number of different true things.
        idf1: share of true and found things whose ids agree under the best one-to-one assignment of ids (ID F1).
        switches: how often a true thing was found under another id than the last time.
        found: share of the true things that were found, whatever their ids.
    """

    frames: int
    things: int
    identities: int
    idf1: float
    switches: int
    found: float


class IdentityEvaluator:
    """Compares the id images of one stream with the true ones, frame by frame.

    Found things count if their class has true ids anywhere in the stream: regions of road are no false cars.
    """

    def __init__(self) -> None:
        """Raise ActiveSamError if motmetrics is not installed."""
        try:
            import motmetrics
        except ImportError as error:
            raise ActiveSamError("identities are scored by motmetrics; pip install motmetrics") from error
        self._library = motmetrics
        self._frames: list[tuple[list[tuple[int, ...]], list[tuple[int, ...]], np.ndarray]] = []

    def add(
        self, truth: np.ndarray, true_labels: np.ndarray, ids: np.ndarray, labels: np.ndarray, uncounted: int
    ) -> None:
        """Add the next frame.

        Args:
            truth: id of the true thing of each pixel, 0: none, [H, W].
            true_labels: its class, [H, W].
            ids: id of the found thing of each pixel, 0: none, [H, W].
            labels: its class, in the numbers of `true_labels`, [H, W].
            uncounted: value of `true_labels` where pixels do not count.
        """
        counts = true_labels != uncounted
        truth, ids = truth * counts, ids * counts
        things, found = _areas(truth, true_labels), _areas(ids, labels)
        common = _areas(truth, true_labels, ids, labels)
        # NaN: cannot be the same.
        distances = np.full((len(things), len(found)), np.nan)
        for row, thing in enumerate(things):
            for column, other in enumerate(found):
                both = common.get((*thing, *other), 0)
                overlap = both / (things[thing] + found[other] - both)
                if thing[1] == other[1] and overlap >= LEAST_IOU:
                    distances[row, column] = 1 - overlap
        self._frames.append((list(things), list(found), distances))

    def scores(self) -> IdentityScores:
        """Return the scores of the frames so far."""
        identities = {thing for things, _, _ in self._frames for thing in things}
        classes = {class_id for _, class_id in identities}
        accumulator = self._library.MOTAccumulator(auto_id=True)
        for things, found, distances in self._frames:
            counted = [column for column, (_, class_id) in enumerate(found) if class_id in classes]
            accumulator.update(
                [thing for thing, _ in things],
                [found[column][0] for column in counted],
                distances[:, counted],
            )
        names = ["num_frames", "num_objects", "idf1", "num_switches", "recall"]
        row = self._library.metrics.create().compute(accumulator, metrics=names, return_dataframe=False)
        return IdentityScores(
            frames=int(row["num_frames"]),
            things=int(row["num_objects"]),
            identities=len(identities),
            idf1=float(row["idf1"]),
            switches=int(row["num_switches"]),
            found=float(row["recall"]),
        )


def _areas(*images: np.ndarray) -> Mapping[tuple[int, ...], int]:
    """Return the number of pixels of each combination of values, of those whose ids, every other image, are not 0."""
    chosen = np.logical_and.reduce([image != 0 for image in images[::2]])
    values = np.stack([image[chosen].astype(np.int64) for image in images], axis=1)
    rows, counts = np.unique(values, axis=0, return_counts=True)
    return dict(zip(map(tuple, rows.tolist()), counts.tolist(), strict=True))
