"""Temporal reuse: what is known of a stream from its frames so far, so that each frame scores few prompts.

A `StreamMemory` plans each frame (`FramePlan`): which inactive prompts to score, and which active ones to keep. A scene
change, or a gap in time, has all prompts scored again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import torch

from activesam_ros.errors import SettingsError
from activesam_ros.results import EMPTY_SCHEDULE, MOVED_SCHEDULE, PreviewMode, PreviewSchedule
from activesam_ros.stages.association import Association, IdCounter, jumped
from activesam_ros.stages.motion import KeyFrame
from activesam_ros.stages.preview import select_active

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from activesam_ros.instances import Instance
    from activesam_ros.results import SegmentationResult
    from activesam_ros.settings import SegmenterSettings
    from activesam_ros.vocabulary import Vocabulary

# The expected presence of a prompt is multiplied by this each time that it is scored lower.
_DECAY = np.float32(0.9)
THUMBNAIL_SHAPE = (6, 8, 3)
"""Rows, columns and channels."""

# Shorter side in pixels below which an image is not subsampled further: more pixels give the same thumbnail, slower.
_SUBSAMPLED_SIDE = 120
# Keeps the noise in the colour of dark cells small, in levels of 0 to 255, summed over the channels.
_DARK = 30.0
# Thumbnails with a smaller root mean square difference differ by less than their correlation says. The noise of a
# sensor makes up to a third of it in the dark; another scene several times as much.
_FAINT = 0.015


def thumbnail(rgb: np.ndarray) -> np.ndarray:
    """Return the layout of an image's colours, independent of its brightness.

    Args:
        rgb: uint8 [H, W, 3].

    Returns:
        float32 [6, 8, 3], the share of each channel in the light of each cell, for any shape of image.
    """
    step = max(1, min(rgb.shape[:2]) // _SUBSAMPLED_SIDE)
    thinned = np.ascontiguousarray(rgb[::step, ::step])
    # Whole levels would leave of an even surface nothing but their rounding.
    cells = cv2.resize(thinned.astype(np.float32), THUMBNAIL_SHAPE[1::-1], interpolation=cv2.INTER_AREA)
    return cells / (cells.sum(axis=2, keepdims=True) + _DARK)


def scene_change(before: np.ndarray, now: np.ndarray) -> float:
    """Return how different two thumbnails are, in [0, 1]: one minus their correlation, less for faint differences.

    Without the reduction the noise of an image of one grey, which correlates with nothing, would be a new scene.
    """
    one, other = (part - part.mean() for part in (before, now))
    difference = float(np.sqrt(np.square(one - other).mean()))
    size = float(np.sqrt((one * one).sum() * (other * other).sum()))
    correlation = float((one * other).sum()) / size if size > 1e-12 else 0.0
    return float(np.clip(min(1 - correlation, difference / _FAINT), 0, 1))


def single_image_schedule(count: int, settings: SegmenterSettings) -> PreviewSchedule:
    """Score all `count` prompts of an image without a stream, or none if all are decoded anyway."""
    return PreviewSchedule("full", tuple(range(count))) if count > settings.max_active else EMPTY_SCHEDULE


def first_frame_schedule(count: int, settings: SegmenterSettings) -> PreviewSchedule:
    """Score all prompts of a stream's first frame, or none if all are decoded anyway in every frame."""
    # Even a small vocabulary is worth it: absent prompts are not decoded in the frames to come.
    worth_it = settings.reuses_frames and settings.presence_floor > 0
    return (
        PreviewSchedule("full", tuple(range(count))) if worth_it else single_image_schedule(count, settings)
    )


@dataclass(frozen=True, eq=False)
class _Known:
    """State of a stream after a frame.

    Attributes:
        prompts, settings: those of the frame.
        frame: its number since the last full preview, which is 0.
        presence: float32 [P], of each prompt when it was last scored or decoded.
        expected: float32 [P], highest presence of each prompt so far, which decays each time that it is scored lower.
        seen: int64 [P], number of the frame in which it was last scored or decoded.
        unselected: for each active prompt, the successive frames in which it was decoded without being selected.
        thumbnail: of the frame.
    """

    prompts: tuple[str, ...]
    settings: SegmenterSettings
    frame: int
    presence: np.ndarray
    expected: np.ndarray
    seen: np.ndarray
    unselected: Mapping[int, int]
    thumbnail: np.ndarray


