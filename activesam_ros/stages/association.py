"""Association: which instance of a frame is which of the frames before, by the overlap of their masks.

This is no tracker: the model is not asked again, and neither looks nor motion are compared. What does not overlap with
where it was last found gets a new id.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from activesam_ros.instances import MAX_INSTANCES, Instance

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONGEST_GAP = 5_000_000_000
"""Nanoseconds: a frame later than this after the last one starts anew."""

_LEAST_OVERLAP = 0.2
"""Intersection over union from which two masks may be one thing."""

_MOST_HIDDEN = 1000
"""Number of tracks that wait for things which are not found; their masks take at most some 80 MB."""

_SMOOTHING = 0.5
"""Share of the last frame in a track's strength."""


@dataclass(frozen=True, eq=False)
class _Track:
    """A thing where it was last found.

    Attributes:
        key: id and name of its class.
        id: of the thing, 1 to 65535.
        mask: bool [h, w], the kept cells of its mask logits that are positive.
        corner: row and column of the first of them.
        strength: mean of its scores, the latest counting most.
        hidden: number of frames since in which it was not found.
    """

    key: tuple[int, str]
    id: int
    mask: np.ndarray
    corner: np.ndarray
    strength: float
    hidden: int


def jumped(before: int | None, now: int | None) -> bool:
    """Return whether a frame, taken at `now` in nanoseconds, does not continue the one before; None: it does."""
    return before is not None and now is not None and not 0 <= now - before <= LONGEST_GAP


class Association:
    """Gives the instances of one stream ids that stay, 1, 2, 3 …, none of them twice.

    Things of one class are matched frame by frame such that the sum of the masks' overlaps is largest, each times both
    scores: of several instances on one thing, the strongest stays the same.
    """

    def __init__(self, first_id: int = 1) -> None:
        """Begin without tracks; `first_id` is the id of the first thing."""
        self.next_id = first_id
        self._tracks: list[_Track] = []
        self._stamp: int | None = None
        self._layout: object = None

    def forget(self) -> None:
        """Give everything a new id from the next frame on."""
        self._tracks = []

    def identify(
        self,
        instances: Sequence[Instance],
        classes: Iterable[tuple[int, str]],
        occlusion_frames: int,
        stamp: int | None = None,
    ) -> tuple[Instance, ...]:
        """Return the instances of the next frame with their ids; 0 for new things once 65535 ids are used up.

        Args:
            instances: of the frame, those of the highest score first.
            classes: id and name of every class of the vocabulary; things of others are forgotten.
            occlusion_frames: number of successive frames that a thing may not be found in and yet keep its id.
            stamp: when the frame was taken, in nanoseconds; after a jump in time everything is new. None: unknown.
        """
        if jumped(self._stamp, stamp):
            self.forget()
        self._stamp = stamp
        layouts = {(one.size, one.grid) for one in instances}
        if layouts and layouts != {self._layout}:
            # Masks of images of different sizes cannot be compared.
            self._tracks, self._layout = [], next(iter(layouts))
        known = set(classes)
        tracks = [track for track in self._tracks if track.key in known]
        found = [_start(one) for one in instances]
        pairs = _matched(tracks, found)
        for number, track in enumerate(found):
            if number in pairs:
                found[number] = _continued(tracks[pairs[number]], track)
            elif self.next_id <= MAX_INSTANCES:
                found[number] = replace(track, id=self.next_id)
                self.next_id += 1
        matched = set(pairs.values())
        hidden = [
            replace(track, hidden=track.hidden + 1)
            for number, track in enumerate(tracks)
            if number not in matched and track.hidden < occlusion_frames
        ]
        hidden.sort(key=lambda track: track.hidden)
        self._tracks = [track for track in found if track.id] + hidden[:_MOST_HIDDEN]
        return tuple(replace(one, id=track.id) for one, track in zip(instances, found, strict=True))


def _start(one: Instance) -> _Track:
    return _Track(
        key=(one.class_id, one.name),
        id=0,
        mask=one.logits > 0,
        corner=np.array(one.corner),
        strength=one.score,
        hidden=0,
    )


def _continued(before: _Track, now: _Track) -> _Track:
    strength = _SMOOTHING * now.strength + (1 - _SMOOTHING) * before.strength
    return replace(now, id=before.id, strength=strength)


def _matched(tracks: Sequence[_Track], found: Sequence[_Track]) -> dict[int, int]:
    """Return the index of the track that each found thing continues, by the index of the thing."""
    pairs: dict[int, int] = {}
    for key in {track.key for track in found}:
        rows = [number for number, track in enumerate(found) if track.key == key]
        columns = [number for number, track in enumerate(tracks) if track.key == key]
        overlaps = _overlaps([found[row] for row in rows], [tracks[column] for column in columns])
        strengths = np.outer(
            [found[row].strength for row in rows], [tracks[column].strength for column in columns]
        )
        for row, column in zip(*linear_sum_assignment(overlaps * strengths, maximize=True), strict=True):
            if overlaps[row, column] >= _LEAST_OVERLAP:
                pairs[rows[row]] = columns[column]
    return pairs


def _overlaps(found: Sequence[_Track], tracks: Sequence[_Track]) -> np.ndarray:
    """Return the intersection over union of each mask with each earlier one, [found, tracks]; 0 below the least."""
    overlaps = np.zeros((len(found), len(tracks)))
    if not overlaps.size:
        return overlaps
    areas = np.array([np.count_nonzero(track.mask) for track in tracks])
    begin = np.array([track.corner for track in tracks])
    end = begin + np.array([track.mask.shape for track in tracks])
    for row, one in enumerate(found):
        area, first = np.count_nonzero(one.mask), one.corner
        last = first + one.mask.shape
        # Their areas and rectangles rule most out.
        near = np.minimum(areas, area) >= _LEAST_OVERLAP * np.maximum(areas, area)
        near &= (begin < last).all(1) & (end > first).all(1)
        for column in np.flatnonzero(near):
            low, high = np.maximum(first, begin[column]), np.minimum(last, end[column])
            ours = one.mask[tuple(map(slice, low - first, high - first))]
            theirs = tracks[column].mask[tuple(map(slice, low - begin[column], high - begin[column]))]
            common = np.count_nonzero(ours & theirs)
            overlap = common / (area + areas[column] - common)
            overlaps[row, column] = overlap if overlap >= _LEAST_OVERLAP else 0
    return overlaps
