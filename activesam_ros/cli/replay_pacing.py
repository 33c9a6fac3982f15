"""When a replay begins, and how fast it goes: the node's answers set the pace."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activesam_ros.errors import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Pacing:
    """Counts the images that are on their way, by the topics on which the node answers them; for any thread.

    The node takes images in the order in which they are sent. So an image before one that it has answered is done
    with, whatever became of it.
    """

    def __init__(self, topics: Sequence[str], most: int) -> None:
        """Begin with no image on its way.

        Args:
            topics: of the answers; the first sets the pace, the others are waited for at the end.
            most: maximum number of images without an answer on the first.
        """
        self._changed = threading.Condition()
        self._open: dict[str, deque[int]] = {name: deque() for name in topics}
        self._first = self._open[topics[0]]
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

    def answered(self, topic: str, stamp: int) -> None:
        """Count an answer to the image with this stamp; one to an image that is not on its way is ignored."""
        with self._changed:
            stamps = self._open[topic]
            if stamp in stamps:
                while stamps.popleft() != stamp:
                    pass
                self._changed.notify_all()

    def abandon(self) -> None:
        """Expect no more answers to what was sent so far."""
        with self._changed:
            self._abandoned += len(self._first)
            for stamps in self._open.values():
                stamps.clear()
            self._changed.notify_all()

    def wait_for_room(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until another image may be sent; return whether it may."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._first) < self._most, timeout)

    def wait_for_all(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until no image is on its way; return whether none is."""
        with self._changed:
            return self._changed.wait_for(lambda: not any(self._open.values()), timeout)


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
        described: whether its parameters are known, or need not be.
        subscribers: of the images: whether each subscribes reliably, by the node's name.
        matched: number of subscribers that the images will reach.
    """

    image_topic: str
    labels_topic: str
    labelling: Sequence[str]
    active: bool
    described: bool
    subscribers: Mapping[str, bool]
    matched: int


def missing(seen: Surroundings) -> str | None:
    """Return what a replay still has to wait for; None: it can begin.

    Raises:
        EvaluationError: waiting is no use, since images would get lost.
    """
    if not seen.labelling:
        return f"a node that publishes {seen.labels_topic}"
    if not seen.active:
        return f"{seen.labelling[0]} to be active, which takes until its model is loaded"
    if not seen.described:
        return f"the parameters of {seen.labelling[0]}"
    for name in seen.labelling:
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
