"""The real node as a process, and clients that talk to it over DDS. Tests skip where ROS is missing."""

from __future__ import annotations

import errno
import random
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
from studio_browser import chromium, start, visit

from .client import Client
from .processes import PATIENCE, WORDS, NodeProcess, node_processes

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PATIENCE", "WORDS", "Client", "NodeProcess", "chromium", "start", "visit"]


@pytest.fixture(scope="session")
def dds_environment(transport):
    """A domain of this run's own."""
    pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
    pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")
    with own_domain() as domain, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", domain)
        yield


@pytest.fixture(scope="module")
def ros(dds_environment):
    """rclpy, initialised for a module: others have programs run in this process that initialise it themselves."""
    import rclpy

    rclpy.init()
    yield rclpy
    rclpy.try_shutdown()


@contextmanager
def own_domain() -> Iterator[str]:
    """A DDS domain that no other run of the tests on this machine has."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        # Beyond 100, the ports of a domain are those that Linux gives to anyone.
        for domain in random.SystemRandom().sample(range(1, 101), 100):
            try:
                held.bind(f"\0activesam tests in domain {domain}")
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                yield str(domain)
                return
        pytest.fail("every DDS domain is taken by another run of the tests")


@pytest.fixture(scope="session")
def street() -> np.ndarray:
    """A picture with edges, uint8 [240, 320, 3]."""
    rgb = np.zeros((240, 320, 3), np.uint8)
    rgb[:100] = (120, 170, 230)
    rgb[100:] = (90, 90, 95)
    rgb[75:160, 30:120] = (150, 80, 60)
    rgb[150:190, 175:260] = (200, 30, 30)
    return rgb


@pytest.fixture(scope="session")
def small(street) -> np.ndarray:
    """The same picture in small, uint8 [80, 107, 3]."""
    return np.ascontiguousarray(street[::3, ::3])


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
