"""The client of the demonstration: play a drive to the node over DDS and collect what it publishes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tqdm import tqdm

from activesam_ros.datasets.labelled_bag import IMAGE_TOPIC
from activesam_ros.errors import ActiveSamError
from activesam_ros.images.raw import image_to_ids
from activesam_ros.msg import ActiveClasses, Vocabulary
from activesam_ros.ros.conversions import rgb_to_msg, to_nanoseconds, to_stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from activesam_ros.datasets.samples import Sample

NODE = "/activesam"
SETTLE_SECONDS = 20.0


@dataclass(frozen=True)
class FrameOutput:
    """What the node published for one frame.

    Attributes:
        labels: integers [H, W].
        confidence: uint8 [H, W], 255 is certain.
        revision: of the vocabulary.
        active: names of the active classes.
        seconds: from publishing the image to receiving the labels.
    """

    labels: np.ndarray
    confidence: np.ndarray
    revision: int
    active: tuple[str, ...]
    seconds: float


@dataclass
class Replay:
    """All that came back from one replay.

    Attributes:
        published: stamps of the frames that were sent.
        outputs: by stamp; of frames whose labels, confidence and active classes all arrived.
        class_names: by revision, class id → name, from `~/vocabulary`.
        change_seconds: from the request for the new vocabulary to the first label image with it.
    """

    published: list[int] = field(default_factory=list)
    outputs: dict[int, FrameOutput] = field(default_factory=dict)
    class_names: dict[int, dict[int, str]] = field(default_factory=dict)
    change_seconds: float = float("nan")


class DemoClient(Node):
    """Publishes recorded images at a camera's rate, best effort as cameras do, and subscribes to the node's topics."""

    def __init__(self) -> None:
        super().__init__("toytown_replay")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._sent: dict[int, float] = {}
        # By stamp: fields of FrameOutput, which arrive on topics of their own.
        self._parts: dict[int, dict[str, Any]] = {}
        self._class_names: dict[int, dict[int, str]] = {}
        self._images = self.create_publisher(Image, IMAGE_TOPIC, qos_profile_sensor_data)
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(Image, f"{NODE}/labels", self._on_labels, 100)
        self.create_subscription(Image, f"{NODE}/confidence", self._on_confidence, 100)
        self.create_subscription(ActiveClasses, f"{NODE}/active_classes", self._on_active, 100)
        self.create_subscription(Vocabulary, f"{NODE}/vocabulary", self._on_vocabulary, latched)
        self._parameters = self.create_client(SetParameters, f"{NODE}/set_parameters")

    def wait_for_node(self, frame: Sample, check: Callable[[], None], timeout: float) -> None:
        """Publish one frame once a second until the node has labelled it.

        Args:
            frame: must not be played later, since late labels could not be told apart.
            check: raises if the node has ended.
            timeout: seconds.

        Raises:
            ActiveSamError: no labels came in time.
        """
        deadline = time.monotonic() + timeout
        with tqdm(desc="waiting for the node", bar_format="{desc}: {elapsed}") as clock:
            while not self._complete(frame.stamp):
                check()
                if time.monotonic() > deadline:
                    raise ActiveSamError(
                        f"the node gave no labels within {timeout:.0f} s; read its log, and check that this shell "
                        "sourced env.sh, which sets the DDS transport for large images"
                    )
                self._publish(frame)
                self._spin(1.0)
                clock.update()
        self._parts.clear()

    def play(
        self, frames: Sequence[Sample], rate: float, new_classes: Sequence[str], check: Callable[[], None]
    ) -> Replay:
        """Play all frames at `rate` frames/s and request `new_classes` half-way, without a pause in the stream."""
        replay = Replay()
        begin = time.monotonic()
        for index, frame in enumerate(tqdm(frames, desc="replaying the bag", unit="frame")):
            if index == len(frames) // 2:
                asked = time.monotonic()
                parameter = Parameter("vocabulary", value=list(new_classes)).to_parameter_msg()
                change = self._parameters.call_async(SetParameters.Request(parameters=[parameter]))
            self._sent[frame.stamp] = time.monotonic()
            self._publish(frame)
            replay.published.append(frame.stamp)
            self._spin(max(0.0, begin + (index + 1) / rate - time.monotonic()))
            check()
        deadline = time.monotonic() + SETTLE_SECONDS
        while not self._complete(frames[-1].stamp) and time.monotonic() < deadline:
            self._spin(0.1)
            check()
        self._executor.spin_until_future_complete(change, timeout_sec=5.0)
        if not change.done():
            raise ActiveSamError("the node did not answer the request for a new vocabulary; read its log")
        if not change.result().results[0].successful:
            raise ActiveSamError(f"the node refused the new vocabulary: {change.result().results[0].reason}")
        complete = filter(self._complete, replay.published)
        replay.outputs = {stamp: FrameOutput(**self._parts[stamp]) for stamp in complete}
        revisions = sorted({output.revision for output in replay.outputs.values()})
        for revision in revisions:
            if revision not in self._class_names:
                raise ActiveSamError(
                    f"labels of vocabulary revision {revision} came without their ~/vocabulary"
                )
            replay.class_names[revision] = self._class_names[revision]
        if len(revisions) > 1:
            first = min(stamp for stamp, out in replay.outputs.items() if out.revision == revisions[-1])
            replay.change_seconds = self._sent[first] + replay.outputs[first].seconds - asked
        return replay

    def _publish(self, frame: Sample) -> None:
        self._images.publish(rgb_to_msg(frame.rgb, Header(stamp=to_stamp(frame.stamp), frame_id="camera")))

    def _spin(self, seconds: float) -> None:
        """Handle what arrives for that long."""
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            self._executor.spin_once(timeout_sec=max(0.0, left))
            if left <= 0:
                return

    def _complete(self, stamp: int) -> bool:
        return len(self._parts.get(stamp, ())) == len(fields(FrameOutput))

    def _add(self, message: Any, **parts: Any) -> None:
        self._parts.setdefault(to_nanoseconds(message.header.stamp), {}).update(parts)

    def _on_labels(self, message: Image) -> None:
        sent = self._sent.get(to_nanoseconds(message.header.stamp), float("nan"))
        self._add(message, labels=image_to_ids(message), seconds=time.monotonic() - sent)

    def _on_confidence(self, message: Image) -> None:
        self._add(message, confidence=image_to_ids(message))

    def _on_active(self, message: ActiveClasses) -> None:
        active = tuple(entry.name for entry in message.classes)
        self._add(message, revision=message.vocabulary_revision, active=active)

    def _on_vocabulary(self, message: Vocabulary) -> None:
        self._class_names[message.revision] = {entry.class_id: entry.name for entry in message.classes}
