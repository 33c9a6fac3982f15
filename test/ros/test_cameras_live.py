"""Two cameras and one model: the real node with the demo model, over DDS."""

import threading
import time
from collections import Counter
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from .conftest import WORDS

pytestmark = pytest.mark.usefixtures("dds_environment")

SPACE = "cameras"
TOPICS = ("labels", "active_classes", "label_info", "vocabulary", "camera_info", "overlay")


@pytest.fixture(scope="module")
def node(start_shared_node):
    cameras = ("-p", "cameras:=['front', 'rear']")
    node = start_shared_node(*cameras, "-p", "full_resolution:=96", namespace=SPACE)
    yield node
    assert node.end() == 0
    assert "Traceback" not in node.log
    for name in ("front", "rear"):
        assert f"stopped; {name}: frames: " in node.log


@pytest.fixture(scope="module")
def cameras(node, make_shared_client, small):
    """Both cameras, connected, with all frames counted: `front` and `rear`."""
    stamps = count(1)
    front, rear = (
        make_shared_client(name, namespace=SPACE, topics=TOPICS, stamps=stamps) for name in ("front", "rear")
    )
    for camera in (front, rear):
        camera.connect(small)
        camera.eventually(lambda camera=camera: has_info(camera, small))
    for camera in (front, rear):
        camera.counted()
    return SimpleNamespace(front=front, rear=rear)


def camera_info(width):
    from sensor_msgs.msg import CameraInfo

    return CameraInfo(width=width, height=100, distortion_model="plumb_bob")


def has_info(camera, rgb) -> bool:
    """Whether a camera info that was sent with an image has come back."""
    stamp = camera.send(rgb, info=camera_info(100))
    camera.with_stamp("labels", stamp)
    return camera.until(lambda: stamp in camera.stamps("camera_info"), 1.0)


def test_each_camera_is_answered_under_its_own_header(cameras, street, small):
    for _ in range(5):
        # As from a pair of cameras that are triggered together, but with pictures that differ.
        number = cameras.front.send(small)
        cameras.rear.send(street, stamp=number)
        for camera, rgb in ((cameras.front, small), (cameras.rear, street)):
            for topic in ("labels", "overlay"):
                message = camera.with_stamp(topic, number).message
                assert (message.height, message.width) == rgb.shape[:2]
                assert message.header.frame_id == f"camera {number}"
            active = camera.with_stamp("active_classes", number).message
            labels = np.asarray(camera.with_stamp("labels", number).message.data)
            for one in active.classes:
                assert one.area == pytest.approx((labels == one.class_id).mean())
    for camera in (cameras.front, cameras.rear):
        assert camera.counted(received=5) == {"received": 5, "answered": 5}


def test_there_is_one_vocabulary_for_all(cameras, small):
    before = [len(cameras.front.received[topic]) for topic in ("label_info", "vocabulary")]
    assert cameras.front.set(vocabulary=[*WORDS, "tree"]) == (True, "")
    for camera in (cameras.rear, cameras.front):

        def renamed(camera=camera):
            stamp = camera.ask(small).stamp
            return camera.with_stamp("active_classes", stamp).message.vocabulary_revision == 2

        camera.eventually(renamed)
    for camera in (cameras.front, cameras.rear):
        assert camera.until(lambda camera=camera: len(camera.received["vocabulary"]) > before[1])
        assert [len(camera.received[topic]) for topic in ("label_info", "vocabulary")] == [
            one + 1 for one in before
        ]
        assert camera.received["vocabulary"][-1].message.revision == 2
        camera.counted()


def test_neither_camera_starves_when_one_is_five_times_as_fast(cameras, small):
    fast, slow = cameras.front, cameras.rear
    stopping = threading.Event()

    def stream(camera, period):
        due = time.monotonic()
        while not stopping.is_set():
            camera.send(small)
            due += period
            stopping.wait(max(0.0, due - time.monotonic()))

    streams = [threading.Thread(target=stream, args=one) for one in ((fast, 0.02), (slow, 0.1))]
    for one in streams:
        one.start()
    enough = len(slow.received["labels"]) + 20
    assert slow.until(lambda: len(slow.received["labels"]) >= enough)
    stopping.set()
    for one in streams:
        one.join()
    gained = {name: Counter(camera.counted(received=20)) for name, camera in (("fast", fast), ("slow", slow))}
    print(gained)
    for counts in gained.values():
        assert set(counts) <= {"received", "answered", "superseded"}
        assert counts["received"] == counts["answered"] + counts["superseded"]
    # Each turn takes a frame of every camera that has one, so the slow one is answered as often as it sends, or as
    # often as there is a turn.
    assert gained["slow"]["answered"] >= 20
    assert gained["fast"]["answered"] >= 20
    assert gained["slow"]["answered"] >= min(gained["slow"]["received"] // 2, gained["fast"]["answered"] // 2)


def test_camera_infos_come_with_the_labels(cameras, small):
    def width_with_labels(camera, sent):
        stamp = camera.send(small, info=sent)
        header = camera.with_stamp("labels", stamp).message.header
        info = camera.with_stamp("camera_info", stamp).message
        assert info.header == header and info.distortion_model == "plumb_bob"
        return info.width

    for camera, width in ((cameras.front, 200), (cameras.rear, 300), (cameras.front, 400)):
        # Sent ahead of its image, it may arrive after it.
        camera.eventually(
            lambda camera=camera, width=width: width_with_labels(camera, camera_info(width)) == width
        )
    # A camera that sends its camera info now and then is served with the last one.
    assert width_with_labels(cameras.rear, None) == 300
    assert (
        set(cameras.front.counted(received=2))
        == set(cameras.rear.counted(received=2))
        == {"received", "answered"}
    )
