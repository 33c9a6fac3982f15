"""Record what is played to the node and what it answers, as one recording that can be scored."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rclpy.serialization import serialize_message

from activesam_ros.datasets.bag_writer import BagWriter
from activesam_ros.datasets.labelled_bag import whole_recording

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from activesam_ros.datasets.label_origin import LabelOrigin
    from activesam_ros.datasets.storage import RawMessage


@dataclass(frozen=True, eq=False)
class _Image:
    """An image that is on its way: its stamp, None if it cannot be read, and what is written of it."""

    stamp: int | None
    connection: Any
    time: int
    data: bytes


@contextmanager
def recorder(folder: Path, overwrite: bool) -> Iterator[ReplayRecorder]:
    """Record to a folder, which appears at the end, complete; after an exception it is as before.

    Raises:
        DatasetError: the folder is in the way or cannot be written.
    """
    with whole_recording(folder, overwrite) as path, BagWriter(path, squeeze=True) as bag:
        yield ReplayRecorder(bag)


class ReplayRecorder:
    """Writes messages, under the time at which they were sent or published; any thread may call any method.

    An image is written once it is answered or a later one is, so that those that were on their way when the replay was
    interrupted do not count as failed; there are never more of them than the player lets wait.

    Attributes:
        images: number of images that were written.
    """

    def __init__(self, bag: BagWriter) -> None:
        """Write to an open bag."""
        self.images = 0
        self._bag = bag
        self._lock = threading.Lock()
        self._connections: dict[tuple[str, str], Any] = {}
        self._waiting: deque[_Image] = deque()

    def add(self, topic: str, message: Any, published: int = 0, latched: bool = False) -> None:
        """Write a ROS message; `published` in nanoseconds, 0: now."""
        kind = type(message)
        name = f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"
        data = serialize_message(message)
        with self._lock:
            if (topic, name) not in self._connections:
                self._connections[topic, name] = self._bag.connection(topic, name, latched)
            self._bag.write_raw(self._connections[topic, name], published or time.time_ns(), data)

    def copy(self, topic: str, message: RawMessage) -> None:
        """Write a message of another recording as it is."""
        with self._lock:
            self._bag.write_raw(self._copied(topic, message), time.time_ns(), message[2])

    def send(self, topic: str, message: RawMessage, stamp: int | None) -> None:
        """Note an image of another recording that is about to be sent; `stamp` in nanoseconds, None: it is not sent."""
        with self._lock:
            self._waiting.append(_Image(stamp, self._copied(topic, message), time.time_ns(), message[2]))

    def answered(self, stamp: int) -> None:
        """Write the image with this stamp and those before it."""
        with self._lock:
            if any(one.stamp == stamp for one in self._waiting):
                while self._write_first().stamp != stamp:
                    pass

    def finish(self, origin: LabelOrigin, interrupted: bool) -> None:
        """Write the images that nobody answers any more, unless the replay was interrupted, and what was done."""
        with self._lock:
            while self._waiting and not interrupted:
                self._write_first()
            self._bag.note(origin.custom_data())

    def _write_first(self) -> _Image:
        one = self._waiting.popleft()
        self._bag.write_raw(one.connection, one.time, one.data)
        self.images += 1
        return one

    def _copied(self, topic: str, message: RawMessage) -> Any:
        original = message[1]
        if (topic, original.type) not in self._connections:
            self._connections[topic, original.type] = self._bag.copied_connection(original, topic)
        return self._connections[topic, original.type]
