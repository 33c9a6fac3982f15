"""A camera that drives through Toy Town: rendered images as a driver publishes them, with exact ground truth."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterValueException
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from activesam_ros.errors import SettingsError
from activesam_ros.ros import qos
from activesam_ros.ros.conversions import (
    class_names_to_msg,
    depth_to_msg,
    ids_to_msg,
    labels_to_msg,
    rgb_to_msg,
)
from activesam_ros.ros.program import ProgramNode, callbacks_of, run_program, wait_for_any
from activesam_ros.toytown import CLASSES
from activesam_ros.toytown.world import World

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from activesam_ros.toytown.canvas import Camera

# Images that a slow subscriber may fall behind.
_DEPTH = 5

LIMITS = {"seed": (0, 2**31 - 1), "rate": (0.1, 1000.0), "width": (64, 4096), "height": (64, 4096)}
"""The least and the greatest number that each numeric parameter may have."""

DESCRIPTIONS = {
    "seed": "Which street is driven through.",
    "rate": "Images a second.",
    "width": "Width of the images in pixels.",
    "height": "Height of the images in pixels.",
    "frame_id": "Frame in the header of every message.",
}
"""What ROS tools say about each parameter; all are read once, at the start."""


@dataclass(frozen=True)
class CameraParameters:
    """What is rendered; each field is a parameter of this name.

    Attributes:
        seed: of the street.
        rate: images a second.
        width, height: of the images in pixels.
        frame_id: of every header.
    """

    seed: int = 10_000_007
    rate: float = 5.0
    width: int = 640
    height: int = 480
    frame_id: str = "camera"

    def __post_init__(self) -> None:
        """Raise SettingsError if a number is out of its range."""
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"{name} is {value:g}; expected {low:g} to {high:g}")


class ToytownCamera(ProgramNode):
    """The node `toytown_camera`.

    Publishes with one stamp, that of the node's clock, `image_raw`, `camera_info`, `ground_truth/labels` (mono8, 255:
    no class), `ground_truth/instances` (16UC1, id of the thing along the drive, 0: none) and
    `depth_registered/image_raw` (16UC1, millimetres for each pixel of the image, 0 in the sky and beyond 65.535 m); and
    `ground_truth/label_info`, latched. The street passes as fast as time does, however many images are made of it;
    nothing is rendered without a subscriber to images, depth or truth.
    """

    def __init__(self, **node_options: object) -> None:
        """Declare the parameters and start the timer.

        Args:
            node_options: for `rclpy.node.Node`.

        Raises:
            SettingsError: a parameter is out of range.
        """
        super().__init__("toytown_camera", **node_options)
        self._given = given = CameraParameters(
            **{one.name: self._declared(one.name, one.default) for one in fields(CameraParameters)}
        )
        self._world = World(given.seed, given.width, given.height)
        self._images = self._publisher(Image, "image_raw")
        self._depths = self._publisher(Image, "depth_registered/image_raw")
        self._infos = self._publisher(CameraInfo, "camera_info")
        self._truths = self._publisher(Image, "ground_truth/labels")
        self._true_instances = self._publisher(Image, "ground_truth/instances")
        names = self.create_publisher(LabelInfo, "ground_truth/label_info", qos.latched_out())
        names.publish(class_names_to_msg(dict(enumerate(CLASSES)), Header(frame_id=given.frame_id)))
        self._names = names
        self._start: int | None = None
        self._slow = False
        self.create_timer(1.0 / given.rate, self._shoot)
        self.get_logger().info(
            f"street {given.seed}: {given.width}x{given.height} at {given.rate:g} Hz on {self._images.topic_name}, "
            f"ground truth on {self._truths.topic_name}"
        )

    def _declared(self, name: str, default: Any) -> Any:
        try:
            return self.declare_parameter(name, default, descriptor(name)).value
        except InvalidParameterValueException as error:
            low, high = LIMITS[name]
            said = " ".join(str(error).split())
            raise SettingsError(
                f"{name} is out of its range; expected {low:g} to {high:g}: {said}"
            ) from error

    def _publisher(self, kind: type, topic: str) -> Any:
        profile = QoSProfile(depth=_DEPTH)
        with qos.overrides_checked():
            return self.create_publisher(kind, topic, profile, qos_overriding_options=qos.overriding())

    def _shoot(self) -> None:
        now = self.get_clock().now()
        # Simulated time jumps back when a recording starts anew; so does the drive then.
        if self._start is None or now.nanoseconds < self._start:
            self._start = now.nanoseconds
        seconds = (now.nanoseconds - self._start) / 1e9
        header = Header(stamp=now.to_msg(), frame_id=self._given.frame_id)
        self._infos.publish(camera_info(self._world.camera(seconds), header))
        images, truths, true_instances, depths = (
            one.get_subscription_count() > 0
            for one in (self._images, self._truths, self._true_instances, self._depths)
        )
        if not (images or truths or true_instances or depths):
            return
        began = time.monotonic()
        frame = self._world.render(seconds, measured=depths)
        if images:
            self._images.publish(rgb_to_msg(frame.rgb, header))
        if truths:
            self._truths.publish(labels_to_msg(frame.labels, header))
        if true_instances:
            self._true_instances.publish(ids_to_msg(frame.instances, header))
        if frame.depth is not None:
            self._depths.publish(depth_to_msg(frame.depth, header))
        self._tell_if_slow(time.monotonic() - began)

    def _tell_if_slow(self, took: float) -> None:
        if took > 1.0 / self._given.rate and not self._slow:
            self._slow = True
            self.get_logger().warning(
                f"an image takes {took:.2f} s to render, which is too long for {self._given.rate:g} Hz; choose a lower "
                "rate or smaller images"
            )


def descriptor(name: str) -> ParameterDescriptor:
    """Return the description of a parameter for ROS tools: its meaning and range; none can be changed."""
    described = ParameterDescriptor(name=name, description=DESCRIPTIONS[name], read_only=True)
    low, high = LIMITS.get(name, (None, None))
    if isinstance(low, float):
        described.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
    elif low is not None:
        described.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return described


def camera_info(camera: Camera, header: Header) -> CameraInfo:
    """Return the camera info of a rendered camera, which has no distortion, with the header of its image."""
    (x, y), focal = camera.centre, camera.focal
    return CameraInfo(
        header=header,
        width=camera.width,
        height=camera.height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[focal, 0.0, x, 0.0, focal, y, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, x, 0.0, 0.0, focal, y, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish images until SIGINT or SIGTERM.

    Args:
        arguments: command line including the program's name; None: that of the process.

    Returns:
        exit code: 0 after a signal, 1 if there can be no images (one FATAL line says why).
    """
    return run_program("toytown_camera", _run, arguments)


def _run(ending: threading.Event) -> int:
    with callbacks_of(ToytownCamera()) as failed:
        wait_for_any(ending, failed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
