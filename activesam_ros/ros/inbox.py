"""Hand-over of frames from the subscriptions of every camera to the one thread that owns the model."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

F = TypeVar("F")


class Drop(StrEnum):
    """Why a frame was received and yet not answered; the value is the text for logs and diagnostics."""

    SUPERSEDED = "superseded"
    OVER_RATE = "over the rate"
    TOO_OLD = "too old"
    QUEUE_FULL = "queue full"
    BAD_IMAGE = "bad image"
    FAILED = "failed"
    OUT_OF_MEMORY = "out of memory"
    UNWANTED = "nobody listens"
    DEACTIVATED = "deactivated"


@dataclass(frozen=True)
class FrameCounts:
    """Where every received frame of one camera went: received = answered + total_dropped + waiting + in_work.

    Attributes:
        received: frames that came.
        answered: frames whose outputs were published.
        waiting: frames that nobody has taken yet.
        in_work: frames that the worker has taken and not ended yet.
        dropped: how many for which reason, in the order of `Drop`, without zeros.
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


class Inbox(Generic[F]):
    """Keeps the frames that wait, camera by camera, and counts where each one went.

    Any thread may `put`, `refuse` and ask for `counts`; one worker thread at a time calls `take`, and ends every
    frame that it took itself, with `answered` or `dropped`, in any order. An inbox starts shut.
    """

    def __init__(self, cameras: Sequence[str], queue_size: int | None) -> None:
        """Args:
            cameras: their names, at least one, each once.
            queue_size: None keeps the newest frame of each camera; a number keeps so many, in their order, and
                what comes to a full queue is dropped.

        Raises:
            ValueError: no camera, one that is named twice, or a queue without room.
        """
        if not cameras or len(set(cameras)) != len(cameras):
            raise ValueError(f"an inbox needs cameras with different names, got {list(cameras)}")
        if queue_size is not None and queue_size < 1:
            raise ValueError(f"a queue holds at least 1 frame, got {queue_size}")
        self._changed = threading.Condition()
        self._queue_size = queue_size
        self._cameras: dict[str, _Camera[F]] = {name: _Camera() for name in cameras}
        self._order = deque(cameras)
        self._open = self._woken = self._closed = False

    def open(self) -> None:
        """Let frames in."""
        with self._changed:
            self._open = True

    @property
    def is_open(self) -> bool:
        """Whether frames are let in."""
        with self._changed:
            return self._open and not self._closed

    def shut(self) -> None:
        """Drop the frames that wait, and those that come from now on; what is in work stays so."""
        with self._changed:
            self._open = False
            for camera in self._cameras.values():
                camera.drop(Drop.DEACTIVATED, len(camera.waiting))
                camera.waiting.clear()

    def put(self, camera: str, frame: F) -> Drop | None:
        """Hand over a frame without waiting for the worker.

        Returns:
            why this very frame was dropped; None if it waits now. After `close` it is ignored, since nobody will ask
            for the counts.
        """
        with self._changed:
            if self._closed:
                return Drop.DEACTIVATED
            entry = self._cameras[camera]
            entry.received += 1
            if not self._open:
                entry.drop(Drop.DEACTIVATED)
                return Drop.DEACTIVATED
            if self._queue_size is None and entry.waiting:
                entry.waiting.clear()
                entry.drop(Drop.SUPERSEDED)
            elif self._queue_size is not None and len(entry.waiting) >= self._queue_size:
                entry.drop(Drop.QUEUE_FULL)
                return Drop.QUEUE_FULL
            entry.waiting.append(frame)
            self._changed.notify_all()
            return None

    def refuse(self, camera: str, reason: Drop) -> None:
        """Count a frame that was dropped as it came; after `close` it is ignored."""
        with self._changed:
            if not self._closed:
                self._cameras[camera].received += 1
                self._cameras[camera].drop(reason)

    def take(self) -> list[tuple[str, F]]:
        """Wait for frames and take the oldest of every camera that has one.

        The camera that comes first changes from call to call, so none always waits for the others' answers.

        Returns:
            camera and frame; empty after `wake` if no frame waits, and always after `close`.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closed or self._woken or any(camera.waiting for camera in self._cameras.values())
                )
            )
            self._woken = False
            if self._closed:
                return []
            taken = []
            for name in self._order:
                camera = self._cameras[name]
                if camera.waiting:
                    taken.append((name, camera.waiting.popleft()))
                    camera.begin_work()
            if taken:
                self._order.rotate(-1)
            return taken

    def answered(self, camera: str) -> None:
        """End one frame of this camera that is in work: its outputs were published."""
        with self._changed:
            if self._cameras[camera].end_work():
                self._cameras[camera].answered += 1
            self._changed.notify_all()

    def dropped(self, camera: str, reason: Drop) -> None:
        """End one frame of this camera that is in work: it was not answered."""
        with self._changed:
            if self._cameras[camera].end_work():
                self._cameras[camera].drop(reason)
            self._changed.notify_all()

    def wake(self) -> None:
        """Make the `take` that waits now, or else the next one, return even without a frame."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def wait_idle(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until no frame is in work; whether that is so."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not any(camera.working for camera in self._cameras.values()), timeout
            )

    def give_up(self) -> None:
        """Drop the frames that are in work as `FAILED`: their worker hangs or has died.

        What that worker says of them later is ignored.
        """
        with self._changed:
            for camera in self._cameras.values():
                camera.give_up()
            self._changed.notify_all()

    def close(self) -> None:
        """Let the worker go and take no more frames; those that still wait stay counted as waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        with self._changed:
            return self._closed

    def counts(self, camera: str) -> FrameCounts:
        """A consistent snapshot."""
        with self._changed:
            return self._cameras[camera].counts()


class _Camera(Generic[F]):
    """The frames and the counts of one camera; the inbox's lock guards it."""

    def __init__(self) -> None:
        self.waiting: deque[F] = deque()
        self.received = self.answered = 0
        self._dropped = dict.fromkeys(Drop, 0)
        # Frames in work, and those that were given up, by the thread that took them.
        self.working: Counter[int] = Counter()
        self._given_up: Counter[int] = Counter()

    def drop(self, reason: Drop, number: int = 1) -> None:
        self._dropped[reason] += number

    def begin_work(self) -> None:
        self.working[threading.get_ident()] += 1

    def end_work(self) -> bool:
        """Whether the frame counts, which it does unless it was given up."""
        worker = threading.get_ident()
        for frames in (self.working, self._given_up):
            if frames[worker]:
                frames[worker] -= 1
                if not frames[worker]:
                    del frames[worker]
                return frames is self.working
        raise RuntimeError(
            "this thread has no frame of this camera in work: take() one before it is answered or dropped"
        )

    def give_up(self) -> None:
        self.drop(Drop.FAILED, self.working.total())
        self._given_up.update(self.working)
        self.working.clear()

    def counts(self) -> FrameCounts:
        return FrameCounts(
            received=self.received,
            answered=self.answered,
            waiting=len(self.waiting),
            in_work=self.working.total(),
            dropped=tuple((reason, number) for reason, number in self._dropped.items() if number),
        )
