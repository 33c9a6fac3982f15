"""The executable `activesam`: a ROS 2 node that labels camera images with the words it is given."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence

from activesam_ros.threads import let_waiting_threads_sleep

_ENDING = {signal.SIGINT, signal.SIGTERM}
# How long a frame in work may delay the end. Neither a forward pass nor a load can be interrupted.
_GRACE_SECONDS = 1.5


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM.

    Args:
        args: command line including the program's name; None: that of the process.

    Returns:
        exit code: 0 after a signal, 1 if the node cannot serve (one FATAL line says why).
    """
    # Blocked here, and so in all threads to come, the signals wait until `sigwait` asks for them: none can
    # end an import in a traceback, and the context stays valid until the frame in work has been answered.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    let_waiting_threads_sleep()

    try:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.signals import SignalHandlerOptions

        from activesam_ros.errors import ActiveSamError
        from activesam_ros.ros.activesam_node import ActiveSamNode
    except ModuleNotFoundError as error:
        print(
            f"activesam: the Python module {error.name!r} is missing; run `make setup` once and "
            "`source env.sh` in this shell",
            file=sys.stderr,
        )
        return 1

    def wake() -> None:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)

    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = ActiveSamNode(on_fatal=wake)
    except ActiveSamError as error:
        rclpy.logging.get_logger("activesam").fatal(str(error))
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        try:
            executor.spin()
        except Exception as error:  # a callback's bug: without this the process would live on, deaf
            node.fatal(f"a callback failed: {type(error).__name__}: {error}")
            raise

    callbacks = threading.Thread(target=spin, name="activesam-executor", daemon=True)
    callbacks.start()
    signal.sigwait(_ENDING)

    ended = node.stop(_GRACE_SECONDS)
    executor.shutdown(timeout_sec=_GRACE_SECONDS)
    callbacks.join(_GRACE_SECONDS)
    if not ended or callbacks.is_alive():
        # A thread is still inside the model: leave without it rather than wait for minutes.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(node.exit_code)
    node.destroy_node()
    rclpy.try_shutdown()
    return node.exit_code


if __name__ == "__main__":
    sys.exit(main())
