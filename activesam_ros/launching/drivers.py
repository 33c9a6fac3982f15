"""Camera drivers that a launch file can start, and what their nodes and topics are called."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from activesam_ros.errors import SettingsError
from activesam_ros.launching.names import full_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Driver:
    """A driver's executable.

    Attributes:
        package, executable: that are run.
        node: name of the node; the camera's name is its namespace.
        image: topic of the colour images in that namespace.
        parameters: its own, from the name of the camera and its number, from 0.
        device: the parameter that tells several cameras apart, and an example of its value; None: none has to.
    """

    package: str
    executable: str
    node: str
    image: str
    parameters: Callable[[str, int], Mapping[str, object]]
    device: tuple[str, str] | None = None


DRIVERS: Mapping[str, Driver] = {
    "toytown": Driver(
        "activesam_ros",
        "toytown_camera",
        "toytown_camera",
        "image_raw",
        # Another street for every camera.
        lambda name, number: {"frame_id": name, "seed": 10_000_007 + number},
    ),
    "v4l2": Driver(
        "v4l2_camera",
        "v4l2_camera_node",
        "v4l2_camera",
        "image_raw",
        lambda name, number: {"camera_frame_id": name},
        ("video_device", "/dev/video0"),
    ),
    "usb_cam": Driver(
        "usb_cam",
        "usb_cam_node_exe",
        "usb_cam",
        "image_raw",
        lambda name, number: {"frame_id": name, "camera_name": name},
        ("video_device", "/dev/video0"),
    ),
    "realsense": Driver(
        "realsense2_camera",
        "realsense2_camera_node",
        "camera",
        "camera/color/image_raw",
        lambda name, number: {"camera_name": name},
        ("serial_no", "'123456789012'"),
    ),
}
"""By the names that launch files know them by; they publish `camera_info` beside the images."""

NO_DRIVER = "none"


def image_topic(driver: Driver, namespace: str, camera: str) -> str:
    """The full name of the topic on which a driver publishes the images of a camera."""
    return full_name(namespace, camera, driver.image)


def require_installed(argument: str, package: str) -> None:
    """Raises SettingsError, which says how to install it, if a package is not in this workspace.

    Args:
        argument: what asks for the package, such as "camera:=v4l2".
        package: its name.
    """
    try:
        get_package_share_directory(package)
    except PackageNotFoundError as error:
        distribution = os.environ.get("ROS_DISTRO", "$ROS_DISTRO")
        raise SettingsError(
            f"{argument} needs the package {package}, which is not installed here: run `sudo apt install "
            f"ros-{distribution}-{package.replace('_', '-')}`, or source the workspace that has it"
        ) from error


def require_told_apart(argument: str, driver: Driver, cameras: tuple[str, ...], params_file: str) -> None:
    """Raises SettingsError if several cameras would all open the same device.

    Args:
        argument: what asks for the driver.
        driver: of all of them.
        cameras: their namespaces.
        params_file: with parameters of their nodes; empty: none.
    """
    if driver.device is None or len(cameras) < 2 or params_file:
        return
    name, example = driver.device
    node = full_name(cameras[0], driver.node)
    raise SettingsError(
        f"{argument} for {len(cameras)} cameras needs camera_params_file:=FILE, which says which device is which: for "
        f"each of them a line such as `{node}: {{ros__parameters: {{{name}: {example}}}}}`"
    )
