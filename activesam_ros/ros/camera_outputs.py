"""What is published of one camera, and how much of it anybody wants."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from rclpy.event_handler import PublisherEventCallbacks, UnsupportedEventTypeError
from sensor_msgs.msg import CameraInfo, Image

from activesam_ros import msg
from activesam_ros.ros import qos
from activesam_ros.ros.conversions import active_classes_to_msg, confidence_to_msg, labels_to_msg, rgb_to_msg
from activesam_ros.visualization import colourise, overlay
from activesam_ros.vocabulary.palette import colour_table

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from rclpy.lifecycle import LifecycleNode
    from rclpy.publisher import Publisher
    from std_msgs.msg import Header

    from activesam_ros.results import PreviewResult, SegmentationResult
    from activesam_ros.vocabulary import Vocabulary


class Demand(Enum):
    """How much of the work is wanted."""

    NOTHING = "nobody subscribes"
    PREVIEW = "the active classes are wanted, so the preview alone runs"
    LABELS = "labels are wanted"


class CameraOutputs:
    """The topics of one camera; `demand` and the publishing methods are for any thread."""

    def __init__(self, node: LifecycleNode, name: str, depth: int, changed: Callable[[], None]) -> None:
        """Args:
            node: that publishes.
            name: of the camera; empty: the only one.
            depth: so many messages of a topic are kept for a slow subscriber.
            changed: called in the executor's thread when subscribers came or went.

        Raises:
            SettingsError: quality of service is overridden by what it cannot be.
        """
        self._node = node
        self._prefix = f"~/{name}/" if name else "~/"
        self._depth = depth
        self._changed = changed
        self._labels = self._publisher(Image, "labels")
        self._confidence = self._publisher(Image, "confidence")
        self._overlay = self._publisher(Image, "overlay")
        self._labels_color = self._publisher(Image, "labels_color")
        self._active_classes = self._publisher(msg.ActiveClasses, "active_classes")
        self._camera_info = self._publisher(CameraInfo, "camera_info")
        self._colours: tuple[Vocabulary, np.ndarray] | None = None

    def demand(self) -> Demand:
        """What the subscribers there are now want."""
        pixelwise = (self._labels, self._confidence, self._overlay, self._labels_color)
        if any(one.get_subscription_count() for one in pixelwise):
            return Demand.LABELS
        return Demand.PREVIEW if self._active_classes.get_subscription_count() else Demand.NOTHING

    def publish(
        self,
        result: SegmentationResult,
        rgb: np.ndarray,
        revision: int,
        header: Header,
        info: CameraInfo | None,
    ) -> None:
        """Publish what belongs to one image, under its own header.

        Args:
            result: of the image.
            rgb: the image, uint8 [H, W, 3].
            revision: of the vocabulary.
            header: of the image.
            info: the camera's calibration under the same header, if it is known.
        """
        self._labels.publish(labels_to_msg(result.labels, header))
        self._active_classes.publish(active_classes_to_msg(result, revision, header))
        if info is not None:
            self._camera_info.publish(info)
        if self._confidence.get_subscription_count():
            self._confidence.publish(
                confidence_to_msg(result.confidence, result.labels, result.unlabeled_id, header)
            )
        if self._overlay.get_subscription_count():
            picture = overlay(rgb, result.labels, self._table(result.vocabulary), result.unlabeled_id)
            self._overlay.publish(rgb_to_msg(picture, header))
        if self._labels_color.get_subscription_count():
            picture = colourise(result.labels, self._table(result.vocabulary))
            self._labels_color.publish(rgb_to_msg(picture, header))

    def publish_preview(self, result: PreviewResult, revision: int, header: Header) -> None:
        """Publish the active classes of one image, under its own header."""
        self._active_classes.publish(active_classes_to_msg(result, revision, header))

    def _publisher(self, kind: type, topic: str) -> Publisher:
        events = PublisherEventCallbacks(matched=lambda _: self._changed())
        name = self._prefix + topic
        given = {"qos_overriding_options": qos.overriding()}
        profile = qos.results_out(self._depth)
        with qos.overrides_checked():
            try:
                return self._node.create_lifecycle_publisher(
                    kind, name, profile, event_callbacks=events, **given
                )
            except UnsupportedEventTypeError:
                return self._node.create_lifecycle_publisher(kind, name, profile, **given)

    def _table(self, vocabulary: Vocabulary) -> np.ndarray:
        if self._colours is None or self._colours[0] is not vocabulary:
            self._colours = (
                vocabulary,
                colour_table(vocabulary.class_ids, vocabulary.colours, vocabulary.unlabeled_id),
            )
        return self._colours[1]
