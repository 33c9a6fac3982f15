"""The frame queue: hands the images of every camera to the model worker; counts and latency of what became of them."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from sensor_msgs.msg import CompressedImage, Image


class Drop(StrEnum):
    """Why a frame was received and yet not answered; the value is the text for logs and diagnostics."""

    SUPERSEDED = "superseded"
    OVER_RATE = "over the rate"
    TOO_OLD = "too old"
    QUEUE_FULL = "queue full"
    BAD_IMAGE = "bad image"
    FAILED = "failed"
    OUT_OF_MEMORY = "out of memory"
    NO_SUBSCRIBER = "nobody listens"
    DEACTIVATED = "deactivated"


@dataclass(frozen=True, eq=False)
class Frame:
    """An image message of a camera, and when it arrived (`time.monotonic()` seconds)."""

    camera: str
    message: Image | CompressedImage
    arrived: float


@dataclass(frozen=True)
class FrameCounts:
    """Where every received frame of one camera went: received = answered + total_dropped + waiting + in_work.

    `dropped` holds the number for each reason, in the order of `Drop`, without zeros.
    """

    received: int = 0
    answered: int = 0
    waiting: int = 0
    in_work: int = 0
    dropped: tuple[tuple[Drop, int], ...] = ()

    @property
    def total_dropped(self) -> int:
        """Dropped frames, whatever the reason."""
        return sum(number for _, number in self.dropped)


class FrameQueue:
    """Keeps the waiting frames of each camera; any thread may call any method. It starts shut.

    A worker that took a frame ends it with `answered` or `dropped`. Of a frame that was given up meanwhile, both are
    ignored.
    """

    def __init__(self, cameras: Sequence[str], size: int | None) -> None:
        """Create the queues.

        Args:
            cameras: names, at least one, each once.
            size: None keeps the newest frame of each camera; a number keeps that many in order, and drops further ones.

        Raises:
            ValueError: no camera, a name given twice, or a size below 1.
        """
        if not cameras or len(set(cameras)) != len(cameras):
            raise ValueError(f"a frame queue needs cameras with different names, got {list(cameras)}")
        if size is not None and size < 1:
            raise ValueError(f"a queue holds at least 1 frame, got {size}")
        self._changed = threading.Condition()
        self._size = size
        self._cameras = {name: _CameraQueue() for name in cameras}
        self._order = deque(cameras)
        self._open = self._woken = self._closed = False

    def open(self) -> None:
        """Accept frames."""
        with self._changed:
            self._open = True

    @property
    def is_open(self) -> bool:
        """Whether frames are accepted."""
        with self._changed:
            return self._open and not self._closed

    def shut(self) -> None:
        """Drop the waiting frames and those that arrive from now on; frames in work stay so."""
        with self._changed:
            self._open = False
            for queue in self._cameras.values():
                queue.dropped[Drop.DEACTIVATED] += len(queue.waiting)
                queue.waiting.clear()

    def put(self, frame: Frame) -> Drop | None:
        """Add a frame; return why it was dropped, None if it waits now. After `close` nothing is counted."""
        with self._changed:
            if self._closed:
                return Drop.DEACTIVATED
            queue = self._cameras[frame.camera]
            queue.received += 1
            if not self._open:
                queue.dropped[Drop.DEACTIVATED] += 1
                return Drop.DEACTIVATED
            if self._size is None and queue.waiting:
                queue.waiting.clear()
                queue.dropped[Drop.SUPERSEDED] += 1
            elif self._size is not None and len(queue.waiting) >= self._size:
                queue.dropped[Drop.QUEUE_FULL] += 1
                return Drop.QUEUE_FULL
            queue.waiting.append(frame)
            self._changed.notify_all()
            return None

    def refuse(self, camera: str, reason: Drop) -> None:
        """Count a frame that was dropped on arrival."""
        with self._changed:
            if not self._closed:
                self._cameras[camera].received += 1
                self._cameras[camera].dropped[reason] += 1

    def take(self, most: int | None = None) -> list[Frame]:
        """Wait for frames and take the oldest of every camera that has one, or of the `most` whose turn it is.

        The camera that comes first changes from call to call, so that none always waits for the others.

        Returns:
            frames of different cameras; empty after `wake` if no frame waits, and always after `close`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._woken or self._any_waiting())
            self._woken = False
            if self._closed:
                return []
            names = [name for name in self._order if self._cameras[name].waiting][:most]
            if names:
                self._order.remove(names[0])
                self._order.append(names[0])
            return [self._cameras[name].take() for name in names]

    def answered(self, frame: Frame) -> None:
        """End a frame in work: its outputs were published."""
        with self._changed:
            queue = self._cameras[frame.camera]
            if frame in queue.working:
                queue.working.remove(frame)
                queue.answered += 1
                self._changed.notify_all()

    def dropped(self, frame: Frame, reason: Drop) -> None:
        """End a frame in work without outputs."""
        with self._changed:
            queue = self._cameras[frame.camera]
            if frame in queue.working:
                queue.working.remove(frame)
                queue.dropped[reason] += 1
                self._changed.notify_all()

    def wake(self) -> None:
        """Make the current `take`, or else the next one, return even without a frame."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def wait_idle(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until no frame is in work; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not any(one.working for one in self._cameras.values()), timeout
            )

    def give_up(self) -> None:
        """Drop the frames in work as `FAILED`: their worker hangs or has died."""
        with self._changed:
            for queue in self._cameras.values():
                queue.dropped[Drop.FAILED] += len(queue.working)
                queue.working.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """Let the worker go and take no more frames; those that wait stay counted as waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def counts(self, camera: str) -> FrameCounts:
        """Return a consistent snapshot."""
        with self._changed:
            queue = self._cameras[camera]
            dropped = tuple((reason, number) for reason, number in queue.dropped.items() if number)
            return FrameCounts(
                queue.received, queue.answered, len(queue.waiting), len(queue.working), dropped
            )

    def _any_waiting(self) -> bool:
        return any(queue.waiting for queue in self._cameras.values())


