"""Run the real node as a process with a client beside it that publishes images and counts labels."""

from __future__ import annotations

import array
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from activesam_ros.errors import ActiveSamError
from activesam_ros.system.machine import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from rclpy.task import Future
    from sensor_msgs.msg import Image

NODE = "activesam"
START_SECONDS = 180.0
_QUEUE_DEPTH = 200
_TIMEOUT = 60.0
_RESEND_SECONDS = 1.0
_COUNTS = re.compile(
    r"(?:(?P<camera>\w+): )?frames: (?P<received>\d+) in = (?P<answered>\d+) out \+ (?P<dropped>\d+) dropped "
    r"\+ (?P<pending>\d+) pending(?:; dropped: (?P<reasons>[^;]+))?(?:; median ms: (?P<stages>[^;]+))?"
)


def use_own_dds_domain() -> None:
    """Set a random ROS_DOMAIN_ID unless one is set, so that nothing shows up among the topics of a robot.

    Limiting discovery to this machine (ROS_AUTOMATIC_DISCOVERY_RANGE) would do too, but it makes Fast DDS fall back to
    a transport that loses large best-effort images.
    """
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.randint(1, 99)))


class NodeProcess:
    """Run `activesam` with parameters and remappings; its log goes to a file.

    Example:
        >>> with NodeProcess({"model": "toytown"}, {"image": "/camera/image"}, Path("out")) as node:
        ...     node.check()
    """

    def __init__(
        self,
        parameters: Mapping[str, object],
        remaps: Mapping[str, str],
        folder: Path,
        threads: int | None = None,
    ) -> None:
        """Prepare the process; `with` starts it.

        Args:
            parameters: of the node.
            remaps: topic names, from → to.
            folder: where the parameter file and the log go.
            threads: of torch; None: as this process's environment says.
        """
        self.log = folder / "node.log"
        file = folder / "node_parameters.yaml"
        content = {f"/{NODE}": {"ros__parameters": dict(parameters)}}
        file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
        self._command = [
            sys.executable,
            "-m",
            "activesam_ros.ros.main",
            "--ros-args",
            "--params-file",
            str(file),
        ]
        for source, target in remaps.items():
            self._command += ["-r", f"{source}:={target}"]
        self._environment = dict(os.environ)
        if threads is not None:
            self._environment["OMP_NUM_THREADS"] = str(threads)
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> NodeProcess:
        with self.log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    @property
    def pid(self) -> int:
        """Process id, while it runs."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Raise ActiveSamError with the end of the log if the node has ended."""
        if self.exit_code is not None:
            tail = "\n".join(self._log_lines()[-5:])
            raise ActiveSamError(
                f"the node ended with exit code {self.exit_code}; its log {self.log} ends with:\n{tail}"
            )

    def frame_summaries(self) -> list[str]:
        """Return the summaries that the node logs when it stops, one per camera; empty if there is none."""
        return [line.split("stopped; ", 1)[1] for line in self._log_lines() if "stopped; " in line]

    def _log_lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()


@dataclass(frozen=True)
class NodeCounts:
    """The node's own counts of the frames of one camera, and median seconds per stage."""

    received: int
    answered: int
    pending: int
    dropped: Mapping[str, int]
    total_dropped: int
    stages: Mapping[str, float]

    @property
    def unaccounted(self) -> int:
        """Number of frames by which the counts fail to add up, in all and by reason."""
        left = self.received - self.answered - self.total_dropped - self.pending
        return abs(left) + abs(self.total_dropped - sum(self.dropped.values()))


