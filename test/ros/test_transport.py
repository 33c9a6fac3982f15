"""The transport that env.sh and the launch files choose, what users may have chosen instead, and what is said of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from activesam_ros.ros.transport import (
    BUILTIN,
    FAST_DDS_2,
    FAST_DDS_3,
    TRANSPORT_CHOICES,
    Transport,
    mapped_files,
    transport_profile,
)

PROFILE = str(transport_profile())
MAPPED = "7f00-7f01 rw-s 0000 00:1a 12 /dev/shm/fastdds_0123456789abcdef\n"
LARGE = {BUILTIN: "LARGE_DATA"}
# A camera, a subscriber and tools, started from a shell that has set nothing.
ROBOT = """
import os

import numpy as np
import rclpy
from ros.client import Client

rclpy.init()
client = Client(rclpy)
picture = np.full((80, 107, 3), 90, np.uint8)
client.connect(picture)
labels = client.ask(picture).message
print(client.state(), client.get("model"), (labels.height, labels.width), flush=True)
os._exit(0)
"""


@pytest.fixture
def fast_dds_2(tmp_path):
    """The prefix of a distribution with Fast DDS 2."""
    (tmp_path / "share" / "fastrtps").mkdir(parents=True)
    return {"AMENT_PREFIX_PATH": f"/nowhere:{tmp_path}"}


# What users chose.


@pytest.mark.parametrize(
    "environment", [{}, {"RMW_IMPLEMENTATION": ""}, {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}]
)
def test_fast_dds_without_a_choice_is_left_to_us(environment):
    assert not Transport(environment).is_chosen
    for name in TRANSPORT_CHOICES:
        assert Transport({**environment, name: "mine"}).is_chosen
        assert not Transport({**environment, name: ""}).is_chosen


def test_another_middleware_is_a_choice():
    assert Transport({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}).is_chosen


def test_the_profile_goes_into_the_variable_that_the_distribution_reads(fast_dds_2):
    assert Transport(fast_dds_2).profile_variable == FAST_DDS_2
    assert Transport({"AMENT_PREFIX_PATH": "/nowhere"}).profile_variable == FAST_DDS_3


# What the node warns of at its start.


@pytest.mark.parametrize("environment", [{}, {BUILTIN: ""}])
def test_the_default_transport_is_warned_of(environment):
    said = Transport(environment).warning(MAPPED)
    assert said.endswith(f"set {FAST_DDS_3}={PROFILE} for this node and for the camera's")


def test_a_variable_that_the_distribution_does_not_read_is_warned_of(fast_dds_2):
    said = Transport({**fast_dds_2, FAST_DDS_3: "/mine.xml"}).warning(MAPPED)
    assert f"does not read {FAST_DDS_3}" in said and f"set {FAST_DDS_2}=/mine.xml instead" in said
    assert Transport({**fast_dds_2, FAST_DDS_2: PROFILE}).warning(MAPPED) is None


def test_a_profile_that_is_not_there_is_warned_of():
    said = Transport({FAST_DDS_3: "/no/such/file.xml"}).warning(MAPPED)
    assert "there is no profile of Fast DDS /no/such/file.xml" in said and PROFILE in said


@pytest.mark.parametrize("local", ["LOCALHOST", "localhost"])
def test_local_discovery_switches_large_data_off_but_not_the_profile(local):
    said = Transport({**LARGE, "ROS_AUTOMATIC_DISCOVERY_RANGE": local}).warning(MAPPED)
    assert f"unset {BUILTIN}, and set {FAST_DDS_3}=" in said
    assert Transport({FAST_DDS_3: PROFILE, "ROS_AUTOMATIC_DISCOVERY_RANGE": local}).warning(MAPPED) is None


@pytest.mark.parametrize("environment", [LARGE, {FAST_DDS_3: PROFILE}])
def test_no_shared_memory_is_warned_of(environment):
    said = Transport(environment).warning("7f00-7f01 r-xp 0000 00:1a 12 /usr/lib/libc.so.6\n")
    assert said.startswith("Fast DDS got no shared memory") and "--shm-size" in said
    assert "MB of /dev/shm" in said
    assert Transport(environment).warning(MAPPED) is None
    assert Transport(environment).warning(None) is None


@pytest.mark.parametrize(
    ("environment", "middleware"),
    [
        ({**LARGE, "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, "rmw_fastrtps_cpp"),
        ({BUILTIN: "UDPv4"}, "rmw_fastrtps_cpp"),
        ({FAST_DDS_2: __file__}, "rmw_fastrtps_cpp"),
        ({}, "rmw_cyclonedds_cpp"),
        ({}, "rmw_zenoh_cpp"),
    ],
)
def test_a_fitting_or_chosen_transport_is_not(environment, middleware):
    assert Transport(environment, middleware).warning("") is None or BUILTIN in environment


# What it does.


@pytest.mark.usefixtures("ros")
def test_a_process_with_the_profile_has_shared_memory(ros):
    node = ros.create_node("transport_test")
    assert Transport(os.environ).warning(mapped_files()) is None
    node.destroy_node()


def test_every_best_effort_image_of_4k_arrives(dds_environment):
    from activesam_ros.benchmarks.transport import PROFILE as NAME
    from activesam_ros.benchmarks.transport import received

    found = received("sizes", NAME, (3840, 2160), 10)
    assert found["arrived"] == 10
    assert 67e6 < found["shared"] < 72e6


def test_a_process_with_the_default_transports_finds_the_node_and_is_found(start_node):
    node = start_node()
    environment = {key: value for key, value in os.environ.items() if key not in TRANSPORT_CHOICES}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), environment["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", ROBOT], env=environment, stdout=subprocess.PIPE, text=True, timeout=300
    )
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "active toytown (80, 107)", node.log
