"""One run of the node with a client beside it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from activesam_ros.benchmarks.node.counts import NodeCounts, read_counts
from activesam_ros.benchmarks.node_session import NodeProcess, use_own_dds_domain
from activesam_ros.errors import ActiveSamError
from activesam_ros.system.machine import machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sensor_msgs.msg import Image

    from activesam_ros.benchmarks.node.client import Client

START_SECONDS = 180.0


@dataclass
class Session:
    """The node and the client of `node_and_client`.

    Attributes:
        node: the process.
        client: beside it.
        counts: of every camera, as the node says; there once it has ended.
    """

    node: NodeProcess
    client: Client
    counts: dict[str, NodeCounts] = field(default_factory=dict)


@contextmanager
def node_and_client(
    parameters: Mapping[str, object],
    cameras: Sequence[str],
    reliable: bool,
    threads: int | None = None,
    folder: Path | None = None,
) -> Iterator[Session]:
    """Starts the real node as a process of its own, and ends it with a signal; the counts are read from its log.

    Args:
        parameters: of the node, without `cameras`.
        cameras: their names; "" alone: the only camera.
        reliable: how the client sends its images.
        threads: of the node's torch; None: its choice.
        folder: where its log and its prompt cache go; None: nowhere that stays.

    Raises:
        ActiveSamError: the node did not end well.
    """
    with TemporaryDirectory() as scratch:
        place = Path(scratch) if folder is None else folder
        place.mkdir(parents=True, exist_ok=True)
        # A cache of its own: the user's is neither filled with the benchmark's words nor helps the node.
        given = {**parameters, "prompt_cache": str(Path(scratch) / "prompts")}
        if list(cameras) != [""]:
            given["cameras"] = list(cameras)
        with client_for(cameras, reliable) as client, NodeProcess(given, {}, place, threads) as node:
            session = Session(node, client)
            yield session
        if node.exit_code != 0:
            raise ActiveSamError(f"the node ended with exit code {node.exit_code}, expected 0 after a signal")
        session.counts.update(read_counts(node.last_words()))


@contextmanager
def client_for(cameras: Sequence[str], reliable: bool) -> Iterator[Client]:
    """A client, with ROS around it, in a domain of its own unless one is chosen; see `Client`."""
    # ROS is imported only here: the domain has to be chosen before.
    use_own_dds_domain()
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from activesam_ros.benchmarks.node.client import Client

    # An interruption is for this program: rclpy would take the client apart while it is in use.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        client = Client(cameras, reliable)
        try:
            yield client
        finally:
            client.close()
    finally:
        rclpy.try_shutdown()


def greet(session: Session, greetings: Mapping[str, Image]) -> None:
    """Waits until the node has answered a first image of every camera."""
    session.client.connect(greetings, session.node.check, START_SECONDS)


def describe_machine(threads: int | None) -> str:
    """The machine of a benchmark, with the threads that the node's torch has."""
    return machine(threads or int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))))
