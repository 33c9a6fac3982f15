import pytest

pytest.importorskip("ament_index_python", reason="ament_index_python is missing; source env.sh")

from activesam_ros.errors import SettingsError
from activesam_ros.launching.cameras import (
    DRIVERS,
    Source,
    depth_topic,
    full_name,
    info_topic,
    namespace_in_force,
    require_installed,
    require_told_apart,
    sources,
)


def given(**values):
    return {"image": "", "camera": "none", "cameras": "", "namespace": "", "params_file": "", **values}


def asked(**values):
    return [(one.name, one.image) for one in sources(given(**values))]


def test_one_camera_has_no_name():
    assert asked() == [("", "")]
    assert asked(image="/left/image_raw") == [("", "/left/image_raw")]


@pytest.mark.parametrize(
    ("camera", "topic"),
    [
        ("toytown", "/camera/image_raw"),
        ("v4l2", "/camera/image_raw"),
        ("usb_cam", "/camera/image_raw"),
        ("realsense", "/camera/camera/color/image_raw"),
    ],
)
def test_a_driver_says_where_its_images_are(camera, topic):
    assert asked(camera=camera) == [("", topic)]
    assert asked(camera=camera, namespace="robot") == [("", f"/robot{topic}")]
    # Such as those of a node behind the driver.
    assert asked(camera=camera, image="/rect") == [("", "/rect")]


def test_several_cameras_are_names_or_topics_by_name():
    assert asked(cameras="[front, rear]") == [("front", ""), ("rear", "")]
    assert asked(cameras="{front: /a/image_raw, rear: /b/image_raw}") == [
        ("front", "/a/image_raw"),
        ("rear", "/b/image_raw"),
    ]
    assert asked(cameras="[front, rear]", camera="v4l2", namespace="/robot/") == [
        ("front", "/robot/front/image_raw"),
        ("rear", "/robot/rear/image_raw"),
    ]


def test_a_driver_in_a_pushed_namespace_has_its_images_there():
    assert asked(camera="v4l2", namespace="robot", ros_namespace="/fleet") == [
        ("", "/fleet/robot/camera/image_raw")
    ]
    assert asked(camera="v4l2", namespace="/robot", ros_namespace="/fleet") == [
        ("", "/robot/camera/image_raw")
    ]


@pytest.mark.parametrize(
    "text", ["front", "7", "[]", "{}", "[1, 2]", "{front: 7}", "{7: /a}", "[front", "[[a], [b]]"]
)
def test_what_names_no_cameras_is_refused(text):
    with pytest.raises(SettingsError, match="cameras:="):
        asked(cameras=text)


@pytest.mark.parametrize("text", ["[front, front]", "[a/b]", "{'2nd': /a}"])
def test_names_are_refused_as_the_node_would(text):
    with pytest.raises(SettingsError, match="cameras holds"):
        asked(cameras=text)


def test_what_would_have_no_effect_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="image:=/a would have no effect beside cameras"):
        asked(image="/a", cameras="[front]")
    file = tmp_path / "mine.yaml"
    file.write_text("/**: {ros__parameters: {cameras: [front, rear]}}")
    with pytest.raises(
        SettingsError, match="rviz:=true would show none of them, since params_file names cameras"
    ):
        asked(rviz="true", params_file=str(file))
    with pytest.raises(SettingsError, match="points:=true would make points of none of them"):
        asked(points="true", params_file=str(file))
    assert asked(rviz="false", params_file=str(file)) == [("", "")]
    for argument in ({"image": "/a"}, {"camera": "v4l2"}):
        with pytest.raises(SettingsError, match="would have no effect, since params_file names cameras"):
            asked(**argument, params_file=str(file))
    assert asked(params_file=str(file)) == [("", "")]
    assert asked(cameras="[left]", params_file=str(file)) == [("left", "")]


