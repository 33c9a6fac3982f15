"""Plays a drive to the node over DDS and collects what it publishes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cv_bridge import CvBridge
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image
from tqdm import tqdm

from activesam_ros.datasets.labelled_bag import IMAGE_TOPIC
from activesam_ros.errors import ActiveSamError
from activesam_ros.msg import ActiveClasses, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from activesam_ros.demo.drive import RecordedFrame

NODE = "/activesam"
SETTLE_SECONDS = 20.0


@dataclass
class Answer:
    """What the node said of one frame; parts arrive on topics of their own.

    Attributes:
        labels: integers [H, W].
        confidence: uint8 [H, W], 255 is certain.
        revision: of the vocabulary.
        active: names of the active classes.
        seconds: from publishing the image to receiving the labels.
    """

    labels: np.ndarray | None = None
    confidence: np.ndarray | None = None
    revision: int | None = None
    active: tuple[str, ...] = ()
    seconds: float = float("nan")

    @property
    def complete(self) -> bool:
        return self.labels is not None and self.confidence is not None and self.revision is not None


@dataclass
class Recording:
    """All that came back from one replay.

    Attributes:
        published: stamps of the frames that were sent.
        answers: by stamp; only complete ones.
        class_names: by revision, class id → name, from `~/vocabulary`.
        change_seconds: from asking for the new vocabulary to the first label image with it.
    """

    published: list[int] = field(default_factory=list)
    answers: dict[int, Answer] = field(default_factory=dict)
    class_names: dict[int, dict[int, str]] = field(default_factory=dict)
    change_seconds: float = float("nan")


class ReplayNode(Node):
    """Publishes recorded images at a camera's pace, best effort as cameras do, and listens to the node's topics."""

    def __init__(self) -> None:
        super().__init__("toytown_replay")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._bridge = CvBridge()
        self._sent: dict[int, float] = {}
        self._answers: dict[int, Answer] = {}
        self._class_names: dict[int, dict[int, str]] = {}
        self._images = self.create_publisher(Image, IMAGE_TOPIC, qos_profile_sensor_data)
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(Image, f"{NODE}/labels", self._on_labels, 100)
        self.create_subscription(Image, f"{NODE}/confidence", self._on_confidence, 100)
        self.create_subscription(ActiveClasses, f"{NODE}/active_classes", self._on_active, 100)
        self.create_subscription(Vocabulary, f"{NODE}/vocabulary", self._on_vocabulary, latched)
        self._parameters = self.create_client(SetParameters, f"{NODE}/set_parameters")

    def wait_for_node(self, frame: RecordedFrame, check: Callable[[], None], patience: float) -> None:
        """Sends one frame again and again until the node answers it.

        Args:
            frame: what to send; it must not be played later, since a late answer could not be told apart.
            check: raises if the node has ended.
            patience: seconds.

        Raises:
            ActiveSamError: no answer came in time.
        """
        deadline = time.monotonic() + patience
        with tqdm(desc="waiting for the node", bar_format="{desc}: {elapsed}") as clock:
            while not self._answer(frame.stamp).complete:
                check()
                if time.monotonic() > deadline:
                    raise ActiveSamError(
                        f"the node gave no labels within {patience:.0f} s; read its log, and check that this shell "
                        "sourced env.sh, which sets the DDS transport for large images"
                    )
                self._images.publish(frame.message)
                self.spin(1.0)
                clock.update()
        self._answers.clear()

    def play(
        self,
        frames: Sequence[RecordedFrame],
        rate: float,
        new_words: Sequence[str],
        check: Callable[[], None],
    ) -> Recording:
        """Plays all frames and asks for `new_words` half-way, without a pause in the stream."""
        recording = Recording()
        half = len(frames) // 2
        asked = change = None
        begin = time.monotonic()
        for index, frame in enumerate(tqdm(frames, desc="replaying the bag", unit="frame")):
            if index == half:
                asked = time.monotonic()
                change = self._parameters.call_async(_vocabulary_request(new_words))
            self._sent[frame.stamp] = time.monotonic()
            self._images.publish(frame.message)
            recording.published.append(frame.stamp)
            self.spin(max(0.0, begin + (index + 1) / rate - time.monotonic()))
            check()
        deadline = time.monotonic() + SETTLE_SECONDS
        last = frames[-1].stamp
        while not self._answer(last).complete and time.monotonic() < deadline:
            self.spin(0.1)
            check()
        if change is not None:
            self._executor.spin_until_future_complete(change, timeout_sec=5.0)
            _require_success(change)
        recording.answers = {
            stamp: answer
            for stamp, answer in self._answers.items()
            if answer.complete and stamp in self._sent
        }
        for revision in {answer.revision for answer in recording.answers.values()}:
            if revision not in self._class_names:
                raise ActiveSamError(
                    f"labels of vocabulary revision {revision} came without their ~/vocabulary"
                )
            recording.class_names[revision] = self._class_names[revision]
        recording.change_seconds = self._change_seconds(recording.answers, asked)
        return recording

    def spin(self, seconds: float) -> None:
        """Handles what arrives for that long."""
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            self._executor.spin_once(timeout_sec=max(0.0, left))
            if left <= 0:
                return

    def _answer(self, stamp: int) -> Answer:
        return self._answers.setdefault(stamp, Answer())

    def _on_labels(self, message: Image) -> None:
        answer = self._answer(_stamp(message))
        answer.labels = self._bridge.imgmsg_to_cv2(message, "passthrough")
        answer.seconds = time.monotonic() - self._sent.get(_stamp(message), float("nan"))

    def _on_confidence(self, message: Image) -> None:
        self._answer(_stamp(message)).confidence = self._bridge.imgmsg_to_cv2(message, "passthrough")

    def _on_active(self, message: ActiveClasses) -> None:
        answer = self._answer(_stamp(message))
        answer.revision = message.vocabulary_revision
        answer.active = tuple(entry.name for entry in message.classes)

    def _on_vocabulary(self, message: Vocabulary) -> None:
        self._class_names[message.revision] = {entry.class_id: entry.name for entry in message.classes}

    def _change_seconds(self, answers: dict[int, Answer], asked: float | None) -> float:
        revisions = sorted({answer.revision for answer in answers.values()})
        if asked is None or len(revisions) < 2:
            return float("nan")
        first = min(stamp for stamp, answer in answers.items() if answer.revision == revisions[-1])
        return self._sent[first] + answers[first].seconds - asked


def _vocabulary_request(words: Sequence[str]) -> SetParameters.Request:
    return SetParameters.Request(parameters=[Parameter("vocabulary", value=list(words)).to_parameter_msg()])


def _require_success(change) -> None:
    if not change.done():
        raise ActiveSamError("the node did not answer the request for a new vocabulary; read its log")
    result = change.result().results[0]
    if not result.successful:
        raise ActiveSamError(f"the node refused the new vocabulary: {result.reason}")


def _stamp(message) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
