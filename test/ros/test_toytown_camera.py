"""The camera that drives through Toy Town, with its subscribers in the same process."""

import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from activesam_ros.errors import SettingsError
from activesam_ros.ros import qos
from activesam_ros.ros.toytown_camera import (
    DESCRIPTIONS,
    LIMITS,
    CameraParameters,
    ToytownCamera,
    camera_info,
)
from activesam_ros.toytown import CLASSES
from activesam_ros.toytown.world import World

from .processes import PATIENCE

SIZE = (96, 64)


@pytest.fixture
def camera(ros):
    given = {"seed": 7, "rate": 20.0, "width": SIZE[0], "height": SIZE[1], "frame_id": "lens"}
    overrides = [Parameter(name, value=value) for name, value in given.items()]
    node = ToytownCamera(namespace="toytown_test", parameter_overrides=overrides)
    yield node
    node.destroy_node()


@pytest.fixture
def seen(ros, camera):
    """Messages by topic, once there are two images; beside them the node's log of what was rendered."""
    listener = Node("listener", namespace="toytown_test")
    messages = {"image_raw": [], "depth_registered/image_raw": [], "camera_info": []}
    messages |= {"ground_truth/labels": [], "ground_truth/label_info": []}
    for topic, kept in messages.items():
        kind = CameraInfo if topic == "camera_info" else LabelInfo if topic.endswith("info") else Image
        listener.create_subscription(kind, topic, kept.append, qos.latched_out() if kind is LabelInfo else 10)
    executor = SingleThreadedExecutor()
    executor.add_node(camera)
    executor.add_node(listener)
    deadline = time.monotonic() + PATIENCE
    while min(map(len, messages.values())) < 1 or len(messages["image_raw"]) < 2:
        assert time.monotonic() < deadline, messages
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    listener.destroy_node()
    return messages


def test_images_come_with_truth_and_camera_info_under_one_header(seen):
    truths = {one.header.stamp.nanosec: one for one in seen["ground_truth/labels"]}
    infos = {one.header.stamp.nanosec: one for one in seen["camera_info"]}
    depths = {one.header.stamp.nanosec: one for one in seen["depth_registered/image_raw"]}
    image = next(one for one in seen["image_raw"] if one.header.stamp.nanosec in truths.keys() & depths)
    stamp = image.header.stamp.nanosec
    truth, info, depth = truths[stamp], infos[stamp], depths[stamp]
    assert image.header == truth.header == info.header == depth.header and image.header.frame_id == "lens"
    assert {(one.width, one.height) for one in (image, truth, info, depth)} == {SIZE}
    millimetres = np.frombuffer(depth.data, np.uint16)
    assert (depth.encoding, depth.step) == ("16UC1", 2 * SIZE[0]) and millimetres.any()
    assert not millimetres[np.asarray(truth.data) == CLASSES.index("sky")].any()
    assert (image.encoding, image.step) == ("rgb8", 3 * SIZE[0])
    assert (truth.encoding, truth.step) == ("mono8", SIZE[0])
    assert set(np.asarray(truth.data).tolist()) <= {*range(len(CLASSES)), 255}
    (names,) = seen["ground_truth/label_info"]
    assert [(one.class_id, one.class_name) for one in names.class_map] == list(enumerate(CLASSES))


def test_the_street_passes_with_time(seen):
    first, second = (np.asarray(one.data) for one in seen["image_raw"][:2])
    assert not np.array_equal(first, second)


def test_nobody_looks_and_nothing_is_rendered(camera, monkeypatch):
    monkeypatch.setattr(World, "render", lambda *_: pytest.fail("rendered for nobody"))
    camera._shoot()


def test_only_what_somebody_wants_is_made(camera, monkeypatch):
    asked, published, wanted = [], [], set()
    render = World.render

    def rendered(world, seconds, measured):
        asked.append(measured)
        return render(world, seconds, measured)

    monkeypatch.setattr(World, "render", rendered)
    for publisher in (camera._images, camera._depths, camera._truths, camera._true_instances):
        name = publisher.topic_name.removeprefix("/toytown_test/")
        monkeypatch.setattr(publisher, "get_subscription_count", lambda name=name: int(name in wanted))
        monkeypatch.setattr(publisher, "publish", lambda _, name=name: published.append(name))
    topics = ["image_raw", "depth_registered/image_raw", "ground_truth/labels", "ground_truth/instances"]
    for topic in topics:
        wanted.clear()
        wanted.add(topic)
        camera._shoot()
    assert published == topics and asked == [False, True, False, False]


def test_the_camera_info_is_that_of_the_renderer():
    view = World(7, *SIZE).camera(3.0)
    info = camera_info(view, Header())
    k, p = np.reshape(info.k, (3, 3)), np.reshape(info.p, (3, 4))
    x, y, z = 1.5, 0.5, 20.0
    # The renderer's y points up, that of an optical frame down.
    point = np.array([x - view.x, view.y - y, z - view.z])
    for projected in (k @ point, p @ [*point, 1.0]):
        assert projected[:2] / projected[2] == pytest.approx(view.project(x, y, z))
    assert not np.any(info.d) and np.array_equal(np.reshape(info.r, (3, 3)), np.eye(3))


def test_parameters_are_described_and_only_read(camera):
    for name in DESCRIPTIONS:
        described = camera.describe_parameter(name)
        assert described.read_only and described.description == DESCRIPTIONS[name]
        ranges = [*described.integer_range, *described.floating_point_range]
        assert [(one.from_value, one.to_value) for one in ranges] == (
            [LIMITS[name]] if name in LIMITS else []
        )
    (result,) = camera.set_parameters([Parameter("rate", value=1.0)])
    assert not result.successful and camera.get_parameter("rate").value == 20.0


@pytest.mark.parametrize(("name", "value"), [("rate", 0.0), ("width", 5)])
def test_a_node_out_of_its_range_says_what_is_expected(ros, name, value):
    with pytest.raises(SettingsError, match=f"{name} is .*; expected"):
        ToytownCamera(namespace="toytown_refused", parameter_overrides=[Parameter(name, value=value)])


@pytest.mark.parametrize(
    "given", [{"seed": -1}, {"rate": 0.0}, {"rate": float("nan")}, {"width": 5}, {"height": 9999}]
)
def test_what_cannot_be_rendered_is_refused(given):
    (name,) = given
    with pytest.raises(SettingsError, match=f"{name} is .*; expected"):
        CameraParameters(**given)