@dataclass
class _CameraQueue:
    """The frames and counts of one camera; the frame queue's lock guards it."""

    waiting: deque[Frame] = field(default_factory=deque)
    working: set[Frame] = field(default_factory=set)
    received: int = 0
    answered: int = 0
    dropped: dict[Drop, int] = field(default_factory=lambda: dict.fromkeys(Drop, 0))

    def take(self) -> Frame:
        frame = self.waiting.popleft()
        self.working.add(frame)
        return frame


@dataclass(frozen=True)
class Recent:
    """Number of frames within some seconds (0 before the second look), without reasons that have none."""

    seconds: float = 0.0
    received: int = 0
    answered: int = 0
    dropped: dict[Drop, int] = field(default_factory=dict)

    def lost(self, *reasons: Drop) -> int:
        """Return the number of frames dropped for these reasons."""
        return sum(self.dropped.get(reason, 0) for reason in reasons)

    def rate(self, number: int) -> float:
        """Convert a number of frames to frames per second."""
        return number / self.seconds if self.seconds else 0.0


class RecentCounts:
    """Turns counts since the start into those of at most the last `span` seconds."""

    def __init__(self, span: float = 10.0) -> None:
        self._span = span
        self._looks: deque[tuple[float, FrameCounts]] = deque()

    def look(self, now: float, counts: FrameCounts) -> Recent:
        """Return what happened since the oldest look within the span.

        Args:
            now: seconds of a clock that never jumps.
            counts: of one camera, since the start.
        """
        while self._looks and now - self._looks[0][0] > self._span:
            self._looks.popleft()
        self._looks.append((now, counts))
        then, before = self._looks[0]
        earlier = dict(before.dropped)
        return Recent(
            seconds=now - then,
            received=counts.received - before.received,
            answered=counts.answered - before.answered,
            dropped={
                reason: number - earlier.get(reason, 0)
                for reason, number in counts.dropped
                if number > earlier.get(reason, 0)
            },
        )


