"""Which cameras a launch file is asked for, which drivers it can start, and what their nodes and topics are called."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from activesam_ros.errors import SettingsError, reason
from activesam_ros.launching.arguments import names_cameras
from activesam_ros.ros.parameters import read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PUSHED = "ros_namespace"
"""What `launch_ros` calls the namespace that an including launch file has pushed."""


def full_name(*parts: str) -> str:
    """Join parts of a name with one slash each, from the root; empty ones are left out.

    >>> full_name("", "camera", "image_raw"), full_name("/robot/", "image")
    ('/camera/image_raw', '/robot/image')
    """
    return "/" + "/".join(stripped for part in parts if (stripped := part.strip("/")))


def namespace_in_force(given: Mapping[str, str]) -> str:
    """Return where nodes with the argument `namespace` run: below a pushed one, unless it begins with a slash.

    >>> namespace_in_force({"ros_namespace": "/fleet", "namespace": "robot"})
    '/fleet/robot'
    """
    pushed, namespace = given.get(PUSHED, ""), given["namespace"]
    return namespace if not pushed or namespace.startswith("/") else full_name(pushed, namespace)


@dataclass(frozen=True)
class Driver:
    """A driver's executable.

    Attributes:
        package, executable: that are run.
        node: name of the node; the camera's name is its namespace.
        image: topic of the colour images in that namespace.
        parameters: its own, from the name of the camera and its number, from 0.
        device: the parameter that tells several cameras apart, and an example of its value; None: none has to.
        depth: topic, likewise, of depth that is registered to the colour images; empty: it measures none.
        measuring: parameters without which it does not publish that.
    """

    package: str
    executable: str
    node: str
    image: str
    parameters: Callable[[str, int], Mapping[str, object]]
    device: tuple[str, str] | None = None
    depth: str = ""
    measuring: Mapping[str, object] = field(default_factory=dict)


def _named(*parameters: str) -> Callable[[str, int], Mapping[str, object]]:
    return lambda name, _: dict.fromkeys(parameters, name)


_VIDEO_DEVICE = ("video_device", "/dev/video0")
_SERIAL = ("serial_no", "'123456789012'")

DRIVERS: Mapping[str, Driver] = {
    "toytown": Driver(
        "activesam_ros",
        "toytown_camera",
        "toytown_camera",
        "image_raw",
        # Another street for every camera.
        lambda name, number: {"frame_id": name, "seed": 10_000_007 + number},
        depth="depth_registered/image_raw",
    ),
    "v4l2": Driver(
        "v4l2_camera",
        "v4l2_camera_node",
        "v4l2_camera",
        "image_raw",
        _named("camera_frame_id"),
        _VIDEO_DEVICE,
    ),
    "usb_cam": Driver(
        "usb_cam",
        "usb_cam_node_exe",
        "usb_cam",
        "image_raw",
        _named("frame_id", "camera_name"),
        _VIDEO_DEVICE,
    ),
    "realsense": Driver(
        "realsense2_camera",
        "realsense2_camera_node",
        "camera",
        "camera/color/image_raw",
        _named("camera_name"),
        _SERIAL,
        depth="camera/aligned_depth_to_color/image_raw",
        measuring={"align_depth.enable": True},
    ),
}
"""By the names that launch files know them by; they publish `camera_info` beside the images."""

NO_DRIVER = "none"


def image_topic(driver: Driver, namespace: str, camera: str) -> str:
    """Return the full name of the topic on which a driver publishes the images of a camera."""
    return full_name(namespace, camera, driver.image)


def depth_topic(given: Mapping[str, str], source: Source, cameras: int) -> str:
    """Return the full name of the topic with the depth of a camera, one of so many.

    Args:
        given: values of `camera`, `depth` and `namespace`.
        source: the camera.
        cameras: how many there are.

    Raises:
        SettingsError: there is no driver that publishes depth, and no topic is given; or one, for several cameras.
    """
    namespace, driver = namespace_in_force(given), DRIVERS.get(given["camera"])
    if given["depth"] and cameras > 1:
        raise SettingsError(
            f"depth:={given['depth']} is one topic for {cameras} cameras: leave it out if their driver publishes "
            "depth, or start labelled_points yourself for each of them"
        )
    if given["depth"]:
        return given["depth"] if given["depth"].startswith("/") else full_name(namespace, given["depth"])
    if driver is None or not driver.depth:
        measuring = ", ".join(name for name, one in DRIVERS.items() if one.depth)
        raise SettingsError(
            f"points:=true needs depth that is registered to the images, and camera:={given['camera']} publishes none: "
            f"give its topic as depth:=TOPIC, or a driver that has some: {measuring}"
        )
    return full_name(namespace, source.driver_namespace, driver.depth)


def info_topic(given: Mapping[str, str], source: Source) -> str:
    """Return the full name of the topic with the camera info of a camera, which is beside its images."""
    return posixpath.join(posixpath.dirname(source.image_in(namespace_in_force(given))), "camera_info")


def require_installed(argument: str, package: str) -> None:
    """Raise SettingsError, which says how to install it, if a package that `argument` asks for is missing."""
    try:
        get_package_share_directory(package)
    except PackageNotFoundError as error:
        distribution = os.environ.get("ROS_DISTRO", "$ROS_DISTRO")
        raise SettingsError(
            f"{argument} needs the package {package}, which is not installed here: run `sudo apt install "
            f"ros-{distribution}-{package.replace('_', '-')}`, or source the workspace that has it"
        ) from error


def require_told_apart(argument: str, driver: Driver, cameras: tuple[str, ...], params_file: str) -> None:
    """Raise SettingsError if several cameras, given by their namespaces, would all open the same device."""
    if driver.device is None or len(cameras) < 2 or params_file:
        return
    name, example = driver.device
    node = full_name(cameras[0], driver.node)
    raise SettingsError(
        f"{argument} for {len(cameras)} cameras needs camera_params_file:=FILE, which says which device is which: for "
        f"each of them a line such as `{node}: {{ros__parameters: {{{name}: {example}}}}}`"
    )


ONLY = "camera"
"""What the driver's namespace is called if there is one camera."""

