"""Cameras for the node, and somebody who wants its labels."""

from __future__ import annotations

import array
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image

from activesam_ros.benchmarks.node.ledger import Ledger
from activesam_ros.benchmarks.node.plan import Fault
from activesam_ros.errors import ActiveSamError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rclpy.task import Future

NODE = "activesam"
_DEPTH = 200
_PATIENCE = 60.0
_ANEW_SECONDS = 1.0


class Client:
    """Publishes images and keeps a ledger of what comes back; callbacks run in a thread of their own.

    Attributes:
        ledger: frames sent and labelled, in `time.perf_counter` seconds.
    """

    def __init__(self, cameras: Sequence[str], reliable: bool) -> None:
        """Args:
        cameras: names as in the node's parameter; "" alone: its only camera.
        reliable: whether the images are sent so that none can get lost; cameras usually are best effort.
        """
        self.ledger = Ledger(cameras)
        self._node = rclpy.create_node("bench_client")
        self._last_stamp = 0
        profile = QoSProfile(depth=_DEPTH) if reliable else qos_profile_sensor_data
        self._images = {}
        for name in cameras:
            prefix = f"{name}/" if name else ""
            self._images[name] = self._node.create_publisher(Image, f"{prefix}image", profile)
            self._node.create_subscription(
                Image, f"{NODE}/{prefix}labels", self._listener(name), QoSProfile(depth=_DEPTH)
            )
        self._parameters = AsyncParameterClient(self._node, NODE)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, name="client", daemon=True)
        self._thread.start()

    def connect(self, greetings: Mapping[str, Image], check: Callable[[], None], patience: float) -> None:
        """Wait until the node answers a first image of every camera, sent anew now and then.

        Args:
            greetings: an image for each camera.
            check: raises if the node has ended.
            patience: seconds.

        Raises:
            ActiveSamError: no answer came in time.
        """
        deadline = time.monotonic() + patience
        for name, message in greetings.items():
            while not self.ledger.traffic(name).labelled:
                check()
                if time.monotonic() > deadline:
                    raise ActiveSamError(
                        f"the node gave no labels within {patience:.0f} s; check that this shell sourced env.sh, "
                        "which sets the DDS transport for large images"
                    )
                # The node subscribes once labels are wanted, so until then nothing can get lost.
                if self._images[name].get_subscription_count():
                    self.send(name, message)
                    self.ledger.wait_for(name, 0, _ANEW_SECONDS)
                else:
                    time.sleep(0.05)

    def send(self, camera: str, message: Image, good: bool = True) -> None:
        """Publish an image under a new stamp.

        Args:
            camera: which.
            message: its stamp is overwritten.
            good: whether the node has to label it.
        """
        stamp = max(time.time_ns(), self._last_stamp + 1)
        self._last_stamp = stamp
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
        self.ledger.sent(camera, stamp, time.perf_counter(), good)
        self._images[camera].publish(message)

    def ask(self, camera: str, message: Image) -> float:
        """Publish an image and wait for its labels; how many seconds that took.

        Raises:
            ActiveSamError: they did not come.
        """
        self.send(camera, message)
        if not self.ledger.wait_for(camera, 0, _PATIENCE):
            raise ActiveSamError(f"no labels came for an image within {_PATIENCE:.0f} s")
        return self.ledger.latencies(camera)[-1]

    def ask_for_words(self, words: Sequence[str]) -> Future:
        """Set the vocabulary; see `was_accepted`."""
        return self._parameters.set_parameters([Parameter("vocabulary", value=list(words))])

    def close(self) -> None:
        """End the thread and leave DDS."""
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()

    def _listener(self, camera: str) -> Callable[[Image], None]:
        def listen(message: Image) -> None:
            stamp = message.header.stamp
            self.ledger.labelled(camera, stamp.sec * 1_000_000_000 + stamp.nanosec, time.perf_counter())

        return listen


def was_accepted(change: Future, patience: float = _PATIENCE) -> bool:
    """Wait for the answer to `ask_for_words`; whether the node took the words.

    Raises:
        ActiveSamError: no answer came.
    """
    done = threading.Event()
    change.add_done_callback(lambda _: done.set())
    if not done.wait(patience):
        raise ActiveSamError(f"the node did not answer a request for new words within {patience:.0f} s")
    return change.result().results[0].successful


def image_message(rgb: np.ndarray, fault: Fault | None = None) -> Image:
    """A picture, uint8 [H, W, 3], as a message; one that must be refused if there is a fault."""
    height, width = rgb.shape[:2]
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.frame_id = "camera"
    message.data = array.array("B", np.ascontiguousarray(rgb).tobytes())
    if fault is Fault.SHORT_STEP:
        message.step -= 1
    elif fault is Fault.UNKNOWN_ENCODING:
        message.encoding = "rgb9"
    elif fault is Fault.TRUNCATED:
        message.data = message.data[: len(message.data) // 2]
    return message