@dataclass(frozen=True)
class Percentiles:
    """Seconds that half of the frames, and 95 % of them, took at most."""

    p50: float
    p95: float


class Latency:
    """Collects the durations of the answered frames of one camera; any thread may call any method.

    Args:
        keep: number of frames that the summary covers.
        recent: number of frames that the percentiles cover.
        clock: seconds; it never jumps.
    """

    def __init__(
        self, keep: int = 2000, recent: int = 100, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._recent = recent
        self._lock = threading.Lock()
        self._since_report: deque[Mapping[str, float]] = deque(maxlen=keep)
        self._kept: deque[Mapping[str, float]] = deque(maxlen=keep)
        self._active: tuple[int, int] | None = None
        self._answered: float | None = None

    def add(self, stages: Mapping[str, float], active: int, classes: int) -> None:
        """Add an answered frame.

        Args:
            stages: seconds per stage, among them "latency" (arrival to published).
            active: number of active classes.
            classes: number of classes of the vocabulary.
        """
        with self._lock:
            self._since_report.append(stages)
            self._kept.append(stages)
            self._active = (active, classes)
            self._answered = self._clock()

    @property
    def active(self) -> tuple[int, int] | None:
        """Active classes and all classes of the frame that was answered last; None before the first."""
        with self._lock:
            return self._active

    @property
    def since_answer(self) -> float | None:
        """Seconds since a frame was answered; None before the first."""
        with self._lock:
            return None if self._answered is None else self._clock() - self._answered

    def percentiles(self) -> dict[str, Percentiles]:
        """Return those of every stage over the recent frames that had it, in the order of the stages."""
        with self._lock:
            frames = list(self._kept)[-self._recent :]
        return _percentiles(frames)

    def report(self, counts: FrameCounts) -> str:
        """Return one line: counts since the start, medians since the last report."""
        with self._lock:
            frames = list(self._since_report)
            self._since_report.clear()
            return _line(counts, frames, self._active)

    def summary(self, counts: FrameCounts) -> str:
        """Return one line: counts since the start, medians over the frames that were kept."""
        with self._lock:
            return _line(counts, list(self._kept), self._active)


def _percentiles(frames: Sequence[Mapping[str, float]]) -> dict[str, Percentiles]:
    names = dict.fromkeys(name for stages in frames for name in stages)
    durations = {name: [stages[name] for stages in frames if name in stages] for name in names}
    return {name: percentiles(one) for name, one in durations.items()}


def percentiles(durations: Collection[float]) -> Percentiles:
    """Return those of durations, at least one."""
    ascending = sorted(durations)
    return Percentiles(_nearest_rank(0.5, ascending), _nearest_rank(0.95, ascending))


def _nearest_rank(share: float, ascending: Sequence[float]) -> float:
    """Return the nearest-rank percentile."""
    return ascending[math.ceil(share * len(ascending)) - 1]


def _line(counts: FrameCounts, frames: Sequence[Mapping[str, float]], active: tuple[int, int] | None) -> str:
    parts = [
        f"frames: {counts.received} in = {counts.answered} out + {counts.total_dropped} dropped "
        f"+ {counts.waiting + counts.in_work} pending"
    ]
    if counts.dropped:
        parts.append("dropped: " + ", ".join(f"{reason} {number}" for reason, number in counts.dropped))
    if frames:
        medians = ", ".join(f"{name} {1000 * one.p50:.1f}" for name, one in _percentiles(frames).items())
        parts.append(f"median ms: {medians}")
    if active:
        parts.append(f"active classes: {active[0]} of {active[1]}")
    return "; ".join(parts)
