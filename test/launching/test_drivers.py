import pytest

pytest.importorskip("ament_index_python", reason="ament_index_python is missing; source env.sh")

from activesam_ros.errors import SettingsError
from activesam_ros.launching.drivers import DRIVERS, require_installed, require_told_apart


def test_what_is_not_installed_is_told_with_what_to_do(monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    with pytest.raises(
        SettingsError, match="camera:=lidar needs the package no_such_camera.*ros-jazzy-no-such-camera"
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