def read_counts(lines: Iterable[str]) -> dict[str, NodeCounts]:
    """Parse `NodeProcess.frame_summaries` into counts by camera; the only camera has the name "".

    Raises:
        ActiveSamError: a line has another format.
    """
    counts = {}
    for line in lines:
        found = _COUNTS.match(line)
        if not found:
            raise ActiveSamError(
                f"the node's last words {line!r} are no counts of frames; expected 'frames: N in = …'"
            )
        pairs = {
            part: [entry.rsplit(" ", 1) for entry in (found[part] or "").split(", ") if entry]
            for part in ("reasons", "stages")
        }
        counts[found["camera"] or ""] = NodeCounts(
            received=int(found["received"]),
            answered=int(found["answered"]),
            pending=int(found["pending"]),
            dropped={reason: int(number) for reason, number in pairs["reasons"]},
            total_dropped=int(found["dropped"]),
            stages={stage: float(milliseconds) / 1000 for stage, milliseconds in pairs["stages"]},
        )
    return counts


@dataclass(frozen=True)
class Traffic:
    """The frames of one camera, as seen from outside the node.

    Attributes:
        sent: frames, bad ones included.
        bad: of them, frames that the node has to refuse.
        labelled: received label images.
        strange: label images of no pending frame: never sent, bad, or labelled already.
        on_the_way: frames after the last labelled one.
    """

    sent: int
    bad: int
    labelled: int
    strange: int
    on_the_way: int


