"""Association: which instance of a frame is which of the frames before, by the overlap of their masks.

This is no tracker: the model is not asked again, and neither looks nor motion are compared. What does not overlap with
where it was last found gets a new id.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from activesam_ros.stages.overlap import Masks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from activesam_ros.instances import Instance

LONGEST_GAP = 5_000_000_000
"""Nanoseconds: a frame later than this after the last one starts anew."""

_LEAST_OVERLAP = 0.2
"""Intersection over union from which two masks may be one thing."""

_MOST_HIDDEN = 1000
"""Number of tracks that wait for things which are not found; their masks take at most some 80 MB."""

_MOST_COMPARED = 1000
"""Number of things of one class that are compared with earlier ones, those of the highest scores; others are new."""

_SMOOTHING = 0.5
"""Share of the last frame in a track's strength."""


@dataclass(frozen=True, eq=False)
class _Track:
    """A thing where it was last found.

    Attributes:
        key: id and name of its class.
        id: of the thing.
        mask: bool [h, w], the kept cells of its mask logits that are positive.
        corner: row and column of the first of them.
        strength: mean of its scores, the latest counting most.
        hidden: number of frames since in which it was not found.
    """

    key: tuple[int, str]
    id: int
    mask: np.ndarray
    corner: tuple[int, int]
    strength: float
    hidden: int


def jumped(before: int | None, now: int | None) -> bool:
    """Return whether a frame, taken at `now` in nanoseconds, does not continue the one before; None: it does."""
    return before is not None and now is not None and not 0 <= now - before <= LONGEST_GAP


class IdCounter:
    """Gives the ids 1, 2, 3 …, none of them twice; memories may share it, and any thread may use it."""

    def __init__(self, given: int = 0) -> None:
        """Begin after the id `given`."""
        self._given = given
        self._lock = threading.Lock()

    @property
    def given(self) -> int:
        """The id that was given last; 0: none."""
        return self._given

    def take(self) -> int:
        """Return the next id."""
        with self._lock:
            self._given += 1
            return self._given


class Association:
    """Gives the instances of one stream ids that stay, none of them to two things.

    Things of one class are matched frame by frame such that the sum of the masks' overlaps is largest, each times both
    scores: of several instances on one thing, the strongest stays the same.
    """

    def __init__(self, ids: IdCounter) -> None:
        """Begin without tracks; new things take their ids from `ids`."""
        self._ids = ids
        self._tracks: list[_Track] = []
        self._stamp: int | None = None
        self._layout: object = None

    def forget(self) -> None:
        """Give everything a new id from the next frame on."""
        self._tracks = []

    def copy(self) -> Association:
        """Return another one that goes on from here, with the same ids; also while a thread uses this one."""
        other = Association(self._ids)
        # In this order: tracks of a newer layout are forgotten, those of an older one would be compared.
        other._layout = self._layout
        other._tracks = self._tracks
        other._stamp = self._stamp
        return other

    def carry(self, instances: Sequence[Instance], stamp: int | None = None) -> None:
        """Take note of where things are now that keep the ids that they have, since their masks were moved, not found.

        Args:
            instances: with their ids; a thing that is not among them stays where it was.
            stamp: as for `identify`.
        """
        self._stamp = stamp
        moved = {one.id: _start(one) for one in instances}
        self._tracks = [
            replace(track, mask=moved[track.id].mask, corner=moved[track.id].corner)
            if track.id in moved
            else track
            for track in self._tracks
        ]

    def identify(
        self,
        instances: Sequence[Instance],
        classes: Iterable[tuple[int, str]],
        occlusion_frames: int,
        stamp: int | None = None,
    ) -> tuple[Instance, ...]:
        """Return the instances of the next frame with their ids.

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
            else:
                found[number] = replace(track, id=self._ids.take())
        matched = set(pairs.values())
        hidden = [
            replace(track, hidden=track.hidden + 1)
            for number, track in enumerate(tracks)
            if number not in matched and track.hidden < occlusion_frames
        ]
        hidden.sort(key=lambda track: track.hidden)
        self._tracks = found + hidden[:_MOST_HIDDEN]
        return tuple(replace(one, id=track.id) for one, track in zip(instances, found, strict=True))


def _start(one: Instance) -> _Track:
    return _Track(
        key=(one.class_id, one.name),
        id=0,
        mask=one.logits > 0,
        corner=one.corner,
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
        rows = [number for number, track in enumerate(found) if track.key == key][:_MOST_COMPARED]
        columns = [number for number, track in enumerate(tracks) if track.key == key][: 2 * _MOST_COMPARED]
        if not columns:
            continue
        ours, theirs = [found[row] for row in rows], [tracks[column] for column in columns]
        overlaps = _masks(ours).overlaps(_masks(theirs))
        overlaps[overlaps < _LEAST_OVERLAP] = 0
        strengths = np.outer([one.strength for one in ours], [one.strength for one in theirs])
        for row, column in zip(*linear_sum_assignment(overlaps * strengths, maximize=True), strict=True):
            if overlaps[row, column]:
                pairs[rows[row]] = columns[column]
    return pairs


def _masks(tracks: Sequence[_Track]) -> Masks:
    return Masks([track.mask for track in tracks], [track.corner for track in tracks])