class StreamMemory:
    """Memory of one stream of images, such as one camera's; for one segmenter and one thread at a time.

    With `preview_period` 1 nothing but the instances is remembered. Otherwise, while vocabulary and settings stay and
    no scene change is seen:

    - every prompt is scored or decoded at least once in any `preview_period` successive frames;
    - a prompt that is scored and selected is decoded in the same frame, within `keep_fraction` and `max_active`;
    - an active prompt leaves the active set after `leave_after` successive frames without being selected.

    Only decoded frames count: one that fails leaves the memory as it was.
    """

    def __init__(self, ids: IdCounter | None = None) -> None:
        """Begin without frames.

        Args:
            ids: instances keep their ids over frames, and new things take theirs from here; None: instances have the
                ids of their image.
        """
        self._known: _Known | None = None
        self._association = None if ids is None else Association(ids)
        # Nanoseconds; of the last frame that was kept, and of the next one.
        self._stamp: int | None = None
        self._next_stamp: int | None = None
        # Replaced with every change, which invalidates the plans made before it.
        self._version = object()
        # The last decoded frame, and the number of frames since to which its labels moved.
        self._key: KeyFrame | None = None
        self._moved = 0

    @property
    def frames_since_full(self) -> int | None:
        """Number of decoded frames since all prompts were scored together; None if the next frame does that."""
        return None if self._known is None else self._known.frame

    def forget(self) -> None:
        """Have the next frame score all prompts, and give all of its instances new ids."""
        self.forget_presence()
        if self._association:
            self._association.forget()

    def forget_presence(self) -> None:
        """Have the next frame score all prompts."""
        self._known = self._key = None
        self._version = object()

    def successor(self) -> StreamMemory:
        """Return a memory that scores all prompts of its first frame, and whose instances keep the ids of this one.

        Neither gives an id that the other has given, so a thread may go on with this one.
        """
        memory = StreamMemory()
        memory._association = self._association.copy() if self._association else None
        return memory

    def _identify(
        self,
        instances: Sequence[Instance],
        vocabulary: Vocabulary,
        occlusion_frames: int,
        stamp: int | None,
    ) -> tuple[Instance, ...]:
        if self._association is None:
            return tuple(instances)
        classes = zip(vocabulary.class_ids, vocabulary.names, strict=True)
        return self._association.identify(instances, classes, occlusion_frames, stamp)

    def _carry(self, instances: Sequence[Instance], stamp: int | None) -> None:
        if self._association is not None:
            self._association.carry(instances, stamp)

    def at(self, stamp: int | None) -> None:
        """State when the next frame was taken, in nanoseconds; None: unknown.

        It scores all prompts if that is before the last kept frame, or more than `LONGEST_GAP` after it.
        """
        self._next_stamp = stamp

    def plan(self, rgb: np.ndarray, prompts: tuple[str, ...], settings: SegmenterSettings) -> FramePlan:
        """Plan the next frame; `FramePlan.keep` reports its result back.

        Other prompts or settings than those of the last frame clear the memory, even if the frame fails.

        Args:
            rgb: uint8 [H, W, 3].
            prompts: those of the vocabulary.
            settings: those of the segmenter.
        """
        known = self._known
        if known is not None and (known.prompts, known.settings) != (prompts, settings):
            self.forget_presence()
            known = None
        if not settings.reuses_frames:
            schedule = single_image_schedule(len(prompts), settings)
            return FramePlan(schedule, prompts, settings, self, stamp=self._next_stamp)
        small = thumbnail(rgb)
        if known is not None and (
            jumped(self._stamp, self._next_stamp)
            or scene_change(known.thumbnail, small) > settings.change_threshold
        ):
            known = None
        key = self._key
        due = self._moved + 1 >= settings.frames_per_encoding
        if known is not None and key is not None and not due and key.reaches(rgb, self._next_stamp):
            stamp = self._next_stamp
            return FramePlan(MOVED_SCHEDULE, prompts, settings, self, self._version, known, small, stamp, key)
        schedule = _next_schedule(known, settings) if known else first_frame_schedule(len(prompts), settings)
        return FramePlan(schedule, prompts, settings, self, self._version, known, small, self._next_stamp)

    def state(self) -> dict[str, Any] | None:
        """Return the memory as plain data for `json.dumps`; None if it is empty."""
        known = self._known
        if known is None:
            return None
        return {
            "stamp": self._stamp,
            "frame": known.frame,
            "presence": known.presence.tolist(),
            "expected": known.expected.tolist(),
            "seen": known.seen.tolist(),
            "unwanted": sorted(known.unselected.items()),
            "thumbnail": known.thumbnail.tolist(),
        }

    @classmethod
    def restored(
        cls, state: Mapping[str, Any] | None, prompts: tuple[str, ...], settings: SegmenterSettings
    ) -> StreamMemory:
        """Return the memory that `state()` was taken of, with the same prompts and settings.

        Raises:
            ValueError, KeyError, TypeError: `state` is damaged or belongs to other prompts.
        """
        memory = cls()
        if state is None:
            return memory
        if settings.encode_every > 1:
            raise ValueError("labels that move are not part of the state; expected encode_every 1")
        frame, stamp = _whole_number(state, "frame"), state["stamp"]
        if stamp is not None and type(stamp) is not int:
            raise ValueError(f"stamp is {stamp!r}; expected a whole number or nothing")
        seen = np.array(state["seen"])
        if seen.shape != (len(prompts),):
            raise ValueError(f"the state is that of other prompts; expected {len(prompts)} of them")
        if seen.dtype.kind != "i" or seen.min(initial=0) < 0 or seen.max(initial=0) > frame:
            raise ValueError(f"seen holds other numbers than those of frames; expected 0 to {frame}")
        unselected = {
            prompt: _whole_number({"unwanted": count}, "unwanted") for prompt, count in state["unwanted"]
        }
        if not all(type(prompt) is int and 0 <= prompt < len(prompts) for prompt in unselected):
            raise ValueError(f"unwanted names no prompts; expected indices below {len(prompts)}")
        memory._stamp = stamp
        memory._known = _Known(
            prompts,
            settings,
            frame,
            _fractions(state, "presence", (len(prompts),)),
            _fractions(state, "expected", (len(prompts),)),
            seen.astype(np.int64),
            unselected,
            _fractions(state, "thumbnail", THUMBNAIL_SHAPE),
        )
        return memory

    def _keep(self, version: object, known: _Known, stamp: int | None) -> None:
        if version is self._version:
            self._known, self._stamp, self._version = known, stamp, object()
            self._key = None

    def _keep_key(self, thumbnail: np.ndarray, key: KeyFrame) -> None:
        if self._known is not None and self._known.thumbnail is thumbnail:
            self._key, self._moved = key, 0

    def _keep_moved(self, version: object) -> None:
        if version is self._version:
            self._moved += 1


