"""Newest-frame hand-over between a subscription's callback and the thread that owns the model."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class FrameCounts:
    """Where every received frame went; `received` is always the sum of the other five.

    Attributes:
        received: frames put into the slot.
        answered: frames whose outputs were published.
        superseded: frames replaced by a newer one before the worker took them.
        failed: frames that were refused or on which the model raised.
        waiting: 1 while a frame lies in the slot, else 0.
        in_work: 1 while the worker has a frame, else 0.
        by_reason: of the failed ones, how many for which reason.
    """

    received: int = 0
    answered: int = 0
    superseded: int = 0
    failed: int = 0
    waiting: int = 0
    in_work: int = 0
    by_reason: tuple[tuple[Hashable, int], ...] = ()


class FrameSlot(Generic[T]):
    """Holds at most one frame: a newer one replaces it, and the replaced one is counted as superseded.

    Any thread may `put`; one worker thread calls `take` and then exactly one of `answered` or `failed`.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: T | None = None
        self._closed = False
        self._received = self._answered = self._superseded = self._in_work = 0
        self._failed: dict[Hashable, int] = {}

    def put(self, frame: T) -> None:
        """Hand over the newest frame; never blocks on the worker. After `close` the frame is ignored."""
        if frame is None:
            raise ValueError("a frame slot holds frames, got None")
        with self._changed:
            if self._closed:
                return
            self._received += 1
            if self._frame is not None:
                self._superseded += 1
            self._frame = frame
            self._changed.notify()

    def take(self) -> T | None:
        """Wait for a frame and take it out; None once the slot is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._frame is not None)
            if self._closed:
                return None
            frame, self._frame = self._frame, None
            self._in_work += 1
            return frame

    def answered(self) -> None:
        """Count the frame taken last as answered."""
        with self._changed:
            self._end_work()
            self._answered += 1

    def failed(self, reason: Hashable) -> None:
        """Count the frame taken last as failed for `reason` (a short word, since it is a key)."""
        with self._changed:
            self._end_work()
            self._failed[reason] = self._failed.get(reason, 0) + 1

    def _end_work(self) -> None:
        if not self._in_work:
            raise RuntimeError("no frame is in work: take() one before it is answered or failed")
        self._in_work -= 1

    def close(self) -> None:
        """Wake the worker and take no more frames; one that still waits stays counted as waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        with self._changed:
            return self._closed

    @property
    def counts(self) -> FrameCounts:
        """A consistent snapshot: received = answered + superseded + failed + waiting + in_work."""
        with self._changed:
            return FrameCounts(
                received=self._received,
                answered=self._answered,
                superseded=self._superseded,
                failed=sum(self._failed.values()),
                waiting=int(self._frame is not None),
                in_work=self._in_work,
                by_reason=tuple(self._failed.items()),
            )
