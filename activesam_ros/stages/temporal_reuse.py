"""What a stream of images remembers from frame to frame, so that not every word is looked for in every frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from activesam_ros.errors import SettingsError
from activesam_ros.results import EMPTY_SCHEDULE, PreviewMode, PreviewSchedule
from activesam_ros.stages.scene_change import SHAPE, change, thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from activesam_ros.settings import SegmenterSettings

# Of what is expected of a query, so much is left after a schedule that did not find it.
_FADING = np.float32(0.9)
LONGEST_GAP = 5_000_000_000
"""Nanoseconds: a frame that was taken later than this after the last one finds everything forgotten."""


def single_image_schedule(count: int, settings: SegmenterSettings) -> PreviewSchedule:
    """Score all `count` prompts of an image that belongs to no stream, or none if all are decoded anyway."""
    return PreviewSchedule("full", tuple(range(count))) if count > settings.max_active else EMPTY_SCHEDULE


def first_frame_schedule(count: int, settings: SegmenterSettings) -> PreviewSchedule:
    """Score all prompts of the first image of a stream, unless all are decoded anyway and nothing is gained later."""
    # Even few words are worth it once: those that are absent are not decoded in the frames to come.
    pays = settings.reuses_frames and settings.presence_floor > 0
    return PreviewSchedule("full", tuple(range(count))) if pays else single_image_schedule(count, settings)


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known after a frame.

    Attributes:
        queries, settings: what was asked, and how.
        frame: its number since the last full schedule, which is 0.
        presence: float32 [Q], of each query when it was last asked or decoded.
        expected: float32 [Q], the highest presence of each query so far, which fades with every schedule that finds less.
        seen: int64 [Q], number of the frame in which it was last asked or decoded.
        unwanted: of each active query, the frames in a row in which it was decoded for its past alone.
        thumbnail: of the frame.
    """

    queries: tuple[str, ...]
    settings: SegmenterSettings
    frame: int
    presence: np.ndarray
    expected: np.ndarray
    seen: np.ndarray
    unwanted: Mapping[int, int]
    thumbnail: np.ndarray


