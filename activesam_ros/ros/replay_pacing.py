"""How many images of a replay may be on their way: whoever takes them sets the pace."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Pacing:
    """Keeps count of the images that are on their way to each listener; any thread may tell and ask.

    A listener takes images in the order in which they are sent. So an image before one that it has answered is done
    with, whatever became of it.
    """

    def __init__(self, listeners: Sequence[str], most: int) -> None:
        """Args:
        listeners: names of those who answer.
        most: so many images may be without the answer of a listener.
        """
        self._changed = threading.Condition()
        self._open: dict[str, deque[int]] = {name: deque() for name in listeners}
        self._most = most
        self._sent = 0
        self._abandoned = 0

    @property
    def sent(self) -> int:
        """Number of images."""
        with self._changed:
            return self._sent

    @property
    def abandoned(self) -> int:
        """Number of images that nobody waits for any more without an answer to them or to a later one."""
        with self._changed:
            return self._abandoned

    def send(self, stamp: int) -> None:
        """An image with this stamp, in nanoseconds, is about to be sent."""
        with self._changed:
            self._sent += 1
            for stamps in self._open.values():
                stamps.append(stamp)

    def answered(self, listener: str, stamp: int) -> None:
        """An answer to the image with this stamp came; one to an image that is not on its way is nothing."""
        with self._changed:
            stamps = self._open[listener]
            if stamp in stamps:
                while stamps.popleft() != stamp:
                    pass
                self._changed.notify_all()

    def abandon(self, listener: str) -> int:
        """No more answers are expected to what was sent so far; returns how many images that are."""
        with self._changed:
            lost = len(self._open[listener])
            self._open[listener].clear()
            self._abandoned += lost
            self._changed.notify_all()
            return lost

    def unanswered(self, listener: str) -> int:
        """Number of images on their way to a listener."""
        with self._changed:
            return len(self._open[listener])

    def wait_for_room(self, timeout: float) -> bool:
        """Wait until another image may be sent; whether that came within so many seconds."""
        return self._wait(self._most - 1, timeout)

    def wait_for_all(self, timeout: float) -> bool:
        """Wait until no image is on its way; whether that came within so many seconds."""
        return self._wait(0, timeout)

    def _wait(self, at_most: int, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(
                lambda: all(len(stamps) <= at_most for stamps in self._open.values()), timeout
            )


class Stillness:
    """Tells from the counts that a node publishes once a second whether it has done all that it got.

    Frames that it refused or that failed get no labels, so labels alone do not tell.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._since = 0

    def sent(self, now: int) -> None:
        """An image was sent, at this time in nanoseconds."""
        self._received = None
        self._since = now

    def counted(self, published: int, received: int, pending: int) -> bool:
        """Whether nothing is left to do.

        That takes two counts in a row: an image may have been on its way at the first.

        Args:
            published: when the counts were published, in nanoseconds.
            received: number of frames that ever came to the node.
            pending: number of them that wait or are in work.
        """
        if published <= self._since or pending:
            self._received = None
            return False
        still = received == self._received
        self._received = received
        return still
