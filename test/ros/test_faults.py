"""Faults, one at a time, in the real node over DDS: each is counted for what it is, and the stream goes on."""

import random
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from .client import jpeg
from .conftest import Client
from .processes import Faults

pytestmark = pytest.mark.usefixtures("dds_environment")

SPACE = "faults"
IMAGE = f"/{SPACE}/image"
SMALL_MODEL_SIDE = ("-p", "full_resolution:=96")
CAMERA = """
import sys, time, rclpy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("short_lived_camera")
camera = node.create_publisher(Image, sys.argv[1], 10)
while not camera.get_subscription_count():
    time.sleep(0.02)
print("subscribed", flush=True)
number = 0
while True:
    number += 1
    if number % 50 == 0:
        print(number, "images sent", flush=True)
    image = Image(height=8, width=8, encoding="mono8", step=8, data=bytes(64))
    image.header.stamp.sec = int(sys.argv[2]) + number
    camera.publish(image)
    time.sleep(0.1)
"""


def answers(client, first: int) -> int:
    """How many images of the camera that counts from there were answered."""
    return sum(first < stamp < first + 10_000 for stamp in client.stamps("labels"))


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    return Faults(tmp_path_factory.mktemp("faults") / "order")


@pytest.fixture(scope="module", autouse=True)
def jpeg_node(start_shared_node):
    """A node for compressed images; it loads while others are tested."""
    node = start_shared_node("-p", "image_transport:=compressed", *SMALL_MODEL_SIDE, namespace="jpeg")
    yield node
    assert node.end() == 0
    assert "Traceback" not in node.log


@pytest.fixture(scope="module")
def node(start_shared_node, faults):
    """One node for the whole module: a fault that it does not survive fails the tests that follow, too."""
    reliable = ("-p", f"qos_overrides.{IMAGE}.subscription.reliability:=reliable")
    # On a loaded machine a fault takes its time, which must not look like a camera that sends nothing.
    patient = ("-p", "image_timeout:=60.0")
    node = start_shared_node(*reliable, *patient, *SMALL_MODEL_SIDE, namespace=SPACE, faults=faults.path)
    yield node
    assert node.end(signal.SIGTERM) == 0
    assert "Traceback" not in node.log


@pytest.fixture(scope="module")
def connected(node, make_shared_client, small):
    client = make_shared_client(namespace=SPACE, reliable=True)
    client.connect(small)
    client.counted()
    return client


@pytest.fixture
def client(connected, node, faults):
    """A client of the shared node; each test ends with a good image, and every frame counted for what it is."""
    yield connected
    faults.none()
    assert node.process.poll() is None


