"""Tells what the ids of label images mean, before the first labels that it holds for."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from activesam_ros import msg
from activesam_ros.ros import qos
from activesam_ros.ros.messages import label_info, vocabulary_message
from activesam_ros.ros.preparation import Served

_NANOSECONDS = 1_000_000_000


class Announcer:
    """Publishes `~/label_info` and `~/vocabulary`, both latched, once for all cameras; worker's thread.

    Labels with the stamp of an announcement or a later one have its names, until the next announcement.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._label_info = node.create_lifecycle_publisher(LabelInfo, "~/label_info", qos.latched_out())
        self._vocabulary = node.create_lifecycle_publisher(msg.Vocabulary, "~/vocabulary", qos.latched_out())
        # Revision, threshold and stamp that were published last.
        self._revision: int | None = None
        self._threshold: float | None = None
        self._stamp = 0
        self._newest = -1

    def before(self, headers: list[Header], served: Served) -> None:
        """Announce, if need be, before images with these headers are answered."""
        first = min(headers, key=_nanoseconds)
        # Time may jump back, as it does when a recording starts anew; what is said must hold for these images too.
        if self._needed(served) or _nanoseconds(first) < self._stamp:
            self._announce(served, first)
        self._newest = max(_nanoseconds(header) for header in headers)

    def ahead(self, served: Served) -> None:
        """Announce, if need be, before any image has come: who waits for the names finds them."""
        if self._needed(served):
            header = Header()
            header.stamp.sec, header.stamp.nanosec = divmod(self._newest + 1, _NANOSECONDS)
            self._announce(served, header)

    def _needed(self, served: Served) -> bool:
        return (self._revision, self._threshold) != (served.revision, _threshold(served))

    def _announce(self, served: Served, header: Header) -> None:
        again = _nanoseconds(header) < self._stamp
        self._label_info.publish(label_info(served.vocabulary, _threshold(served), header))
        if self._revision != served.revision or again:
            self._vocabulary.publish(vocabulary_message(served.vocabulary, served.revision, header))
        self._revision, self._threshold = served.revision, _threshold(served)
        self._stamp = _nanoseconds(header)


def _threshold(served: Served) -> float:
    return served.segmenter.settings.confidence_threshold


def _nanoseconds(header: Header) -> int:
    return header.stamp.sec * _NANOSECONDS + header.stamp.nanosec