def _whole_number(state: Mapping[str, Any], name: str) -> int:
    value = state[name]
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} is {value!r}; expected a whole number from 0")
    return value


def _fractions(state: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = np.array(state[name], np.float32)
    # Comparisons with NaN are false.
    if values.shape != shape or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"{name} is damaged; expected numbers from 0 to 1 of shape {shape}")
    return values


@dataclass(frozen=True, eq=False)
class FramePlan:
    """A frame on its way: which prompts to score, and what the scores mean in the light of the frames before.

    Attributes:
        schedule: the prompts to score before the active set is known.
        prompts, settings: those of the segmenter.
        memory: of its stream; None for a single image.
        version, known, thumbnail, stamp: for the memory.
        key: the frame whose labels move to this one, which is not encoded; None: it is.
    """

    schedule: PreviewSchedule
    prompts: tuple[str, ...]
    settings: SegmenterSettings
    memory: StreamMemory | None = None
    version: object = None
    known: _Known | None = None
    thumbnail: np.ndarray | None = None
    stamp: int | None = None
    key: KeyFrame | None = None

    def encoded(self) -> FramePlan:
        """Return the plan of the same frame if it is encoded, although labels could move to it."""
        if self.key is None or self.known is None:
            return self
        return replace(self, schedule=_next_schedule(self.known, self.settings), key=None)

    @property
    def prunes(self) -> bool:
        """Whether any presence is known, so that the active set may be smaller than the vocabulary."""
        return self.schedule.mode != "none" or self.known is not None

    def presence(self, scored: np.ndarray | None) -> np.ndarray:
        """Return the last known presence of every prompt, float32 [P].

        Args:
            scored: float32 [P], presence of the prompts scored in this frame, NaN elsewhere; None: none was.
        """
        if self.known is None:
            if scored is None:
                raise ValueError("no presence is known; expected scores of this frame")
            return scored
        return (
            self.known.presence if scored is None else np.where(np.isnan(scored), self.known.presence, scored)
        )

    def active_set(self, scored: np.ndarray | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the prompts that presence selects, and the prompts to decode, both ascending.

        The latter are the former, and active ones that have not been unselected for `leave_after` frames.

        Args:
            scored: as in `presence`.
        """
        if not self.prunes:
            everything = tuple(range(len(self.prompts)))
            return everything, everything
        presence = self.presence(scored)
        selected = select_active(torch.from_numpy(presence), self.settings)
        if self.known is None:
            return selected, selected
        chosen = set(selected)
        staying = [
            prompt
            for prompt, frames in self.known.unselected.items()
            if prompt not in chosen and frames + 1 < self.settings.leave_after
        ]
        staying.sort(key=lambda prompt: (-float(presence[prompt]), prompt))
        return selected, tuple(sorted(chosen.union(staying[: self.settings.max_active - len(chosen)])))

    def keep_moved(self) -> None:
        """Report to the memory that labels were moved to the frame; otherwise as `keep`."""
        if self.memory is not None:
            self.memory._keep_moved(self.version)

    def keep_key(self, result: SegmentationResult, rgb: np.ndarray) -> None:
        """Report the finished result of a frame that was kept, and its image, where labels move to later frames."""
        if self.memory is not None and self.thumbnail is not None and self.settings.frames_per_encoding > 1:
            self.memory._keep_key(self.thumbnail, KeyFrame.of(result, rgb, self.stamp))

    def keep(self, scored: np.ndarray | None, selected: Iterable[int], decoded: Mapping[int, float]) -> None:
        """Report the frame's result to the memory; without effect if another frame or `forget` came between.

        Args:
            scored: as in `presence`.
            selected: as from `active_set`.
            decoded: presence at full resolution of each decoded prompt.
        """
        if self.memory is None or self.thumbnail is None or not self.prunes:
            return
        before = self.known
        frame = 0 if before is None else before.frame + 1
        presence = self.presence(scored).copy()
        seen = np.zeros(len(presence), np.int64) if before is None else before.seen.copy()
        seen[list(self.schedule.prompts)] = frame
        for prompt, value in decoded.items():
            presence[prompt], seen[prompt] = value, frame
        expected = presence.copy()
        if before is not None:
            updated = seen == frame
            decayed = np.where(updated, _DECAY, np.float32(1)) * before.expected
            expected = np.where(updated, np.maximum(presence, decayed), decayed).astype(np.float32)
        chosen = set(selected)
        past = {} if before is None else before.unselected
        unselected = {prompt: 0 if prompt in chosen else past.get(prompt, 0) + 1 for prompt in decoded}
        known = _Known(
            self.prompts, self.settings, frame, presence, expected, seen, unselected, self.thumbnail
        )
        self.memory._keep(self.version, known, self.stamp)

    @property
    def keeps_ids(self) -> bool:
        """Whether instances have the ids of their stream."""
        return self.memory is not None and self.memory._association is not None

    def identify(self, instances: Sequence[Instance], vocabulary: Vocabulary) -> tuple[Instance, ...]:
        """Return the frame's instances with the ids that they have on its stream.

        Args:
            instances: as decoding found them; none, if nobody asked for them.
            vocabulary: of the frame.
        """
        if self.memory is None:
            return tuple(instances)
        return self.memory._identify(instances, vocabulary, self.settings.occlusion_frames, self.stamp)

    def carry(self, instances: Sequence[Instance]) -> None:
        """Note where instances are that moved along with their ids."""
        if self.memory is not None:
            self.memory._carry(instances, self.stamp)


def require_distinct(memories: Sequence[StreamMemory | None]) -> None:
    """Refuse two frames of one stream in a batch, since each needs the result of the one before.

    Raises:
        SettingsError: a memory is given twice.
    """
    given = [id(memory) for memory in memories if memory is not None]
    if len(set(given)) != len(given):
        raise SettingsError(
            "two images of one batch have the same memory; give each stream its own, and its images one after the other"
        )


def _next_schedule(known: _Known, settings: SegmenterSettings) -> PreviewSchedule:
    inactive = np.array(
        [prompt for prompt in range(len(known.seen)) if prompt not in known.unselected], np.int64
    )
    # Those not seen for the longest time first.
    inactive = inactive[np.argsort(known.seen[inactive], kind="stable")]
    # In frames that are encoded.
    period = settings.preview_period // settings.frames_per_encoding
    frames_left = known.seen[inactive] + period - known.frame
    if settings.preview_way == "sweep":
        due = len(inactive) if (frames_left <= 1).any() else 0
    else:
        # An equal share in every frame; more where later frames, at most one above that share each, would miss a
        # deadline.
        share, remainder = divmod(len(inactive), period)
        later = (frames_left - 1) * (share + (remainder > 0))
        due = int((np.arange(1, len(inactive) + 1) - later).max(initial=share))
    chosen, rest = inactive[:due], inactive[due:]
    if settings.preview_way == "share":
        # Scoring rates in proportion to the root of how often a prompt appears find appearances soonest.
        urgency = np.sqrt(known.expected[rest]) * (known.frame + 1 - known.seen[rest])
        likely = rest[np.argsort(-urgency, kind="stable")][
            : settings.preview_likely * settings.frames_per_encoding
        ]
        chosen = np.concatenate([chosen, likely])
    if not len(chosen):
        return EMPTY_SCHEDULE
    return PreviewSchedule(cast("PreviewMode", settings.preview_way), tuple(sorted(chosen.tolist())))