ROW = bytes(30)
BAD = {
    "zero-sized": ({}, "image is empty"),
    "step smaller than a row": (
        {"height": 2, "width": 10, "encoding": "rgb8", "step": 29, "data": ROW + ROW},
        "step is 29 bytes",
    ),
    "data shorter than its rows": (
        {"height": 3, "width": 10, "encoding": "rgb8", "step": 30, "data": ROW + ROW},
        "data is 60 bytes",
    ),
    "unknown encoding": (
        {"height": 1, "width": 10, "encoding": "no such", "step": 30, "data": ROW},
        "'no such' is not known",
    ),
    "NaNs": (
        {
            "height": 2,
            "width": 2,
            "encoding": "32FC1",
            "step": 8,
            "data": np.full(4, np.nan, np.float32).tobytes(),
        },
        "'32FC1' holds measurements",
    ),
    "NaNs in colour": (
        {
            "height": 1,
            "width": 1,
            "encoding": "32FC3",
            "step": 12,
            "data": np.full(3, np.nan, np.float32).tobytes(),
        },
        "'32FC3' ",
    ),
    "8000x6000": (
        {"height": 6000, "width": 8000, "encoding": "rgb8", "step": 24000, "data": bytes(144_000_000)},
        "8000x6000 = 48000000 pixels",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_image_is_refused_by_name(client, node, small, what):
    fields, said = BAD[what]
    client.send(**fields)
    node.wait_for_log(f"frame refused: .*{said}")
    client.ask(small)
    assert client.counted(received=2) == {"received": 2, "answered": 1, "bad image": 1}


def test_any_resolution_is_answered_in_its_own(client, small, street):
    sizes = []
    for rgb in (street[:1, :1], street, small, np.tile(street, (2, 2, 1)), street[:3], street[:, :1]):
        labels = client.ask(np.ascontiguousarray(rgb)).message
        sizes.append((labels.height, labels.width))
        assert len(labels.data) == labels.height * labels.step == labels.height * labels.width
    assert sizes == [(1, 1), (240, 320), (80, 107), (480, 640), (3, 320), (240, 1)]
    assert client.counted(received=6) == {"received": 6, "answered": 6}


def test_the_model_raises_once(client, node, faults, small):
    faults.order("raise", times=1)
    client.send(small)
    node.wait_for_log("frame failed: RuntimeError: the model raised")
    client.ask(small)
    assert client.counted(received=2) == {"received": 2, "answered": 1, "failed": 1}


def test_memory_runs_out_for_large_buckets(client, node, faults, small):
    def bucket(level, message, values):
        return int(values.get("bucket size", 0))

    assert client.set(bucket_size=4) == (True, "")
    client.diagnosed(lambda *status: bucket(*status) == 4, "node")
    expected = client.ask(small).message.data
    faults.order("run out of memory", above=1)
    answer = client.ask(small)
    assert answer.message.data == expected
    told = client.diagnosed(lambda level, *_: level == 1, "node")
    assert (told["bucket size"], told["bucket size set"]) == ("1", "4")
    assert "out of memory with 4 prompts at a time" in node.log
    assert client.counted(received=2) == {"received": 2, "answered": 2}
    # As long as nothing goes wrong, more is tried after a while.
    faults.none()
    for _ in range(40):
        assert client.ask(small).message.data == expected
    assert client.diagnosed(lambda level, *_: level == 0, "node")["bucket size"] == "4"
    assert client.counted(received=40) == {"received": 40, "answered": 40}
    assert client.set(bucket_size=32) == (True, "")


def test_memory_runs_out_for_a_single_prompt(client, node, faults, small):
    faults.order("run out of memory")
    client.send(small)
    node.wait_for_log("frame dropped: there is not enough memory for even one prompt")
    client.diagnosed(lambda level, message, values: level == 2 and "memory" in message, "camera")
    faults.none()
    client.ask(small)
    assert client.counted(received=2) == {"received": 2, "out of memory": 1, "answered": 1}


def test_a_camera_that_is_killed_and_returns(client, tmp_path):
    for first in (10_000, 20_000):
        output = tmp_path / f"camera{first}"
        with output.open("w") as file:
            command = [sys.executable, "-c", CAMERA, IMAGE, str(first)]
            camera = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            assert client.until(lambda first=first: answers(client, first) >= 3), output.read_text()
            assert camera.poll() is None, output.read_text()
        finally:
            camera.kill()
            camera.wait()
    gained = client.counted(received=6)
    # It sends while another is in work.
    assert set(gained) <= {"received", "answered", "superseded"} and gained["answered"] >= 6


def test_a_subscriber_that_is_slow_delays_nobody(client, ros, small):
    blocked, going_on = threading.Event(), threading.Event()

    def block():
        blocked.set()
        going_on.wait(60)

    slow = Client(ros, namespace=SPACE, topics=(), reliable=True)
    try:
        slow.subscribe("labels", before=block)
        client.eventually(lambda: slow._subscriptions["labels"].get_publisher_count())
        client.ask(small)
        assert blocked.wait(60)
        stamps = [client.ask(small).stamp for _ in range(10)]
        assert not slow.received["labels"]
        assert client.counted(received=11) == {"received": 11, "answered": 11}
        going_on.set()
        slow.with_stamp("labels", stamps[-1])
    finally:
        going_on.set()
        slow.close()


def test_a_storm_of_parameters_leaves_the_last_accepted_one_in_force(client, small):
    chance = random.Random(7)
    asked = []
    for number in range(200):
        valid, invalid = chance.choice(
            [
                ({"vocabulary": ["road", f"thing {number}"]}, {"vocabulary": ["road", "ROAD"]}),
                ({"max_active": 1 + number % 40}, {"max_active": 0}),
                ({"max_age": 1e3 + number}, {"max_age": -1.0}),
                ({"keep_fraction": 0.5, "bucket_size": 3}, {"bucket_size": "3"}),
                ({"background_threshold": 0.1, "background_class": ""}, {"background_class": "nobody"}),
            ]
        )
        accepted = chance.random() < 0.5
        values = valid if accepted else invalid
        asked.append((accepted, values, client.set_later(**values)))
        if number % 50 == 0:
            client.send(small)
    in_force = {}
    for accepted, values, future in asked:
        result = client.result(future).result
        assert result.successful == accepted, (values, result.reason)
        if accepted:
            in_force |= values
        else:
            assert result.reason
    assert {name: client.get(name) for name in in_force} == in_force
    assert client.set(max_age=0.0) == (True, "")
    last = in_force["vocabulary"]
    client.eventually(
        lambda: (
            client.ask(small)
            and [one.name for one in client.received["vocabulary"][-1].message.classes] == last
        )
    )
    # The subscription keeps one image, which newer ones replace before the busy node has seen it.
    assert set(client.counted(received=1)) <= {"received", "answered", "superseded", "too old"}
    assert client.set(vocabulary=["road", "sky"], max_active=40, bucket_size=32) == (True, "")


def test_a_worker_that_hangs_is_an_error_and_returns(client, node, faults, small):
    assert client.set(worker_timeout=0.5) == (True, "")
    assert client.until(lambda: client.beats)
    faults.order("wait", seconds=300)
    stamp = client.send(small)
    for _ in range(2):
        told = client.diagnosed(lambda level, message, values: level == 2 and "hangs" in message, "node")
    assert told["heartbeat"] == "no"
    # Nothing but the worker is held up.
    beats, missed = len(client.beats), client.missed_beats
    assert client.state() == "active" and client.get("worker_timeout") == 0.5
    assert client.set(max_rate=0.0) == (True, "")
    assert client.until(lambda: client.missed_beats > missed)
    assert len(client.beats) == beats
    faults.none()
    client.with_stamp("labels", stamp)
    told = client.diagnosed(lambda level, message, values: level != 2, "node")
    assert told["heartbeat"] == "yes"
    assert client.until(lambda: len(client.beats) >= beats + 2)
    assert client.counted(received=1) == {"received": 1, "answered": 1}
    assert client.set(worker_timeout=30.0) == (True, "")


def test_a_truncated_jpeg_is_refused_by_name(jpeg_node, make_client, street, small):
    client = make_client(namespace="jpeg", transport="compressed", reliable=True)
    client.connect(small)
    client.counted()
    whole = jpeg(street)
    half = len(whole) // 2
    bad = {
        f"{half} bytes.* is truncated or damaged": whole[:half],
        "100 bytes.* is truncated or damaged": whole[:100],
        "is empty": b"",
        "500 bytes that are neither JPEG nor PNG": bytes(500),
    }
    for said, data in bad.items():
        client.send(format="jpeg", data=data)
        jpeg_node.wait_for_log(f"frame refused: .*{said}")
        labels = client.ask(street).message
        assert (labels.height, labels.width) == street.shape[:2]
    assert client.counted(received=8) == {"received": 8, "answered": 4, "bad image": 4}
