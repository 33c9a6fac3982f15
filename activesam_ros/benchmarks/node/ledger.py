"""What was sent to the node and what came back; how many frames are on their way."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Traffic:
    """The frames of one camera, as seen from outside the node.

    Attributes:
        sent: frames, bad ones included.
        bad: of them, frames that the node has to refuse.
        labelled: labels that came.
        strange: labels for no frame that was on its way: never sent, bad, or labelled already.
        on_the_way: frames after the last one that was labelled.
    """

    sent: int
    bad: int
    labelled: int
    strange: int
    on_the_way: int


class Ledger:
    """Keeps the books of every camera; any thread may write and ask.

    Labels come in the order of their frames. So frames before the last labelled one are done, whatever became of them,
    and a player that keeps few frames on their way never overruns a queue.
    """

    def __init__(self, cameras: Sequence[str]) -> None:
        self._changed = threading.Condition()
        self._books = {name: _Book() for name in cameras}
        self._sent = 0

    def sent(self, camera: str, stamp: int, when: float, good: bool = True) -> None:
        """A frame is about to be sent.

        Args:
            camera: which.
            stamp: of the frame, in nanoseconds; larger than those before.
            when: seconds of the clock that `labelled` uses.
            good: whether the node has to label it.
        """
        with self._changed:
            book = self._books[camera]
            book.on_the_way.append(_Sent(stamp, when, good, self._sent))
            book.sent += 1
            book.bad += not good
            self._sent += 1

    def labelled(self, camera: str, stamp: int, when: float) -> None:
        """The labels of a frame came."""
        with self._changed:
            book = self._books[camera]
            book.labelled += 1
            if not any(frame.stamp == stamp and frame.good for frame in book.on_the_way):
                book.strange += 1
            else:
                while (frame := book.on_the_way.popleft()).stamp != stamp:
                    pass
                book.latencies.append((frame.number, when - frame.when))
            self._changed.notify_all()

    def traffic(self, camera: str) -> Traffic:
        """The counts so far."""
        with self._changed:
            book = self._books[camera]
            return Traffic(book.sent, book.bad, book.labelled, book.strange, len(book.on_the_way))

    def latencies(self, camera: str | None = None) -> list[float]:
        """Seconds from sending to labels, in the order of sending; None: of all cameras."""
        with self._changed:
            books = self._books.values() if camera is None else [self._books[camera]]
            return [seconds for _, seconds in sorted(one for book in books for one in book.latencies)]

    def wait_for(self, camera: str, at_most: int, timeout: float) -> bool:
        """Wait until at most so many frames of a camera are on their way; whether that came within `timeout`."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._books[camera].on_the_way) <= at_most, timeout)


@dataclass(frozen=True)
class _Sent:
    stamp: int
    when: float
    good: bool
    number: int


class _Book:
    def __init__(self) -> None:
        self.on_the_way: deque[_Sent] = deque()
        self.latencies: list[tuple[int, float]] = []
        self.sent = self.bad = self.labelled = self.strange = 0
