"""Measure the transports without a node: which best-effort images arrive, and whether processes always meet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activesam_ros.errors import ActiveSamError
from activesam_ros.evaluation.report.formatting import markdown_table
from activesam_ros.ros.transport import BUILTIN, TRANSPORT_CHOICES, Transport, mapped_files, transport_profile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rclpy.node import Node

Size = tuple[int, int]

DEFAULT, PROFILE, LARGE_DATA = "default", "profile", "LARGE_DATA"
TRANSPORTS = (DEFAULT, PROFILE, LARGE_DATA)
_TOPIC = "transport_benchmark"
_SECONDS_BETWEEN = 0.3
_PATIENCE = 20.0
_ENOUGH = 3
_ROLE = "import sys; from activesam_ros.benchmarks import transport as one; one.play(*sys.argv[1:])"


@dataclass(frozen=True)
class TransportOptions:
    """What to run: transports, sizes (width, height), images of each, starts of a publisher and the size there."""

    transports: tuple[str, ...] = TRANSPORTS
    sizes: tuple[Size, ...] = ((640, 480), (1920, 1080), (3840, 2160))
    images: int = 10
    starts: int = 20
    start_size: Size = (640, 480)


@dataclass(frozen=True)
class TransportResult:
    """What one transport did.

    Attributes:
        name: of the transport.
        arrived: of the images of each size.
        unmet: starts of a publisher that were not followed by three images within 20 seconds; ended by SIGTERM, and by
            SIGKILL.
        shared: bytes of /dev/shm that the receiving process took.
    """

    name: str
    arrived: tuple[int, ...]
    unmet: tuple[int, int]
    shared: int


def variables(name: str) -> dict[str, str]:
    """Return this process's environment with a transport chosen."""
    environment = {key: value for key, value in os.environ.items() if key not in TRANSPORT_CHOICES}
    if name == LARGE_DATA:
        environment[BUILTIN] = LARGE_DATA
    elif name == PROFILE:
        environment[Transport(environment).profile_variable] = str(transport_profile())
    return environment


def measure_transports(options: TransportOptions, say: Callable[[str], None]) -> list[TransportResult]:
    """Measure each transport, one after the other."""
    results = []
    for name in options.transports:
        say(f"{name}: images of {len(options.sizes)} sizes")
        sizes = [received("sizes", name, one, options.images) for one in options.sizes]
        unmet = []
        for ending in (signal.SIGTERM, signal.SIGKILL):
            say(f"{name}: {options.starts} starts that {ending.name} ends")
            found = received("starts", name, options.start_size, options.starts, ending)
            unmet.append(found["unmet"])
        arrived = tuple(one["arrived"] for one in sizes)
        results.append(TransportResult(name, arrived, (unmet[0], unmet[1]), sizes[0]["shared"]))
    return results


def received(what: str, receiver: str, size: Size, times: int, ending: int = 0, sender: str = "") -> Any:
    """Measure one thing in a process that receives, and starts those that send.

    Args:
        what: "sizes" or "starts".
        receiver: its transport.
        size: of the images.
        times: images, or starts.
        ending: the signal that ends a sender after a start.
        sender: the senders' transport; empty: the same.

    Raises:
        ActiveSamError: the process failed.
    """
    given = json.dumps([*size, times, int(ending), sender or receiver])
    command = [sys.executable, "-c", _ROLE, what, given]
    done = subprocess.run(command, env=variables(receiver), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ActiveSamError(f"a process of the benchmark ended with code {done.returncode}; see above why")
    return json.loads(done.stdout.splitlines()[-1])


def play(role: str, given: str) -> None:
    """Be one of the processes; what it found is the last line that it prints."""
    import rclpy

    began = time.time()
    rclpy.init()
    node = rclpy.create_node(f"transport_{role}_{os.getpid()}")
    shared = _shared_bytes(began)
    if role == "send":
        _send(node, *json.loads(given))
    else:
        print(json.dumps({**_receive(node, role == "starts", *json.loads(given)), "shared": shared}))


def _send(node: Node, width: int, height: int, times: int, number: str) -> None:
    from rclpy.impl.implementation_singleton import rclpy_implementation
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    publisher = node.create_publisher(Image, _TOPIC, qos_profile_sensor_data)
    message = Image(width=width, height=height, encoding="rgb8", step=3 * width)
    message.header.frame_id = number
    message.data.frombytes(bytes(3 * width * height))
    while not publisher.get_subscription_count():
        time.sleep(0.05)
    time.sleep(1)  # The other side may know less.
    with suppress(rclpy_implementation.RCLError):  # What SIGTERM makes of it.
        for _ in range(times):
            publisher.publish(message)
            time.sleep(_SECONDS_BETWEEN)
    time.sleep(1)


def _receive(
    node: Node, starts: bool, width: int, height: int, times: int, ending: int, sender: str
) -> Mapping[str, int]:
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    arrived: Counter[str] = Counter()
    node.create_subscription(
        Image, _TOPIC, lambda message: arrived.update([message.header.frame_id]), qos_profile_sensor_data
    )
    unmet = 0
    for number in map(str, range(times if starts else 1)):
        # A sender that is ended sends until then.
        sent = json.dumps([width, height, 10_000 if starts else times, number])
        process = subprocess.Popen([sys.executable, "-c", _ROLE, "send", sent], env=variables(sender))
        begun = time.monotonic()
        while process.poll() is None and not (starts and arrived[number] >= _ENOUGH):
            rclpy.spin_once(node, timeout_sec=0.1)
            if time.monotonic() - begun > _PATIENCE + _SECONDS_BETWEEN * (0 if starts else times):
                break
        unmet += arrived[number] < _ENOUGH
        process.send_signal(ending or signal.SIGTERM)
        process.wait()
    return {"arrived": arrived["0"], "unmet": unmet}


def _shared_bytes(began: float) -> int:
    """Return the bytes of shared memory that this process has made since `began`; that of others is mapped, too."""
    lines = (mapped_files() or "").splitlines()
    files = {Path(line.split()[-1]) for line in lines if "/dev/shm/fast" in line}
    made = [file.stat() for file in files if file.exists()]
    # File times lag by a tick of the kernel's clock.
    return sum(one.st_blocks * 512 for one in made if one.st_ctime > began - 0.02)


def to_markdown(options: TransportOptions, found: list[TransportResult]) -> str:
    """Format what arrived, which starts failed, and the cost."""
    sizes = [f"{w}×{h}, {3 * w * h / 1e6:.1f} MB" for w, h in options.sizes]
    rows = [
        [
            one.name,
            *(f"{arrived} of {options.images}" for arrived in one.arrived),
            *(f"{unmet} of {options.starts}" for unmet in one.unmet),
            f"{one.shared / 1e6:.1f} MB",
        ]
        for one in found
    ]
    heads = ["transport", *sizes, "never met, SIGTERM", "never met, SIGKILL", "/dev/shm of a process"]
    width, height = options.start_size
    return (
        f"Best-effort images that arrived, {1 / _SECONDS_BETWEEN:.0f} a second, from Python to Python on one machine; "
        f"then starts of a publisher of {width}×{height} images beside a subscriber that lives on, each ended by a "
        f"signal, that {_PATIENCE:.0f} seconds brought no {_ENOUGH} images:\n\n{markdown_table(heads, rows)}\n"
    )