NODE = "activesam"


@dataclass(frozen=True)
class Source:
    """One camera.

    Attributes:
        name: in the node's parameter `cameras`; empty: the only one.
        image: topic of its images; empty: the node's own name for it.
    """

    name: str
    image: str

    @property
    def driver_namespace(self) -> str:
        """Where its driver runs, in the namespace of the launch file."""
        return self.name or ONLY

    @property
    def input(self) -> str:
        """What the node calls the topic."""
        return f"{self.name}/image" if self.name else "image"

    def image_in(self, namespace: str) -> str:
        """Return the full name of the topic that the node, in that namespace, subscribes."""
        topic = self.image or self.input
        return topic if topic.startswith("/") else full_name(namespace, topic)

    def output(self, namespace: str, topic: str) -> str:
        """Return the full name of a topic of the camera that the node publishes, such as "overlay"."""
        return full_name(namespace, NODE, self.name, topic)


def sources(given: Mapping[str, str]) -> tuple[Source, ...]:
    """Return the cameras that launch arguments ask for, at least one.

    Args:
        given: values of `image`, `camera`, `cameras`, `rviz`, `points`, `namespace` and `params_file`.

    Raises:
        SettingsError: they contradict each other, or cameras is neither a list of names nor topics by name.
    """
    topics = _cameras(given["cameras"])
    only_in_file = not topics and given["params_file"] and names_cameras(given["params_file"])
    what_would = {"rviz": "would show none of them", "points": "would make points of none of them"}
    for name, nothing in (("image", ""), ("camera", NO_DRIVER), ("rviz", "false"), ("points", "false")):
        asked = given.get(name, "").lower() not in ("", nothing)
        if asked and only_in_file:
            what = what_would.get(name, "would have no effect")
            raise SettingsError(
                f"{name}:={given[name]} {what}, since params_file names cameras; give them as an "
                "argument instead: cameras:='{front: /front/image_raw, rear: /rear/image_raw}'"
            )
    if topics and given["image"]:
        raise SettingsError(
            f"image:={given['image']} would have no effect beside cameras, each of which has a topic of its own: "
            "cameras:='{front: /front/image_raw, rear: /rear/image_raw}'"
        )
    if not topics:
        return (_source("", given["image"], given),)
    return tuple(_source(name, topic, given) for name, topic in topics.items())


def _source(name: str, topic: str, given: Mapping[str, str]) -> Source:
    source = Source(name, topic)
    if topic or given["camera"] == NO_DRIVER:
        return source
    return Source(
        name, image_topic(DRIVERS[given["camera"]], namespace_in_force(given), source.driver_namespace)
    )


def _cameras(text: str) -> dict[str, str]:
    """Return topics by name of the camera; empty: the default one."""
    if not text:
        return {}
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"cameras:={text!r} is not YAML: {reason(error)}") from error
    names = list(given) if isinstance(given, (list, dict)) else []
    topics = list(given.values()) if isinstance(given, dict) else [""] * len(names)
    if not names or not all(isinstance(one, str) for one in (*names, *topics)):
        raise SettingsError(
            f"cameras:={text!r} names no cameras; expected names, '[front, rear]', or topics by name, "
            "'{front: /front/image_raw, rear: /rear/image_raw}'"
        )
    return dict(zip(read("cameras", names), topics, strict=True))
