"""One camera: its image subscription and the topics that answer it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from activesam_ros import msg
from activesam_ros.drawing import overlay
from activesam_ros.palette import colour_table
from activesam_ros.ros import qos
from activesam_ros.ros.conversions import confidence_to_image, image_to_rgb, labels_to_image, rgb_to_image
from activesam_ros.ros.frame_slot import FrameSlot
from activesam_ros.ros.messages import active_classes, label_info, vocabulary_message
from activesam_ros.ros.preparation import Served
from activesam_ros.ros.tally import Tally
from activesam_ros.vocabulary import Vocabulary


@dataclass(frozen=True)
class Frame:
    """A received image and when it came (`time.monotonic()` seconds)."""

    message: Image
    arrived: float


class Camera:
    """Puts received images into a slot; `answer` runs in the worker's thread and publishes."""

    def __init__(self, node: Node, slot: FrameSlot[Frame], tally: Tally) -> None:
        self._slot = slot
        self._tally = tally
        self._labels = node.create_publisher(Image, "~/labels", qos.RESULTS_OUT)
        self._confidence = node.create_publisher(Image, "~/confidence", qos.RESULTS_OUT)
        self._overlay = node.create_publisher(Image, "~/overlay", qos.RESULTS_OUT)
        self._active_classes = node.create_publisher(msg.ActiveClasses, "~/active_classes", qos.RESULTS_OUT)
        self._label_info = node.create_publisher(LabelInfo, "~/label_info", qos.LATCHED_OUT)
        self._vocabulary = node.create_publisher(msg.Vocabulary, "~/vocabulary", qos.LATCHED_OUT)
        # Revision and threshold that were published last.
        self._announced: tuple[int | None, float | None] = (None, None)
        self._colours: tuple[Vocabulary, np.ndarray] | None = None
        self._subscription = node.create_subscription(Image, "image", self._received, qos.IMAGE_IN)

    @property
    def topic(self) -> str:
        """The image topic's full name, after remapping."""
        return self._subscription.topic_name

    def _received(self, message: Image) -> None:
        self._slot.put(Frame(message, time.monotonic()))

    def answer(self, frame: Frame, served: Served) -> dict[str, float]:
        """Segment a frame and publish everything that belongs to it, under its own header.

        Returns:
            seconds per stage, "latency" (arrival to published) last.

        Raises:
            ImageError: the image cannot be read; nothing was published.
        """
        header = frame.message.header
        taken = time.monotonic()
        rgb = image_to_rgb(frame.message)
        converted = time.monotonic()
        result = served.segmenter.segment(rgb)
        segmented = time.monotonic()
        self._announce(result.vocabulary, served, header)
        self._labels.publish(labels_to_image(result.labels, header))
        self._active_classes.publish(active_classes(result, served.revision, header))
        if self._confidence.get_subscription_count():
            self._confidence.publish(
                confidence_to_image(result.confidence, result.labels, result.unlabeled_id, header)
            )
        if self._overlay.get_subscription_count():
            picture = overlay(rgb, result.labels, self._table(result.vocabulary), result.unlabeled_id)
            self._overlay.publish(rgb_to_image(picture, header))
        published = time.monotonic()
        stages = {
            "wait": taken - frame.arrived,
            "convert": converted - taken,
            **{name: seconds for name, seconds in result.timings.items() if name != "total"},
            "segment": segmented - converted,
            "publish": published - segmented,
            "latency": published - frame.arrived,
        }
        self._tally.add(stages, len(result.active), len(result.vocabulary))
        return stages

    def _announce(self, vocabulary: Vocabulary, served: Served, header: Header) -> None:
        """Publish what the ids mean, before the first labels that it holds for."""
        threshold = served.segmenter.settings.confidence_threshold
        revision, announced_threshold = self._announced
        if (revision, announced_threshold) != (served.revision, threshold):
            self._label_info.publish(label_info(vocabulary, threshold, header))
        if revision != served.revision:
            self._vocabulary.publish(vocabulary_message(vocabulary, served.revision, header))
        self._announced = (served.revision, threshold)

    def _table(self, vocabulary: Vocabulary) -> np.ndarray:
        if self._colours is None or self._colours[0] is not vocabulary:
            self._colours = (
                vocabulary,
                colour_table(vocabulary.class_ids, vocabulary.colours, vocabulary.unlabeled_id),
            )
        return self._colours[1]
