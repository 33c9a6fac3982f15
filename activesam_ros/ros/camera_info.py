"""Matching a camera's calibration to the labels of its images."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo
    from std_msgs.msg import Header


class InfoCache:
    """The last CameraInfo messages of one camera, by stamp.

    Drivers send one with every image and the same stamp; but it may come after the image, and some send it rarely.
    Any thread may add and ask.
    """

    def __init__(self, kept: int = 32) -> None:
        """`kept`: so many messages are remembered; more than the frames that may wait."""
        self._kept = kept
        # Messages come in the executor's thread and are asked for in the worker's.
        self._lock = threading.Lock()
        self._by_stamp: OrderedDict[tuple[int, int], CameraInfo] = OrderedDict()

    def add(self, info: CameraInfo) -> None:
        """Remember a message; it is not changed."""
        stamp = _key(info.header)
        with self._lock:
            self._by_stamp.pop(stamp, None)
            self._by_stamp[stamp] = info
            while len(self._by_stamp) > self._kept:
                self._by_stamp.popitem(last=False)

    def clear(self) -> None:
        """Forget them all: what comes next may be of another camera, or newly calibrated."""
        with self._lock:
            self._by_stamp.clear()

    def for_header(self, header: Header) -> CameraInfo | None:
        """What to publish beside the labels that carry `header`.

        Returns:
            a copy, under `header`, of the message with its stamp, or else of the one that came last; None as long as
            none came.
        """
        with self._lock:
            if not self._by_stamp:
                return None
            info = self._by_stamp.get(_key(header)) or next(reversed(self._by_stamp.values()))
        # The arrays inside are shared, which is safe: nobody changes a message that was received.
        info = copy.copy(info)
        info.header = header
        return info


def _key(header: Header) -> tuple[int, int]:
    return header.stamp.sec, header.stamp.nanosec
