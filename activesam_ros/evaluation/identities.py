"""Scores of identities on a stream: whether a thing keeps its id, by motmetrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from activesam_ros.errors import ActiveSamError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LEAST_IOU = 0.5
"""A thing counts as found by an instance of its class whose pixels have at least this intersection over union."""

# Share of the largest part of an id that another class has to hold to be a thing of its own.
_LEAST_PART = 0.1


@dataclass(frozen=True)
class FrameIdentities:
    """The true things of a frame, and the found ones.

    Attributes:
        things: (id, class) of each true thing.
        found: (id, class) of each found one.
        overlaps: (number of a true thing, number of a found one, intersection over union) of the pairs of one class
            that overlap by `LEAST_IOU` or more.
    """

    things: tuple[tuple[int, int], ...]
    found: tuple[tuple[int, int], ...]
    overlaps: tuple[tuple[int, int, float], ...]

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> FrameIdentities:
        """Return what `dataclasses.asdict` made `plain` of; raises TypeError, ValueError or KeyError."""
        things, found = (
            tuple((int(number), int(index)) for number, index in plain[name]) for name in ("things", "found")
        )
        return cls(things, found, tuple((int(a), int(b), float(iou)) for a, b, iou in plain["overlaps"]))


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


def compare_identities(
    truth: np.ndarray, true_labels: np.ndarray, ids: np.ndarray, labels: np.ndarray, uncounted: int
) -> FrameIdentities:
    """Compare the id image of a frame with the true one.

    Args:
        truth: id of the true thing of each pixel, 0: none, at most 65535, [H, W].
        true_labels: its class, [H, W].
        ids: id of the found thing of each pixel, 0: none, at most 65535, [H, W].
        labels: its class, in the numbers of `true_labels`, [H, W].
        uncounted: value of `true_labels` where pixels do not count.
    """
    counts = true_labels != uncounted
    truth, ids = truth * counts, ids * counts
    things, found = _main(_areas(truth, true_labels)), _main(_areas(ids, labels))
    rows, columns = ({one: number for number, one in enumerate(each)} for each in (things, found))
    overlaps = []
    for (true_id, true_class, found_id, found_class), both in _areas(truth, true_labels, ids, labels).items():
        thing, other = (true_id, true_class), (found_id, found_class)
        if thing not in things or other not in found:
            continue
        overlap = both / (things[thing] + found[other] - both)
        if true_class == found_class and overlap >= LEAST_IOU:
            overlaps.append((rows[thing], columns[other], overlap))
    keys = [tuple((number, index) for number, index in each) for each in (things, found)]
    return FrameIdentities(keys[0], keys[1], tuple(overlaps))


def score_identities(frames: Iterable[FrameIdentities]) -> IdentityScores:
    """Score the frames of a stream, in order.

    An id names one thing of each class. Found things count if their class has true things anywhere in the stream:
    regions of road are no false cars.

    Raises:
        ActiveSamError: motmetrics is not installed.
    """
    motmetrics = require_motmetrics()
    frames = list(frames)
    identities = {thing for frame in frames for thing in frame.things}
    classes = {class_id for _, class_id in identities}
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    # By motmetrics' reading a number is one thing, whatever its class.
    numbers = {
        thing: number
        for number, thing in enumerate({*identities, *(one for frame in frames for one in frame.found)})
    }
    for frame in frames:
        # NaN: cannot be the same.
        distances = np.full((len(frame.things), len(frame.found)), np.nan)
        for row, column, overlap in frame.overlaps:
            distances[row, column] = 1 - overlap
        counted = [column for column, (_, class_id) in enumerate(frame.found) if class_id in classes]
        accumulator.update(
            [numbers[thing] for thing in frame.things],
            [numbers[frame.found[column]] for column in counted],
            distances[:, counted],
        )
    names = ["num_frames", "num_objects", "idf1", "num_switches", "recall"]
    row = motmetrics.metrics.create().compute(accumulator, metrics=names, return_dataframe=False)
    return IdentityScores(
        frames=int(row["num_frames"]),
        things=int(row["num_objects"]),
        identities=len(identities),
        idf1=float(row["idf1"]),
        switches=int(row["num_switches"]),
        found=float(row["recall"]),
    )


def require_motmetrics() -> Any:
    """Return the module; raise ActiveSamError if it is not installed."""
    try:
        import motmetrics
    except ImportError as error:
        raise ActiveSamError("identities are scored by motmetrics; pip install motmetrics") from error
    return motmetrics


def _main(areas: dict[tuple[int, ...], int]) -> dict[tuple[int, ...], int]:
    """Leave out the classes that hold little of an id: pixels at the edge, where images of labels and ids disagree."""
    largest: dict[int, int] = {}
    for (number, _), pixels in areas.items():
        largest[number] = max(pixels, largest.get(number, 0))
    return {key: pixels for key, pixels in areas.items() if pixels >= _LEAST_PART * largest[key[0]]}


def _areas(*images: np.ndarray) -> dict[tuple[int, ...], int]:
    """Return the number of pixels of each combination of values, of those whose ids, every other image, are not 0."""
    chosen = np.logical_and.reduce([image != 0 for image in images[::2]])
    keys = np.zeros(np.count_nonzero(chosen), np.uint64)
    for image in images:
        keys = keys << np.uint64(16) | image[chosen].astype(np.uint64)
    known, counts = np.unique(keys, return_counts=True)
    shifts = range(16 * (len(images) - 1), -1, -16)
    rows = (tuple(int(key) >> shift & 0xFFFF for shift in shifts) for key in known)
    return dict(zip(rows, counts.tolist(), strict=True))
