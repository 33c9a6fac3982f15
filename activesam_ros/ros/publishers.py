"""What the node publishes of its results: the topics of each camera, and the meaning of the ids for all of them."""

from __future__ import annotations

import threading
import time
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from rclpy.event_handler import PublisherEventCallbacks, UnsupportedEventTypeError
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo

import activesam_ros.msg as msg
from activesam_ros.instances import draw_instances
from activesam_ros.ros import qos
from activesam_ros.ros.conversions import (
    active_classes_to_msg,
    confidence_to_msg,
    detections_to_msg,
    ids_to_msg,
    label_info_to_msg,
    labels_to_msg,
    panoptic_to_msg,
    rgb_to_msg,
    to_nanoseconds,
    to_stamp,
    vocabulary_to_msg,
)
from activesam_ros.visualization import colourise, legend_sheet, overlay
from activesam_ros.vocabulary.palette import UNLABELED, colour_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rclpy.lifecycle import LifecycleNode
    from rclpy.publisher import Publisher

    from activesam_ros.instances import Instance
    from activesam_ros.results import PreviewResult, SegmentationResult
    from activesam_ros.ros.camera import Camera
    from activesam_ros.ros.configuration_loader import LoadedConfiguration
    from activesam_ros.vocabulary import Vocabulary


_ACTIVE_SECONDS = 5.0
"""The legend counts as active what was decoded so long ago at most, so that its rows do not jump with every image."""

_REST = 50
"""Times as long as the legend took to draw, the executor's thread rests from drawing it for other active classes."""


class Demand(Enum):
    """How much of the work is wanted."""

    NOTHING = "nobody subscribes"
    PREVIEW = "the active classes are wanted, so the preview alone runs"
    LABELS = "labels are wanted"


