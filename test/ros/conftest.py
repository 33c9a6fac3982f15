"""The real node as a process, and clients that talk to it over DDS. Tests skip where ROS is missing."""

from __future__ import annotations

import os
import random
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest

from .client import Client
from .node_process import PATIENCE, WORDS, NodeProcess, node_processes

__all__ = ["PATIENCE", "WORDS", "Client", "NodeProcess"]


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


@pytest.fixture(scope="session")
def street() -> np.ndarray:
    """A picture with edges, uint8 [480, 640, 3]."""
    rgb = np.zeros((480, 640, 3), np.uint8)
    rgb[:200] = (120, 170, 230)
    rgb[200:] = (90, 90, 95)
    rgb[150:320, 60:240] = (150, 80, 60)
    rgb[300:380, 350:520] = (200, 30, 30)
    return rgb


@pytest.fixture(scope="session")
def small(street) -> np.ndarray:
    """The same picture in small, uint8 [80, 107, 3]."""
    return np.ascontiguousarray(street[::6, ::6])


@pytest.fixture
def start_node(dds_environment, tmp_path):
    """Starts node processes, see `node_processes`; kills what is left of them."""
    with node_processes(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def start_shared_node(dds_environment, tmp_path_factory):
    """The same for nodes that the tests of a module share."""
    with node_processes(tmp_path_factory.mktemp("nodes")) as start:
        yield start


@pytest.fixture
def client(ros):
    client = Client(ros)
    yield client
    client.close()


@pytest.fixture
def make_client(ros):
    """Makes clients, see `Client`; closes them."""
    with clients(ros) as make:
        yield make


@pytest.fixture(scope="module")
def make_shared_client(ros):
    """The same for clients that the tests of a module share."""
    with clients(ros) as make:
        yield make


@contextmanager
def clients(rclpy):
    with ExitStack() as open_ones:

        def make(camera: str = "", **given) -> Client:
            client = Client(rclpy, camera, **given)
            open_ones.callback(client.close)
            return client

        yield make