def test_topics_have_full_names():
    front = Source("front", "")
    assert (front.input, front.driver_namespace) == ("front/image", "front")
    assert front.image_in("robot") == "/robot/front/image"
    assert front.output("robot", "overlay") == "/robot/activesam/front/overlay"
    only = Source("", "image_rect")
    assert (only.input, only.driver_namespace) == ("image", "camera")
    assert only.image_in("") == "/image_rect" and only.image_in("/robot") == "/robot/image_rect"
    assert only.output("", "overlay") == "/activesam/overlay"


@pytest.mark.parametrize(
    ("camera", "topic"),
    [
        ("toytown", "/robot/front/depth_registered/image_raw"),
        ("realsense", "/robot/front/camera/aligned_depth_to_color/image_raw"),
    ],
)
def test_a_driver_says_where_its_depth_is(camera, topic):
    front = Source("front", "")
    assert depth_topic(given(camera=camera, namespace="robot", depth=""), front, 2) == topic


def test_depth_is_given_or_comes_from_a_driver_that_has_some():
    only = Source("", "/camera/image_rect")
    assert depth_topic(given(depth="depth", namespace="robot"), only, 1) == "/robot/depth"
    assert depth_topic(given(depth="/depth", camera="toytown"), only, 1) == "/depth"
    for camera in ("none", "v4l2"):
        with pytest.raises(
            SettingsError, match=rf"camera:={camera} publishes none: .*depth:=TOPIC.*realsense"
        ):
            depth_topic(given(depth="", camera=camera), only, 1)
    with pytest.raises(SettingsError, match="one topic for 2 cameras"):
        depth_topic(given(depth="/depth"), only, 2)


def test_camera_info_is_beside_the_image():
    assert info_topic(given(namespace="robot"), Source("", "/camera/image_rect")) == "/camera/camera_info"
    assert info_topic(given(namespace="robot"), Source("front", "")) == "/robot/front/camera_info"


@pytest.mark.parametrize(
    ("pushed", "namespace", "expected"),
    [
        ("", "", "/"),
        ("", "robot", "/robot"),
        ("/fleet", "", "/fleet"),
        ("/fleet", "robot", "/fleet/robot"),
        ("/fleet/", "robot/", "/fleet/robot"),
        ("/fleet", "/robot", "/robot"),
    ],
)
def test_a_namespace_is_below_the_pushed_one_unless_it_is_absolute(pushed, namespace, expected):
    assert full_name(namespace_in_force({"ros_namespace": pushed, "namespace": namespace})) == expected
    if not pushed:
        assert full_name(namespace_in_force({"namespace": namespace})) == expected


# Drivers.


def test_what_is_not_installed_is_told_with_what_to_do(monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    with pytest.raises(
        SettingsError, match=r"camera:=lidar needs the package no_such_camera.*ros-jazzy-no-such-camera"
    ):
        require_installed("camera:=lidar", "no_such_camera")
    require_installed("camera:=toytown", "ament_index_python")


@pytest.mark.parametrize("name", ["v4l2", "usb_cam", "realsense"])
def test_several_cameras_need_to_be_told_apart(name):
    driver = DRIVERS[name]
    with pytest.raises(SettingsError, match=rf"/front/{driver.node}: .*{driver.device[0]}"):
        require_told_apart(f"camera:={name}", driver, ("front", "rear"), "")
    with pytest.raises(SettingsError, match=rf"`/robot/front/{driver.node}: "):
        require_told_apart(f"camera:={name}", driver, ("/robot/front", "/robot/rear"), "")
    require_told_apart(f"camera:={name}", driver, ("front",), "")
    require_told_apart(f"camera:={name}", driver, ("front", "rear"), "mine.yaml")


def test_rendered_cameras_see_different_streets():
    driver = DRIVERS["toytown"]
    require_told_apart("camera:=toytown", driver, ("front", "rear"), "")
    first, second = driver.parameters("front", 0), driver.parameters("rear", 1)
    assert first["seed"] != second["seed"] and second["frame_id"] == "rear"
