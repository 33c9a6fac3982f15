"""When a replay begins, and how fast it goes: the slowest listener sets the pace."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activesam_ros.errors import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Pacing:
    """Counts the images that are on their way to each listener; for any thread.

    A listener takes images in the order in which they are sent. So an image before one that it has answered is done
    with, whatever became of it.
    """

    def __init__(self, listeners: Sequence[str], most: int) -> None:
        """Begin with no image on its way.

        Args:
            listeners: names of those who answer.
            most: maximum number of images without the answer of a listener.
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
        """Number of images without an answer, to them or to a later one, that are no longer waited for."""
        with self._changed:
            return self._abandoned

    def send(self, stamp: int) -> None:
        """Count an image that is about to be sent; its stamp in nanoseconds."""
        with self._changed:
            self._sent += 1
            for stamps in self._open.values():
                stamps.append(stamp)

    def answered(self, listener: str, stamp: int) -> None:
        """Count an answer to the image with this stamp; one to an image that is not on its way is ignored."""
        with self._changed:
            stamps = self._open[listener]
            if stamp in stamps:
                while stamps.popleft() != stamp:
                    pass
                self._changed.notify_all()

    def abandon(self, listener: str) -> int:
        """Expect no more answers to what was sent so far; return how many images that are."""
        with self._changed:
            lost = len(self._open[listener])
            self._open[listener].clear()
            self._abandoned += lost
            self._changed.notify_all()
            return lost

    def unanswered(self, listener: str) -> int:
        """Return the number of images on their way to a listener."""
        with self._changed:
            return len(self._open[listener])

    def wait_for_room(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until another image may be sent; return whether it may."""
        return self._wait(self._most - 1, timeout)

    def wait_for_all(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until no image is on its way; return whether none is."""
        return self._wait(0, timeout)

    def _wait(self, at_most: int, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(
                lambda: all(len(stamps) <= at_most for stamps in self._open.values()), timeout
            )


class Stillness:
    """Detects, from the counts that a node publishes once a second, that it has finished all that it received.

    Frames that it refused or that failed get no labels, so labels alone do not tell.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._since = 0

    def sent(self, now: int) -> None:
        """Note when an image was sent, in nanoseconds."""
        self._received = None
        self._since = now

    def counted(self, published: int, received: int, pending: int) -> bool:
        """Note published counts; return whether nothing is left to do.

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


@dataclass(frozen=True)
class Surroundings:
    """State of the other nodes, as the player sees it.

    Attributes:
        image_topic: that it publishes.
        labels_topic: that answers are expected on.
        labelling: names of the nodes that publish it.
        active: whether the node has announced its vocabulary, which it does once it serves.
        subscribers: of the images: whether each subscribes reliably, by the node's name.
        matched: number of subscribers that the images will reach.
        listeners: names of further nodes that have to listen.
    """

    image_topic: str
    labels_topic: str
    labelling: Sequence[str]
    active: bool
    subscribers: Mapping[str, bool]
    matched: int
    listeners: Sequence[str] = ()


def missing(seen: Surroundings) -> str | None:
    """Return what a replay still has to wait for; None: it can begin.

    Raises:
        EvaluationError: waiting is no use, since images would get lost.
    """
    if not seen.labelling:
        return f"a node that publishes {seen.labels_topic}"
    if not seen.active:
        return f"{seen.labelling[0]} to be active, which takes until its model is loaded"
    for name in (*seen.labelling, *seen.listeners):
        if name not in seen.subscribers:
            return f"{name} to subscribe to {seen.image_topic}"
        if not seen.subscribers[name]:
            raise EvaluationError(
                f"{name} subscribes to {seen.image_topic} as best effort, so that images may get lost; it has to "
                "subscribe reliably, as the node does with the parameter queue: all"
            )
    if seen.matched < len(seen.subscribers):
        return f"the connection to the subscribers of {seen.image_topic}"
    return None
