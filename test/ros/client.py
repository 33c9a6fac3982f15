"""What a robot is to the node: a camera, subscribers, and tools that call its services, over DDS."""

from __future__ import annotations

import array
import os
import threading
import time
from collections import Counter
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING

import cv2

from .processes import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np

RESULTS = ("labels", "active_classes", "label_info", "vocabulary")
_LATCHED = ("label_info", "vocabulary")
_PARTS = ("answered", "waiting", "in work")
_NUMBERS = count()


class Client:
    """One camera of a node, and whoever uses it; spun in a thread of its own.

    Attributes:
        images: publisher of the camera's images.
        received: by topic, `message`, `stamp` (its seconds) and `sent` (when, in nanoseconds) of what came.
        diagnostics: level, message and values of "activesam: vocabulary", as they came.
        statuses: the same of every status of the node, by the name's end: "node", "vocabulary", "camera front".
        beats, missed_beats: heartbeats that came, and how often one came too late.
    """

    def __init__(
        self,
        rclpy,
        camera: str = "",
        *,
        namespace: str = "",
        topics: Sequence[str] = RESULTS,
        transport: str = "raw",
        reliable: bool = False,
        stamps: Iterator[int] | None = None,
    ) -> None:
        """
        Args:
            rclpy: initialised; of it, `create_node` is used.
            camera: its name; empty: the only one.
            namespace: of the node, without the leading slash.
            topics: subscribed from the start.
            transport: of the images; "compressed" sends JPEG.
            reliable: whether images are published reliably.
            stamps: numbers the images; cameras that share one have a common clock. None: 1, 2, 3 ...
        """
        from activesam_ros.msg import ActiveClasses, Vocabulary
        from diagnostic_msgs.msg import DiagnosticArray
        from lifecycle_msgs.srv import ChangeState, GetState
        from rclpy.event_handler import SubscriptionEventCallbacks
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.parameter_client import AsyncParameterClient
        from rclpy.qos import QoSProfile, qos_profile_parameters
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image
        from std_msgs.msg import Header
        from vision_msgs.msg import Detection2DArray, LabelInfo

        from activesam_ros.ros import qos

        self._changed = threading.Condition()
        self._camera = camera
        self._owner = f"{namespace}/activesam".lstrip("/")
        self.node = rclpy.create_node(
            f"client_{os.getpid()}_{next(_NUMBERS)}", namespace=namespace, start_parameter_services=False
        )
        self._kind = Image if transport == "raw" else CompressedImage
        self._topic = "/".join(filter(None, (camera, "image", "" if transport == "raw" else transport)))
        self.plug(reliable)
        infos = "/".join(filter(None, (camera, "camera_info")))
        self._infos = self.node.create_publisher(CameraInfo, infos, QoSProfile(depth=100))
        self.received: dict[str, list] = {}
        self._subscriptions: dict = {}
        self._types = {
            "labels": Image,
            "confidence": Image,
            "overlay": Image,
            "active_classes": ActiveClasses,
            "camera_info": CameraInfo,
            "detections": Detection2DArray,
            "instances": Image,
            "panoptic": Image,
            "label_info": LabelInfo,
            "vocabulary": Vocabulary,
        }
        for name in topics:
            self.subscribe(name)
        self.statuses: dict[str, list[tuple[int, str, dict[str, str]]]] = {}
        self._diagnosed_at: dict[str, int] = {}
        self._counted: Counter[str] = Counter()
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnosed, 100)
        self.beats: list[Header] = []
        self.missed_beats = 0
        self.node.create_subscription(
            Header,
            "activesam/heartbeat",
            self._beat,
            qos.heartbeat(),
            event_callbacks=SubscriptionEventCallbacks(deadline=self._missed),
        )
        # By default it keeps 10 answers, and loses others when many come at once.
        self.parameters = AsyncParameterClient(self.node, "activesam", qos_profile=qos_profile_parameters)
        self._change_state = self.node.create_client(ChangeState, "activesam/change_state")
        # The last one: a node that knows it knows those before it, too.
        self._get_state = self.node.create_client(GetState, "activesam/get_state")
        self._introduced = False
        self._stamps = stamps or count(1)
        self._executor = SingleThreadedExecutor(context=self.node.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    # Subscribing.

    def subscribe(self, topic: str, before: Callable[[], None] = lambda: None) -> None:
        """Subscribe one of the node's topics; `before` runs in the callback, ahead of anything else."""
        from rclpy.qos import QoSProfile

        from activesam_ros.ros import qos

        kept = self.received.setdefault(topic, [])
        base = qos.latched_out() if topic in _LATCHED else qos.results_out()
        profile = QoSProfile(depth=100, reliability=base.reliability, durability=base.durability)

        # rclpy hands the message's info to a callback that takes exactly two arguments.
        def keep(message, info):
            before()
            with self._changed:
                kept.append(
                    SimpleNamespace(
                        message=message, stamp=message.header.stamp.sec, sent=info["source_timestamp"]
                    )
                )
                self._changed.notify_all()

        name = "/".join(filter(None, ("activesam", "" if topic in _LATCHED else self._camera, topic)))
        self._subscriptions[topic] = self.node.create_subscription(self._types[topic], name, keep, profile)

    def unsubscribe(self, topic: str) -> None:
        self.node.destroy_subscription(self._subscriptions.pop(topic))

    @property
    def is_wanted(self) -> bool:
        """Whether anybody subscribes to the camera's images."""
        return self.images.get_subscription_count() > 0

    def until(self, condition, patience: float = PATIENCE) -> bool:
        """Wait for a condition of what was received."""
        with self._changed:
            return self._changed.wait_for(condition, patience)

    def stamps(self, topic: str) -> list[int]:
        return [entry.stamp for entry in self.received[topic]]

    def with_stamp(self, topic: str, stamp: int):
        assert self.until(lambda: stamp in self.stamps(topic)), f"no {topic} for image {stamp}"
        return next(entry for entry in self.received[topic] if entry.stamp == stamp)

    # Publishing.

    def plug(self, reliable: bool) -> None:
        """Let there be a camera."""
        from rclpy.qos import QoSProfile, qos_profile_sensor_data

        profile = QoSProfile(depth=100) if reliable else qos_profile_sensor_data
        self.images = self.node.create_publisher(self._kind, self._topic, profile)

    def unplug(self) -> None:
        """Let there be none."""
        self.node.destroy_publisher(self.images)

    def send(self, rgb: np.ndarray | None = None, *, stamp: int | None = None, info=None, **fields) -> int:
        """Publish an image (or a message with these fields); its stamp's seconds number it.

        `info` is a CameraInfo that is published ahead, under the same header.
        """
        message = self._kind()
        if rgb is not None and hasattr(message, "format"):
            message.format = "rgb8; jpeg compressed bgr8"
            message.data = array.array("B", jpeg(rgb))
        elif rgb is not None:
            message.height, message.width = rgb.shape[:2]
            message.encoding, message.step = "rgb8", 3 * rgb.shape[1]
            message.data = array.array("B", rgb.tobytes())
        for name, value in fields.items():
            setattr(message, name, value)
        stamp = next(self._stamps) if stamp is None else stamp
        message.header.stamp.sec = stamp
        message.header.stamp.nanosec = 7 * stamp % 1_000_000_000
        message.header.frame_id = f"camera {stamp}"
        if info is not None:
            info.header = message.header
            self._infos.publish(info)
        self.images.publish(message)
        return stamp

    def ask(self, rgb: np.ndarray, **given):
        """Publish an image and wait for its labels."""
        return self.with_stamp("labels", self.send(rgb, **given))

    def connect(self, rgb: np.ndarray) -> None:
        """Publish until the first answer: discovery takes its time, and an image may come before it."""
        deadline = time.monotonic() + PATIENCE
        before = len(self.received["labels"])
        while len(self.received["labels"]) == before:
            assert time.monotonic() < deadline, "the node never answered"
            if self.images.get_subscription_count() and self._subscriptions["labels"].get_publisher_count():
                self.send(rgb)
                self.until(lambda: len(self.received["labels"]) > before, 1.0)
            else:
                time.sleep(0.05)
        # A second one, so that none of the first ones is still under way.
        self.ask(rgb)
        self.introduce()

    # Diagnostics and heartbeat.

    @property
    def diagnostics(self) -> list[tuple[int, str, dict[str, str]]]:
        return self.statuses.get("vocabulary", [])

    def _diagnosed(self, message, info) -> None:
        with self._changed:
            for status in message.status:
                owner, _, name = status.name.partition(": ")
                if owner == self._owner:
                    values = {one.key: one.value for one in status.values}
                    self.statuses.setdefault(name, []).append((status.level[0], status.message, values))
                    self._diagnosed_at[name] = info["source_timestamp"]
            self._changed.notify_all()

    def diagnosed(self, condition, name: str = "vocabulary") -> dict[str, str]:
        """The values of the next diagnosis of which `condition(level, message, values)` holds."""
        seen = len(self.statuses.get(name, []))

        def found():
            return next((one for one in self.statuses.get(name, [])[seen:] if condition(*one)), None)

        assert self.until(found), self.statuses.get(name, [])[seen:][-3:]
        return found()[2]

    def counted(self, received: int = 0) -> dict[str, int]:
        """Where the camera's frames went since the last call, or the start: what is not 0, by its name.

        Waits for a diagnosis that is newer than the call, with no frame under way and at least so many received.
        Every diagnosis until then must add up.
        """
        name = f"camera {self._camera}".strip()
        asked = time.time_ns()

        def found():
            counts = self._counts(name)
            return (
                self._diagnosed_at.get(name, 0) > asked
                and counts["received"] - self._counted["received"] >= received
                and not counts["waiting"] + counts["in work"]
            )

        assert self.until(found), self.statuses.get(name, [])[-3:]
        with self._changed:
            for _, _, values in self.statuses[name]:
                counts = _counts(values)
                assert counts["received"] == counts.total() - counts["received"], values
            counts = self._counts(name)
        gained = counts - self._counted
        self._counted = counts
        return dict(gained)

    def _counts(self, name: str) -> Counter[str]:
        statuses = self.statuses.get(name)
        return _counts(statuses[-1][2]) if statuses else Counter()

    def _beat(self, message) -> None:
        with self._changed:
            self.beats.append(message)
            self._changed.notify_all()

    def _missed(self, event) -> None:
        with self._changed:
            self.missed_beats += event.total_count_change
            self._changed.notify_all()

    # Services.

    def introduce(self) -> None:
        """Wait until services answer: an answer to a client that the node has not discovered yet gets lost."""
        deadline = time.monotonic() + PATIENCE
        answered = threading.Event()
        while not self._introduced:
            assert time.monotonic() < deadline, "the node's services do not answer"
            if self._get_state.wait_for_service(1.0):
                self._asked_state().add_done_callback(lambda _: answered.set())
                # A late answer to an earlier question does as well.
                self._introduced = answered.wait(0.3)

    def _asked_state(self):
        from lifecycle_msgs.srv import GetState

        return self._get_state.call_async(GetState.Request())

    @staticmethod
    def _answered(future, patience: float) -> bool:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        return done.wait(patience)

    def result(self, future):
        """What the service answers."""
        assert self._answered(future, PATIENCE), "the service did not answer"
        return future.result()

    def set_later(self, **values):
        """Ask for parameters in one atomic call; the future answers."""
        from rclpy.parameter import Parameter

        self.introduce()
        return self.parameters.set_parameters_atomically(
            [Parameter(name, value=value) for name, value in values.items()]
        )

    def set(self, **values):
        """Set parameters in one atomic call: (successful, reason)."""
        result = self.result(self.set_later(**values)).result
        return result.successful, result.reason

    def get(self, name: str):
        from rclpy.parameter import parameter_value_to_python

        self.introduce()
        return parameter_value_to_python(self.result(self.parameters.get_parameters([name])).values[0])

    def change_state_later(self, transition: str):
        """Ask for a transition ("configure", "activate" …); the future answers."""
        from lifecycle_msgs.srv import ChangeState

        self.introduce()
        request = ChangeState.Request()
        request.transition.label = transition
        return self._change_state.call_async(request)

    def change_state(self, transition: str) -> bool:
        """Ask for a transition; whether it succeeded."""
        return self.result(self.change_state_later(transition)).success

    def state(self) -> str:
        """The lifecycle state, such as "active"."""
        self.introduce()
        return self.result(self._asked_state()).current_state.label

    def eventually(self, condition) -> None:
        """Ask again and again until `condition` holds; fails after a long while."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.02)

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(PATIENCE)
        self.node.destroy_node()


def jpeg(rgb: np.ndarray) -> bytes:
    """A picture as a JPEG file."""
    return cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def _counts(values: dict[str, str]) -> Counter[str]:
    """The counts of a camera's status, the reasons without "dropped: "."""
    dropped = {
        key.removeprefix("dropped: "): value for key, value in values.items() if key.startswith("dropped: ")
    }
    kept = {key: values[key] for key in ("received", *_PARTS)}
    return Counter({key: int(value) for key, value in (kept | dropped).items()})