class FrameLog:
    """Records sent frames and received labels of every camera; thread-safe.

    Labels come in the order of their frames. So frames before the last labelled one are done, whatever became of them,
    and a client that keeps few frames pending never overflows a queue.
    """

    def __init__(self, cameras: Sequence[str]) -> None:
        self._changed = threading.Condition()
        self._cameras = {name: _CameraLog() for name in cameras}
        self._sent = 0

    def sent(self, camera: str, stamp: int, when: float, good: bool = True) -> None:
        """Record a frame that is about to be sent, with a stamp (ns) that is larger than those before."""
        with self._changed:
            log = self._cameras[camera]
            log.pending.append(_SentFrame(stamp, when, good, self._sent))
            log.sent += 1
            log.bad += not good
            self._sent += 1

    def labelled(self, camera: str, stamp: int, when: float) -> None:
        """Record the labels of a frame."""
        with self._changed:
            log = self._cameras[camera]
            log.labelled += 1
            if not any(frame.stamp == stamp and frame.good for frame in log.pending):
                log.strange += 1
            else:
                while (frame := log.pending.popleft()).stamp != stamp:
                    pass
                log.latencies.append((frame.number, when - frame.when))
            self._changed.notify_all()

    def traffic(self, camera: str) -> Traffic:
        """Return the counts so far."""
        with self._changed:
            log = self._cameras[camera]
            return Traffic(log.sent, log.bad, log.labelled, log.strange, len(log.pending))

    def latencies(self, camera: str | None = None) -> list[float]:
        """Return seconds from sending to labels, in the order of sending; None: of all cameras."""
        with self._changed:
            logs = self._cameras.values() if camera is None else [self._cameras[camera]]
            return [seconds for _, seconds in sorted(one for log in logs for one in log.latencies)]

    def wait_for(self, camera: str, at_most: int, timeout: float) -> bool:
        """Wait until at most this many frames of a camera are pending; return whether that came within `timeout`."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._cameras[camera].pending) <= at_most, timeout)


@dataclass(frozen=True)
class _SentFrame:
    stamp: int
    when: float
    good: bool
    number: int


@dataclass
class _CameraLog:
    pending: deque[_SentFrame] = field(default_factory=deque)
    latencies: list[tuple[int, float]] = field(default_factory=list)
    sent: int = 0
    bad: int = 0
    labelled: int = 0
    strange: int = 0


class Client:
    """Publishes images of cameras and records the labels that come back, in a thread of its own.

    Attributes:
        frames: frames sent and labelled, in `time.perf_counter` seconds.
    """

    def __init__(self, cameras: Sequence[str], reliable: bool, instances: bool = False) -> None:
        """Make publishers and subscriptions; rclpy is initialised.

        Args:
            cameras: names as in the node's parameter; "" alone: its only camera.
            reliable: whether the images are sent reliably; cameras usually are best effort.
            instances: whether to subscribe what the node makes of instances, too.
        """
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.parameter_client import AsyncParameterClient
        from rclpy.qos import QoSProfile, qos_profile_sensor_data
        from sensor_msgs.msg import Image
        from vision_msgs.msg import Detection2DArray

        self.frames = FrameLog(cameras)
        self._node = rclpy.create_node("bench_client")
        self._last_stamp = 0
        reliable_profile = QoSProfile(depth=_QUEUE_DEPTH)
        profile = reliable_profile if reliable else qos_profile_sensor_data
        self._images: dict[str, Any] = {}
        for name in cameras:
            prefix = f"{name}/" if name else ""
            self._images[name] = self._node.create_publisher(Image, f"{prefix}image", profile)
            self._node.create_subscription(
                Image, f"{NODE}/{prefix}labels", self._recorder(name), reliable_profile
            )
            topics = {"detections": Detection2DArray, "instances": Image, "panoptic": Image}
            for topic, kind in topics.items() if instances else ():
                self._node.create_subscription(
                    kind, f"{NODE}/{prefix}{topic}", lambda _: None, reliable_profile
                )
        self._parameters = AsyncParameterClient(self._node, NODE)
        self._segment: Any = None
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, name="client", daemon=True)
        self._thread.start()

    def connect(
        self, first: Mapping[str, Image], check: Callable[[], object], timeout: float = START_SECONDS
    ) -> None:
        """Wait until the node has labelled a first image of every camera, which is resent now and then.

        Args:
            first: an image for each camera.
            check: raises if the node has ended.
            timeout: seconds.

        Raises:
            ActiveSamError: no labels came in time.
        """
        deadline = time.monotonic() + timeout
        for name, message in first.items():
            while not self.frames.traffic(name).labelled:
                check()
                if time.monotonic() > deadline:
                    raise ActiveSamError(
                        f"the node gave no labels within {timeout:.0f} s; check that this shell sourced env.sh, "
                        "which sets the DDS transport for large images"
                    )
                # The node subscribes once labels are wanted, so until then nothing can get lost.
                if self._images[name].get_subscription_count():
                    self.send(name, message)
                    self.frames.wait_for(name, 0, _RESEND_SECONDS)
                else:
                    time.sleep(0.05)

    def send(self, camera: str, message: Image, good: bool = True) -> None:
        """Publish an image under a new stamp; `good`: whether the node has to label it."""
        stamp = max(time.time_ns(), self._last_stamp + 1)
        self._last_stamp = stamp
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
        self.frames.sent(camera, stamp, time.perf_counter(), good)
        self._images[camera].publish(message)

    def request_labels(self, camera: str, message: Image) -> float:
        """Publish an image and wait for its labels; return the seconds that took.

        Raises:
            ActiveSamError: they did not come.
        """
        self.send(camera, message)
        if not self.frames.wait_for(camera, 0, _TIMEOUT):
            raise ActiveSamError(f"no labels came for an image within {_TIMEOUT:.0f} s")
        return self.frames.latencies(camera)[-1]

    def request_vocabulary(self, names: Sequence[str]) -> Future:
        """Set the vocabulary; see `wait_for_response`."""
        from rclpy.parameter import Parameter

        return self._parameters.set_parameters([Parameter("vocabulary", value=list(names))])

    def request_segment(self, message: Image, names: Sequence[str]) -> Future:
        """Call `~/segment` with classes of its own; see `wait_for_response`."""
        from activesam_ros.srv import Segment

        if self._segment is None:
            self._segment = self._node.create_client(Segment, f"{NODE}/segment")
            if not self._segment.wait_for_service(_TIMEOUT):
                raise ActiveSamError(f"{NODE}/segment was not there within {_TIMEOUT:.0f} s")
        return self._segment.call_async(Segment.Request(image=message, vocabulary=list(names)))

    def close(self) -> None:
        """End the thread and leave DDS."""
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()

    def _recorder(self, camera: str) -> Callable[[Image], None]:
        def record(message: Image) -> None:
            stamp = message.header.stamp
            self.frames.labelled(camera, stamp.sec * 1_000_000_000 + stamp.nanosec, time.perf_counter())

        return record


def wait_for_response(response: Future, what: str) -> Any:
    """Wait for the response to `Client.request_vocabulary` or `Client.request_segment`, and return it.

    Raises:
        ActiveSamError: none came.
    """
    done = threading.Event()
    response.add_done_callback(lambda _: done.set())
    if not done.wait(_TIMEOUT):
        raise ActiveSamError(f"the node did not answer {what} within {_TIMEOUT:.0f} s")
    return response.result()


def image_message(rgb: np.ndarray) -> Image:
    """Convert uint8 [H, W, 3] to a message."""
    from sensor_msgs.msg import Image

    height, width = rgb.shape[:2]
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.frame_id = "camera"
    message.data = array.array("B", np.ascontiguousarray(rgb).tobytes())
    return message


@dataclass
class Session:
    """The node of `node_and_client`, the client, the prompt cache, and the counts by camera once the node has ended."""

    node: NodeProcess
    client: Client
    prompt_cache: Path
    counts: dict[str, NodeCounts] = field(default_factory=dict)


@contextmanager
def node_and_client(
    parameters: Mapping[str, object],
    cameras: Sequence[str],
    reliable: bool,
    threads: int | None = None,
    folder: Path | None = None,
    instances: bool = False,
) -> Iterator[Session]:
    """Start the real node and a client; on leaving, end the node with a signal and read the counts from its log.

    Args:
        parameters: of the node, without `cameras`.
        cameras: their names; "" alone: the only camera.
        reliable: whether the client sends its images reliably.
        threads: of the node's torch; None: its choice.
        folder: of the node's log; None: a temporary one.
        instances: whether the client subscribes what the node makes of instances, too.

    Raises:
        ActiveSamError: the node did not end well.
    """
    with TemporaryDirectory() as scratch:
        place = Path(scratch) if folder is None else folder
        place.mkdir(parents=True, exist_ok=True)
        # A cache of its own: the benchmark's prompts do not fill the user's, which does not help the node.
        prompt_cache = Path(scratch) / "prompts"
        given = {**parameters, "prompt_cache": str(prompt_cache)}
        if list(cameras) != [""]:
            given["cameras"] = list(cameras)
        with (
            client_for(cameras, reliable, instances) as client,
            NodeProcess(given, {}, place, threads) as node,
        ):
            session = Session(node, client, prompt_cache)
            yield session
        if node.exit_code != 0:
            raise ActiveSamError(f"the node ended with exit code {node.exit_code}, expected 0 after a signal")
        session.counts.update(read_counts(node.frame_summaries()))


@contextmanager
def client_for(cameras: Sequence[str], reliable: bool, instances: bool = False) -> Iterator[Client]:
    """Make a `Client` with ROS around it, in a domain of its own unless one is chosen."""
    use_own_dds_domain()
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    # An interruption is for this program: rclpy would shut down the client's context while it is in use.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        client = Client(cameras, reliable, instances)
        try:
            yield client
        finally:
            client.close()
    finally:
        rclpy.try_shutdown()


def describe_machine(threads: int | None) -> str:
    """Describe the machine of a benchmark, with the threads of the node's torch."""
    return machine(threads or int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))))


def verdict(complaints: Sequence[str]) -> str:
    """Format the complaints about a result in one line."""
    return f"Verdict: NOT clean: {'; '.join(complaints)}." if complaints else "Verdict: clean."


def listed(counts: Mapping[str, int]) -> str:
    """Format counts by name in one line."""
    return ", ".join(f"{name} {number}" for name, number in counts.items()) or "none"


def milliseconds(seconds: float) -> str:
    """Format seconds as milliseconds."""
    return f"{1000 * seconds:.1f}"