class StreamMemory:
    """The memory of one stream of images, such as one camera's; for one segmenter and one thread at a time.

    With `preview_period` 1 nothing is remembered. Else, while words and settings stay and no cut is seen:

    - every query is asked or decoded at least once in any `preview_period` frames that follow each other;
    - one that a schedule finds is decoded in that very frame, as far as `keep_fraction` and `max_active` allow;
    - an active one leaves once it was not wanted in `leave_after` frames in a row.

    Only frames that were decoded count: one that fails leaves the memory as it was.
    """

    def __init__(self) -> None:
        self._known: _Known | None = None
        # Of the last frame that was kept, and of the next one.
        self._stamp: int | None = None
        self._next_stamp: int | None = None
        # Another one with every change, so that a plan that was made before it comes to nothing.
        self._turn = object()

    @property
    def frames_since_full(self) -> int | None:
        """Frames since all queries were looked at together; None if the next schedule is full."""
        known = self._known
        return None if known is None else known.frame

    def forget(self) -> None:
        """Have the next schedule be full."""
        self._known = None
        self._turn = object()

    def at(self, stamp: int) -> None:
        """Say when the next frame was taken, in nanoseconds.

        Its schedule is full if that is before the last frame that was kept, or more than `LONGEST_GAP` after it.
        """
        self._next_stamp = stamp

    def plan(self, rgb: np.ndarray, queries: tuple[str, ...], settings: SegmenterSettings) -> Plan:
        """What to ask of the next frame; the memory learns of it with `Plan.keep`.

        Other queries or settings than those of the last frame have everything forgotten, whatever becomes of this one.

        Args:
            rgb: uint8 [H, W, 3].
            queries: the prompts of the vocabulary.
            settings: of the segmenter.
        """
        known = self._known
        if known is not None and (known.queries, known.settings) != (queries, settings):
            self.forget()
            known = None
        if not settings.reuses_frames:
            return Plan(single_image_schedule(len(queries), settings), queries, settings)
        small = thumbnail(rgb)
        if known is not None and (
            self._jumped() or change(known.thumbnail, small) > settings.change_threshold
        ):
            known = None
        schedule = (
            first_frame_schedule(len(queries), settings) if known is None else _next_schedule(known, settings)
        )
        return Plan(schedule, queries, settings, self, self._turn, known, small, self._next_stamp)

    def _jumped(self) -> bool:
        if self._stamp is None or self._next_stamp is None:
            return False
        return not 0 <= self._next_stamp - self._stamp <= LONGEST_GAP

    def state(self) -> dict[str, Any] | None:
        """What is remembered, as plain data for `json.dumps`; None: nothing."""
        known = self._known
        if known is None:
            return None
        return {
            "stamp": self._stamp,
            "frame": known.frame,
            "presence": known.presence.tolist(),
            "expected": known.expected.tolist(),
            "seen": known.seen.tolist(),
            "unwanted": sorted(known.unwanted.items()),
            "thumbnail": known.thumbnail.tolist(),
        }

    @classmethod
    def restored(
        cls, state: Mapping[str, Any] | None, queries: tuple[str, ...], settings: SegmenterSettings
    ) -> StreamMemory:
        """The memory that `state` was taken of, which had these words and settings.

        Raises:
            ValueError, KeyError, TypeError: it is no such state.
        """
        memory = cls()
        if state is None:
            return memory
        frame, stamp = _count(state, "frame"), state["stamp"]
        if stamp is not None and type(stamp) is not int:
            raise ValueError(f"stamp is {stamp!r}; expected a whole number or nothing")
        seen = np.array(state["seen"])
        if seen.shape != (len(queries),):
            raise ValueError(f"the state is that of other words; expected {len(queries)} of them")
        if seen.dtype.kind != "i" or seen.min(initial=0) < 0 or seen.max(initial=0) > frame:
            raise ValueError(f"seen holds other numbers than those of frames; expected 0 to {frame}")
        unwanted = {query: _count({"unwanted": count}, "unwanted") for query, count in state["unwanted"]}
        if not all(type(query) is int and 0 <= query < len(queries) for query in unwanted):
            raise ValueError(f"unwanted names no queries; expected indices below {len(queries)}")
        memory._stamp = stamp
        memory._known = _Known(
            queries,
            settings,
            frame,
            _shares(state, "presence", (len(queries),)),
            _shares(state, "expected", (len(queries),)),
            seen.astype(np.int64),
            unwanted,
            _shares(state, "thumbnail", SHAPE),
        )
        return memory

    def _keep(self, turn: object, known: _Known, stamp: int | None) -> None:
        if turn is self._turn:
            self._known, self._stamp, self._turn = known, stamp, object()


def _count(state: Mapping[str, Any], name: str) -> int:
    value = state[name]
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} is {value!r}; expected a whole number from 0")
    return value


def _shares(state: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = np.array(state[name], np.float32)
    # False for NaN too.
    if values.shape != shape or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"{name} is damaged; expected numbers from 0 to 1 of shape {shape}")
    return values