class CameraPublishers:
    """The result topics of one camera; any thread may call any method.

    Topics are named `~/NAME/labels` and so on, or `~/labels` for a camera without a name, and keep `depth` messages for
    a slow subscriber. The camera follows the demand when subscribers come or go.
    """

    def __init__(self, node: LifecycleNode, name: str, depth: int, camera: Camera) -> None:
        """Create the publishers.

        Raises:
            SettingsError: QoS is overridden by what it cannot be.
        """
        self._node = node
        self._prefix = f"~/{name}/" if name else "~/"
        self._depth = depth
        self._camera = camera
        self._labels = self._publisher(Image, "labels")
        self._confidence = self._publisher(Image, "confidence")
        self._overlay = self._publisher(Image, "overlay")
        self._labels_color = self._publisher(Image, "labels_color")
        self._detections = self._publisher(Detection2DArray, "detections")
        self._instances = self._publisher(Image, "instances")
        self._panoptic = self._publisher(Image, "panoptic")
        self._detections_overlay = self._publisher(Image, "detections_overlay")
        self._active_classes = self._publisher(msg.ActiveClasses, "active_classes")
        self._camera_info = self._publisher(CameraInfo, "camera_info")
        self._colours: tuple[Vocabulary, np.ndarray] | None = None

    def demand(self) -> Demand:
        """Return what the current subscribers want."""
        pixelwise = (self._labels, self._confidence, self._overlay, self._labels_color)
        if self.wants_instances() or any(one.get_subscription_count() for one in pixelwise):
            return Demand.LABELS
        return Demand.PREVIEW if self._active_classes.get_subscription_count() else Demand.NOTHING

    def wants_instances(self) -> bool:
        """Return whether anybody subscribes to what is made of instances."""
        topics = (self._detections, self._instances, self._panoptic, self._detections_overlay)
        return any(one.get_subscription_count() for one in topics)

    def publish(
        self,
        result: SegmentationResult,
        rgb: np.ndarray,
        revision: int,
        header: Header,
        info: CameraInfo | None,
    ) -> None:
        """Publish the results of one image, under its own header.

        Args:
            result: of the image.
            rgb: the image, uint8 [H, W, 3].
            revision: of the vocabulary.
            header: of the image.
            info: the camera info under the same header, if there is any.
        """
        self._labels.publish(labels_to_msg(result.labels, header))
        self._active_classes.publish(active_classes_to_msg(result, revision, header))
        if info is not None:
            self._camera_info.publish(info)
        if self._confidence.get_subscription_count():
            confidence = confidence_to_msg(result.confidence, result.labels, result.unlabeled_id, header)
            self._confidence.publish(confidence)
        if self._overlay.get_subscription_count():
            picture = overlay(rgb, result.labels, self._table(result.vocabulary), result.unlabeled_id)
            self._overlay.publish(rgb_to_msg(picture, header))
        if self._labels_color.get_subscription_count():
            picture = colourise(result.labels, self._table(result.vocabulary))
            self._labels_color.publish(rgb_to_msg(picture, header))
        # Who subscribed while the image was in work gets those of the next one.
        if result.instances is not None:
            self._publish_instances(result, result.instances, rgb, header)

    def _publish_instances(
        self, result: SegmentationResult, instances: tuple[Instance, ...], rgb: np.ndarray, header: Header
    ) -> None:
        if self._detections.get_subscription_count():
            self._detections.publish(detections_to_msg(instances, header))
        as_ids, as_panoptic = (one.get_subscription_count() > 0 for one in (self._instances, self._panoptic))
        if as_ids or as_panoptic:
            ids = result.instance_ids
            if as_ids:
                self._instances.publish(ids_to_msg(ids, header))
            if as_panoptic:
                self._panoptic.publish(panoptic_to_msg(result.labels, ids, header))
        if self._detections_overlay.get_subscription_count():
            table = self._table(result.vocabulary)
            picture = overlay(rgb, result.labels, table, result.unlabeled_id)
            draw_instances(picture, instances, table)
            self._detections_overlay.publish(rgb_to_msg(picture, header))

    def publish_preview(self, result: PreviewResult, revision: int, header: Header) -> None:
        """Publish the active classes of one image, under its own header."""
        self._active_classes.publish(active_classes_to_msg(result, revision, header))

    def _publisher(self, kind: type, topic: str) -> Publisher:
        name, profile = self._prefix + topic, qos.results_out(self._depth)
        options = {"qos_overriding_options": qos.overriding()}
        events = PublisherEventCallbacks(matched=lambda _: self._camera.follow_demand())
        with qos.overrides_checked():
            try:
                return self._node.create_lifecycle_publisher(
                    kind, name, profile, event_callbacks=events, **options
                )
            except UnsupportedEventTypeError:
                return self._node.create_lifecycle_publisher(kind, name, profile, **options)

    def _table(self, vocabulary: Vocabulary) -> np.ndarray:
        if self._colours is None or self._colours[0] is not vocabulary:
            table = colour_table(vocabulary.class_ids, vocabulary.colours, vocabulary.unlabeled_id)
            self._colours = (vocabulary, table)
        return self._colours[1]


