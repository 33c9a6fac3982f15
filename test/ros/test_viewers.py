"""The layouts for RViz, Foxglove and rqt show topics that there are."""

import ast
import json
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy
from sensor_msgs.msg import Image

from activesam_ros.launching.cameras import DRIVERS, image_topic
from activesam_ros.points import POINT
from activesam_ros.ros.publishers import CameraPublishers, LabelInfoPublisher

from .recording import RecordingNode

CONFIG = Path(__file__).parents[2] / "config"
SHOWN = {"/camera/image_raw", "/activesam/overlay", "/activesam/labels_color", "/activesam/legend"}


@pytest.fixture(scope="module")
def published():
    """What the demonstration publishes: types and durability by topic."""
    node = RecordingNode()
    CameraPublishers(node, "", 1, None)
    LabelInfoPublisher(node)
    topics = {
        f"/activesam/{name}": (one.kind, one.profile.durability) for name, one in node.publishers.items()
    }
    topics[image_topic(DRIVERS["toytown"], "", "camera")] = (Image, DurabilityPolicy.VOLATILE)
    topics["/diagnostics"] = (DiagnosticArray, DurabilityPolicy.VOLATILE)
    return topics


def test_rviz_shows_images_that_there_are(published):
    config = yaml.safe_load((CONFIG / "activesam.rviz").read_text())
    displays = config["Visualization Manager"]["Displays"]
    assert {one["Topic"]["Value"] for one in displays} == SHOWN
    for display in displays:
        topic = display["Topic"]
        kind, durability = published[topic["Value"]]
        assert display["Class"] == "rviz_default_plugins/Image" and kind is Image
        assert topic["Durability Policy"] == durability.name.replace("_", " ").title()


def test_rviz_shows_points_that_there_are(published):
    config = yaml.safe_load((CONFIG / "points.rviz").read_text())["Visualization Manager"]
    shown = {one["Name"]: one for one in config["Displays"] if "Topic" in one}
    assert {one["Topic"]["Value"] for one in shown.values()} == {
        "/labelled_points/points",
        "/activesam/detections_overlay",
        "/activesam/legend",
    }
    points = shown.pop("Points")
    assert points["Class"] == "rviz_default_plugins/PointCloud2" and points["Channel Name"] in POINT.names
    for display in shown.values():
        kind, durability = published[display["Topic"]["Value"]]
        assert display["Class"] == "rviz_default_plugins/Image" and kind is Image
        assert display["Topic"]["Durability Policy"] == durability.name.replace("_", " ").title()


def test_rviz_arranges_its_displays():
    config = yaml.safe_load((CONFIG / "activesam.rviz").read_text())
    geometry = config["Window Geometry"]
    state = bytes.fromhex(geometry["QMainWindow State"])
    names = {one["Name"] for one in config["Visualization Manager"]["Displays"]}
    for name in {"Displays", *names}:
        assert name.encode("utf-16-be") in state and name in geometry


def test_foxglove_shows_topics_that_there_are(published):
    layout = json.loads((CONFIG / "foxglove.json").read_text())
    panels = layout["configById"]
    images = {one["imageMode"]["imageTopic"] for name, one in panels.items() if name.startswith("Image!")}
    assert images == SHOWN
    assert all(published[topic][0] is Image for topic in images)
    topics = [
        one.get("topicPath") or one.get("topicToRender") for one in panels.values() if "imageMode" not in one
    ]
    for path in topics:
        topic, _, field = path.partition(".")
        assert not field or field in published[topic][0].get_fields_and_field_types()
    assert sorted(panels_of(layout["layout"])) == sorted(panels)


def panels_of(layout):
    if isinstance(layout, str):
        return [layout]
    assert layout["direction"] in ("row", "column")
    return [*panels_of(layout["first"]), *panels_of(layout["second"])]


def test_rqt_shows_topics_that_there_are(published):
    manager = json.loads((CONFIG / "rqt.perspective").read_text())["groups"]["pluginmanager"]
    running = read(manager["keys"]["running-plugins"])
    views = [f"plugin__rqt_image_view__ImageView__{number}" for number in running["rqt_image_view/ImageView"]]
    assert set(manager["groups"]) == set(views)
    topics = {read(manager["groups"][view]["groups"]["plugin"]["keys"]["topic"]) for view in views}
    assert topics == SHOWN and all(published[topic][0] is Image for topic in topics)


def read(value):
    """A value as rqt writes it."""
    assert value["type"] == "repr"
    return ast.literal_eval(value["repr"])
