"""The real node as a process, and a client that talks to it over DDS. Tests skip where ROS is missing."""

from __future__ import annotations

import array
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

# Long enough for a loaded machine; reached only by a failure.
PATIENCE = 90
WORDS = ["road", "car, automobile", "sky", "building", "person"]


@pytest.fixture(scope="session")
def dds_environment():
    """A domain of this run's own, and the transport that carries images."""
    pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
    pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")
    wanted = {"ROS_DOMAIN_ID": str(random.SystemRandom().randint(1, 100))}
    if not any(
        os.environ.get(name)
        for name in (
            "FASTDDS_BUILTIN_TRANSPORTS",
            "FASTDDS_DEFAULT_PROFILES_FILE",
            "FASTRTPS_DEFAULT_PROFILES_FILE",
        )
    ):
        wanted["FASTDDS_BUILTIN_TRANSPORTS"] = "LARGE_DATA"
    with pytest.MonkeyPatch.context() as patch:
        # With LOCALHOST, rmw_fastrtps replaces the transports by ones that lose large images.
        patch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE", raising=False)
        for name, value in wanted.items():
            patch.setenv(name, value)
        yield wanted


@pytest.fixture(scope="session")
def ros(dds_environment):
    """rclpy, initialised for the whole session."""
    import rclpy

    rclpy.init()
    yield rclpy
    rclpy.try_shutdown()


class NodeProcess:
    """`activesam` as a process of its own, with everything it prints."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log
        self._output = log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "activesam_ros.node", "--ros-args", *arguments],
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_for_log(self, pattern: str) -> re.Match:
        deadline = time.monotonic() + PATIENCE
        while True:
            ended = self.process.poll() is not None
            found = re.search(pattern, self.log)
            if found:
                return found
            assert not ended, f"the node ended with {self.process.returncode}:\n{self.log}"
            assert time.monotonic() < deadline, f"no line like {pattern!r} in:\n{self.log}"
            time.sleep(0.05)

    def end(self, number: int = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._output.close()
        return code

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._output.close()


class Client:
    """A camera, a subscriber to everything, and a parameter client, spun in a thread of its own."""

    def __init__(self, rclpy) -> None:
        from activesam_ros.msg import ActiveClasses, Vocabulary
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.parameter_client import AsyncParameterClient
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import Image
        from vision_msgs.msg import LabelInfo

        from activesam_ros.ros import qos

        self._changed = threading.Condition()
        self.node = rclpy.create_node(f"client_{os.getpid()}_{next(_NUMBERS)}")
        self.images = self.node.create_publisher(Image, "image", qos_profile_sensor_data)
        self.received: dict[str, list] = {}
        self._subscriptions: dict = {}
        self._qos = qos
        self._types = {
            "labels": Image,
            "confidence": Image,
            "overlay": Image,
            "active_classes": ActiveClasses,
            "label_info": LabelInfo,
            "vocabulary": Vocabulary,
        }
        for topic in ("labels", "active_classes", "label_info", "vocabulary"):
            self.subscribe(topic)
        self.diagnostics: list[tuple[int, str, dict[str, str]]] = []
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnosed, 10)
        self.parameters = AsyncParameterClient(self.node, "activesam")
        self._stamps = itertools.count(1)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def subscribe(self, topic: str) -> None:
        from rclpy.qos import QoSProfile

        kept = self.received.setdefault(topic, [])
        latched = topic in ("label_info", "vocabulary")
        base = self._qos.latched_out() if latched else self._qos.results_out()
        profile = QoSProfile(depth=100, reliability=base.reliability, durability=base.durability)

        # rclpy hands the message's info to a callback that takes exactly two arguments.
        def keep(message, info):
            with self._changed:
                kept.append(
                    SimpleNamespace(
                        message=message, stamp=message.header.stamp.sec, sent=info["source_timestamp"]
                    )
                )
                self._changed.notify_all()

        self._subscriptions[topic] = self.node.create_subscription(
            self._types[topic], f"/activesam/{topic}", keep, profile
        )

    def _diagnosed(self, message) -> None:
        with self._changed:
            for status in message.status:
                if status.name == "activesam: vocabulary":
                    values = {one.key: one.value for one in status.values}
                    self.diagnostics.append((status.level[0], status.message, values))
            self._changed.notify_all()

    def diagnosed(self, condition) -> dict[str, str]:
        """The values of the next diagnosis of which `condition(level, message, values)` holds."""
        seen = len(self.diagnostics)

        def found():
            return next((one for one in self.diagnostics[seen:] if condition(*one)), None)

        assert self.until(found), self.diagnostics[seen:]
        return found()[2]

    def until(self, condition, patience: float = PATIENCE) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, patience)

    def stamps(self, topic: str) -> list[int]:
        return [entry.stamp for entry in self.received[topic]]

    def with_stamp(self, topic: str, stamp: int):
        assert self.until(lambda: stamp in self.stamps(topic)), f"no {topic} for image {stamp}"
        return next(entry for entry in self.received[topic] if entry.stamp == stamp)

    def send(self, rgb: np.ndarray | None = None, **fields) -> int:
        """Publish an image (or a message with these fields); its stamp's seconds number it."""
        from sensor_msgs.msg import Image

        message = Image()
        if rgb is not None:
            message.height, message.width = rgb.shape[:2]
            message.encoding, message.step = "rgb8", 3 * rgb.shape[1]
            message.data = array.array("B", rgb.tobytes())
        for name, value in fields.items():
            setattr(message, name, value)
        stamp = next(self._stamps)
        message.header.stamp.sec = stamp
        message.header.stamp.nanosec = 7 * stamp
        message.header.frame_id = f"camera {stamp}"
        self.images.publish(message)
        return stamp

    def ask(self, rgb: np.ndarray):
        """Publish an image and wait for its labels."""
        return self.with_stamp("labels", self.send(rgb))

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
        assert self.parameters.wait_for_services(PATIENCE)

    def _call(self, future):
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        assert done.wait(PATIENCE), "the parameter service did not answer"
        return future.result()

    def set(self, **values):
        """Set parameters in one atomic call: (successful, reason)."""
        from rclpy.parameter import Parameter

        result = self._call(
            self.parameters.set_parameters_atomically(
                [Parameter(name, value=value) for name, value in values.items()]
            )
        ).result
        return result.successful, result.reason

    def get(self, name: str):
        from rclpy.parameter import parameter_value_to_python

        return parameter_value_to_python(self._call(self.parameters.get_parameters([name])).values[0])

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


_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def street() -> np.ndarray:
    """A picture with edges, uint8 [480, 640, 3]."""
    rgb = np.zeros((480, 640, 3), np.uint8)
    rgb[:200] = (120, 170, 230)
    rgb[200:] = (90, 90, 95)
    rgb[150:320, 60:240] = (150, 80, 60)
    rgb[300:380, 350:520] = (200, 30, 30)
    return rgb


@pytest.fixture
def start_node(dds_environment, tmp_path):
    """Starts node processes, with the demo model and words unless told otherwise; kills what is left."""
    with ExitStack() as started:

        def start(*arguments: str, words=WORDS, model="toytown") -> NodeProcess:
            given = ["-p", f"model:={model}", *arguments]
            if words is not None:
                given += ["-p", "vocabulary:=[" + ", ".join(f"'{word}'" for word in words) + "]"]
            process = NodeProcess(tmp_path / f"node{next(_NUMBERS)}.log", *given)
            started.callback(process.kill)
            return process

        yield start


@pytest.fixture
def client(ros):
    client = Client(ros)
    yield client
    client.close()
