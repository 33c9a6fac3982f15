"""Tells what the ids of label images mean, before the first labels that it holds for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from activesam_ros import msg
from activesam_ros.ros import qos
from activesam_ros.ros.conversions import label_info_to_msg, rgb_to_msg, vocabulary_to_msg
from activesam_ros.visualization import legend_sheet
from activesam_ros.vocabulary.palette import UNLABELED

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

    from activesam_ros.ros.vocabulary_loader import LoadedVocabulary
    from activesam_ros.vocabulary import Vocabulary

_NANOSECONDS = 1_000_000_000


class Announcer:
    """Publishes `~/label_info`, `~/vocabulary` and `~/legend`, all latched, once for all cameras.

    All but `show_again` is for the worker's thread.

    Labels with the stamp of an announcement or a later one have its names, until the next announcement.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._label_info = node.create_lifecycle_publisher(LabelInfo, "~/label_info", qos.latched_out())
        self._vocabulary = node.create_lifecycle_publisher(msg.Vocabulary, "~/vocabulary", qos.latched_out())
        self._legend = node.create_lifecycle_publisher(Image, "~/legend", qos.latched_out())
        self._sheet: tuple[Vocabulary, np.ndarray] | None = None
        # Held while the legend is published: what is shown again must not come after a newer one.
        self._showing = threading.Lock()
        self._shown: Image | None = None
        self._viewers = 0
        # Revision, threshold and stamp that were published last.
        self._revision: int | None = None
        self._threshold: float | None = None
        self._stamp = 0
        self._newest = -1

    def before(self, headers: list[Header], served: LoadedVocabulary) -> None:
        """Announce, if need be, before images with these headers are answered."""
        first = min(headers, key=_nanoseconds)
        # Time may jump back, as it does when a recording starts anew; what is said must hold for these images too.
        if self._needed(served) or _nanoseconds(first) < self._stamp:
            self._announce(served, first)
        self._newest = max(_nanoseconds(header) for header in headers)

    def ahead(self, served: LoadedVocabulary) -> None:
        """Announce, if need be, before any image has come: who waits for the names finds them."""
        if self._needed(served):
            header = Header()
            header.stamp.sec, header.stamp.nanosec = divmod(self._newest + 1, _NANOSECONDS)
            self._announce(served, header)

    def show_again(self) -> None:
        """Publish the legend once more if somebody has come to look at it; executor's thread, while the node is active.

        Viewers of images often do not ask for what was published before they came.
        """
        viewers = self._legend.get_subscription_count()
        if viewers > self._viewers:
            with self._showing:
                if self._shown is not None:
                    self._legend.publish(self._shown)
        self._viewers = viewers

    def _needed(self, served: LoadedVocabulary) -> bool:
        return (self._revision, self._threshold) != (served.revision, _threshold(served))

    def _announce(self, served: LoadedVocabulary, header: Header) -> None:
        again = _nanoseconds(header) < self._stamp
        self._label_info.publish(label_info_to_msg(served.vocabulary, _threshold(served), header))
        if self._revision != served.revision or again:
            self._vocabulary.publish(vocabulary_to_msg(served.vocabulary, served.revision, header))
            shown = rgb_to_msg(self._legend_of(served.vocabulary), header)
            with self._showing:
                self._shown = shown
                self._legend.publish(shown)
        self._revision, self._threshold = served.revision, _threshold(served)
        self._stamp = _nanoseconds(header)

    def _legend_of(self, vocabulary: Vocabulary) -> np.ndarray:
        if self._sheet is None or self._sheet[0] is not vocabulary:
            self._sheet = vocabulary, legend_picture(vocabulary)
        return self._sheet[1]


def legend_picture(vocabulary: Vocabulary) -> np.ndarray:
    """Ids, names and colours of a vocabulary, and at last the id and colour of pixels without a class.

    Returns:
        uint8 [height, width, 3], RGB.
    """
    return legend_sheet(
        [*vocabulary.class_ids, vocabulary.unlabeled_id],
        [*vocabulary.names, "no class"],
        np.array([*vocabulary.colours, UNLABELED], np.uint8),
    )


def _threshold(served: LoadedVocabulary) -> float:
    return served.segmenter.settings.confidence_threshold


def _nanoseconds(header: Header) -> int:
    return header.stamp.sec * _NANOSECONDS + header.stamp.nanosec
