"""A stand-in for the node that does no work: what is left is what the middleware takes."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

from activesam_ros.errors import ActiveSamError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from types import TracebackType


class Echo:
    """Answers every image with blank labels of its size, in a process of its own, on the node's topics.

    Example:
        >>> with Echo() as echo:
        ...     client.connect({"": message}, echo.check, 60.0)
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, self._theirs = context.Pipe()
        self._process = context.Process(target=_echo, args=(self._theirs,), daemon=True)

    def __enter__(self) -> Echo:
        self._process.start()
        self._theirs.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.join()

    def check(self) -> None:
        """Raises ActiveSamError if the process has ended."""
        if not self._process.is_alive():
            raise ActiveSamError("the process that echoes images ended; see what it printed above")


def _echo(connection: Connection) -> None:
    import numpy as np
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from activesam_ros.benchmarks.node.client import NODE
    from activesam_ros.ros import qos
    from activesam_ros.ros.conversions import labels_to_msg

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("echo")
    labels = node.create_publisher(Image, f"{NODE}/labels", qos.results_out())
    blank: dict[tuple[int, int], Image] = {}

    def answer(message: Image) -> None:
        size = (message.height, message.width)
        if size not in blank:
            blank[size] = labels_to_msg(np.zeros(size, np.uint8), Header())
        blank[size].header = message.header
        labels.publish(blank[size])

    node.create_subscription(Image, "image", answer, qos.image_in("newest"))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    # The other end never sends anything: what there is to read is its end.
    while not connection.poll():
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
