"""The executable `activesam`: a ROS 2 node that labels camera images with the words it is given."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence

# How long a frame in work may delay the end. Neither a forward pass nor a load can be interrupted.
_GRACE_SECONDS = 1.5


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM.

    Args:
        args: command line including the program's name; None: that of the process.

    Returns:
        exit code: 0 after a signal, 1 if the node cannot serve (one FATAL line says why).
    """
    # First of all, so that no signal during the imports below ends in a traceback.
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())

    import rclpy
    from rclpy.exceptions import InvalidHandle
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

    from activesam_ros.errors import ActiveSamError
    from activesam_ros.ros.activesam_node import ActiveSamNode

    rclpy.init(args=args)
    try:
        node = ActiveSamNode()
    except ActiveSamError as error:
        rclpy.logging.get_logger("activesam").fatal(str(error))
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while rclpy.ok() and not stopped.is_set() and not node.finished:
            executor.spin_once()
    except ExternalShutdownException:
        pass  # the signal handler of rclpy has shut the context down: the regular end
    ended = node.stop(_GRACE_SECONDS)
    code = node.exit_code
    if not ended:
        # A thread is still inside the model: leave without it rather than wait for minutes.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    executor.remove_node(node)
    try:
        node.destroy_node()
    except InvalidHandle:
        pass
    rclpy.try_shutdown()
    return code


if __name__ == "__main__":
    sys.exit(main())