@dataclass(frozen=True, eq=False)
class Plan:
    """A frame on its way: what to ask of it, and what its answers mean in the light of the frames before.

    Attributes:
        schedule: what to ask.
        queries, settings: of the segmenter.
        memory: that it belongs to; None: the frame is for itself.
        turn, known, thumbnail, stamp: for the memory.
    """

    schedule: PreviewSchedule
    queries: tuple[str, ...]
    settings: SegmenterSettings
    memory: StreamMemory | None = None
    turn: object = None
    known: _Known | None = None
    thumbnail: np.ndarray | None = None
    stamp: int | None = None

    @property
    def prunes(self) -> bool:
        """Whether there is anything to choose the active set by."""
        return self.schedule.mode != "none" or self.known is not None

    def presence(self, asked: np.ndarray | None) -> np.ndarray:
        """The last that is known of every query, float32 [Q].

        Args:
            asked: float32 [Q], presence of what was asked of this frame, NaN elsewhere; None: nothing was.
        """
        if asked is None:
            return self.known.presence
        return asked if self.known is None else np.where(np.isnan(asked), self.known.presence, asked)

    def active(self, selected: Sequence[int], presence: np.ndarray) -> tuple[int, ...]:
        """The queries to decode, ascending: those selected, and those that have not been unwanted for long enough.

        Args:
            selected: indices of the queries that `presence` selects, `max_active` at most.
            presence: as of `presence()`.
        """
        if self.known is None:
            return tuple(selected)
        chosen = set(selected)
        staying = [
            query
            for query, unwanted in self.known.unwanted.items()
            if query not in chosen and unwanted + 1 < self.settings.leave_after
        ]
        staying.sort(key=lambda query: (-float(presence[query]), query))
        return tuple(sorted(chosen.union(staying[: self.settings.max_active - len(chosen)])))

    def keep(self, asked: np.ndarray | None, selected: Iterable[int], decoded: Mapping[int, float]) -> None:
        """Puts what this frame told into the memory; without effect if another frame or `forget` came between.

        Args:
            asked: as of `presence`.
            selected: as of `active`.
            decoded: presence at full resolution of each query that was decoded.
        """
        if self.memory is None or not self.prunes:
            return
        before = self.known
        frame = 0 if before is None else before.frame + 1
        presence = self.presence(asked).copy()
        seen = np.zeros(len(presence), np.int64) if before is None else before.seen.copy()
        seen[list(self.schedule.prompts)] = frame
        for query, value in decoded.items():
            presence[query], seen[query] = value, frame
        looked = seen == frame
        expected = presence.copy()
        if before is not None:
            faded = np.where(looked, _FADING, np.float32(1)) * before.expected
            expected = np.where(looked, np.maximum(presence, faded), faded).astype(np.float32)
        wanted = set(selected)
        past = {} if before is None else before.unwanted
        self.memory._keep(
            self.turn,
            _Known(
                self.queries,
                self.settings,
                frame,
                presence,
                expected,
                seen,
                {query: 0 if query in wanted else past.get(query, 0) + 1 for query in decoded},
                self.thumbnail,
            ),
            self.stamp,
        )


def distinct(memories: Sequence[StreamMemory | None]) -> None:
    """Refuses images of one stream side by side, since each needs what the one before told.

    Raises:
        SettingsError: a memory is given twice.
    """
    given = [id(memory) for memory in memories if memory is not None]
    if len(set(given)) != len(given):
        raise SettingsError(
            "two images of one batch have the same memory; give each stream its own, and its images one after the other"
        )


def _next_schedule(known: _Known, settings: SegmenterSettings) -> PreviewSchedule:
    others = np.array([one for one in range(len(known.seen)) if one not in known.unwanted], np.int64)
    # The longest unseen first.
    others = others[np.argsort(known.seen[others], kind="stable")]
    frames_left = known.seen[others] + settings.preview_period - known.frame
    if settings.preview_way == "sweep":
        due = len(others) if (frames_left <= 1).any() else 0
    else:
        # An even share, or one more where later frames could else not keep every deadline with a share or one more.
        share, rest = divmod(len(others), settings.preview_period)
        later = (frames_left - 1) * (share + (rest > 0))
        due = int((np.arange(1, len(others) + 1) - later).max(initial=share))
    chosen, rest = others[:due], others[due:]
    if settings.preview_way == "share":
        # Rates in proportion to the roots of how often things come up find them soonest.
        urgency = np.sqrt(known.expected[rest]) * (known.frame + 1 - known.seen[rest])
        likely = rest[np.argsort(-urgency, kind="stable")][: settings.preview_likely]
        chosen = np.concatenate([chosen, likely])
    if not len(chosen):
        return EMPTY_SCHEDULE
    return PreviewSchedule(cast("PreviewMode", settings.preview_way), tuple(sorted(chosen.tolist())))