class LabelInfoPublisher:
    """Publishes `~/label_info` and `~/vocabulary`, and `~/legend` from its first subscriber on, once for all cameras.

    All are latched. Labels with the stamp of such a message or a later one have its names, until the next message.
    The worker's thread calls all but `show_legend`.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._label_info = node.create_lifecycle_publisher(LabelInfo, "~/label_info", qos.latched_out())
        self._vocabulary = node.create_lifecycle_publisher(msg.Vocabulary, "~/vocabulary", qos.latched_out())
        self._legend = node.create_lifecycle_publisher(Image, "~/legend", qos.latched_out())
        # Held while the legend is published: a repeated one must not come after a newer one.
        self._publishing = threading.Lock()
        self._current: tuple[Vocabulary, Header] | None = None
        self._viewers = 0
        # When each class was decoded last, time.monotonic() seconds by its id; and those that the legend has first.
        self._noting = threading.Lock()
        self._decoded: dict[int, float] = {}
        self._first: frozenset[int] = frozenset()
        self._rest_until = 0.0
        # Whether one was published, since the middleware would show an outdated one to whoever comes.
        self._latched = False
        # Revision, threshold and stamp that were published last, and the newest stamp that was answered.
        self._last: tuple[int, float] | None = None
        self._stamp = 0
        self._newest = -1

    def before(self, headers: list[Header], served: LoadedConfiguration) -> None:
        """Publish, if need be, before images with these headers are answered."""
        first = min(headers, key=lambda header: to_nanoseconds(header.stamp))
        # Time may jump back, as it does when a recording starts anew; the names must hold for these images too.
        if self._last != _meaning(served) or to_nanoseconds(first.stamp) < self._stamp:
            self._publish(served, first)
        self._newest = max(to_nanoseconds(header.stamp) for header in headers)

    def ahead(self, served: LoadedConfiguration) -> None:
        """Publish, if need be, before any image has arrived: who waits for the names finds them."""
        if self._last != _meaning(served):
            self._publish(served, Header(stamp=to_stamp(self._newest + 1)))

    def note_active(self, class_ids: Iterable[int]) -> None:
        """Take in which classes of an image were decoded."""
        now = time.monotonic()
        with self._noting:
            self._decoded.update(dict.fromkeys(class_ids, now))

    def show_legend(self) -> None:
        """Publish the legend, again too, if it has a new subscriber, or other classes are active.

        Executor's thread, once a second while the node is active. Image viewers often do not ask for what was
        published before they came.
        """
        viewers = self._legend.get_subscription_count()
        active = self._active()
        others = active != self._first and time.monotonic() > self._rest_until
        if viewers > self._viewers or (viewers and others):
            with self._publishing:
                self._publish_legend()
        self._viewers = viewers

    def _publish(self, served: LoadedConfiguration, header: Header) -> None:
        stamp, (revision, threshold) = to_nanoseconds(header.stamp), _meaning(served)
        self._label_info.publish(label_info_to_msg(served.vocabulary, threshold, header))
        if self._last is None or self._last[0] != revision or stamp < self._stamp:
            self._vocabulary.publish(vocabulary_to_msg(served.vocabulary, revision, header))
            with self._noting:
                self._decoded = {}
            with self._publishing:
                self._current, self._first = (served.vocabulary, header), frozenset()
                if self._latched or self._legend.get_subscription_count():
                    self._publish_legend()
        self._last, self._stamp = (revision, threshold), stamp

    def _active(self) -> frozenset[int]:
        """Return the classes that were decoded lately; those that the legend has first if no image was labelled."""
        since = time.monotonic() - _ACTIVE_SECONDS
        with self._noting:
            return frozenset(one for one, at in self._decoded.items() if at > since) or self._first

    def _publish_legend(self) -> None:
        """Publish ids, names and colours, active classes first, and at last those of pixels without a class.

        It has 7 MB for 500 classes.
        """
        if self._current is None:
            return
        started = time.monotonic()
        vocabulary, header = self._current
        self._first = active = self._active()
        classes = sorted(vocabulary.classes, key=lambda one: one.class_id not in active)
        sheet = legend_sheet(
            [*(one.class_id for one in classes), vocabulary.unlabeled_id],
            [*(one.name for one in classes), "no class"],
            np.array([*(one.colour for one in classes), UNLABELED], np.uint8),
            active=[*(one.class_id in active for one in classes), True] if active else None,
        )
        self._legend.publish(rgb_to_msg(sheet, header))
        self._rest_until = time.monotonic() + _REST * (time.monotonic() - started)
        self._latched = True


def _meaning(served: LoadedConfiguration) -> tuple[int, float]:
    return served.revision, served.segmenter.settings.confidence_threshold
