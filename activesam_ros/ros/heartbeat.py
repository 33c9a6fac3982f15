"""A sign of life that stops when the worker hangs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from std_msgs.msg import Header

from activesam_ros.ros import qos

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

    from activesam_ros.ros.worker import Task


class Heartbeat:
    """Publishes `~/heartbeat` whenever `beat` is called while all is well; executor's thread."""

    def __init__(self, node: Node, well: Callable[[], bool]) -> None:
        """`well`: whether the worker does what it should."""
        self._node = node
        self._well = well
        self._publisher = node.create_publisher(Header, "~/heartbeat", qos.heartbeat())

    def beat(self) -> bool:
        """Publish, unless something is wrong; whether it was published."""
        if not self._well():
            return False
        self._publisher.publish(Header(stamp=self._node.get_clock().now().to_msg()))
        return True


def hangs(task: Task | None, timeout: float, now: float) -> bool:
    """Whether a task that should be done soon takes longer than `timeout` seconds at the monotonic time `now`."""
    return task is not None and task.bounded and now - task.since > timeout
