"""The executable `activesam`: a ROS 2 node that labels camera images with the classes it is given."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from activesam_ros.system.machine import ENDING, let_waiting_threads_sleep
from activesam_ros.system.memory import share_one_heap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# How long the end may take, in all. Neither a forward pass nor a load can be interrupted.
_GRACE_SECONDS = 1.5


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT, SIGTERM or SIGHUP.

    Args:
        args: command line including the program's name; None: that of the process.

    Returns:
        exit code: 0 after a signal, 1 if the node cannot serve (one FATAL line says why).
    """
    # Blocked here, and so in all threads to come, the signals wait until `sigwait` asks for them: none can
    # end an import in a traceback, and the context stays valid until the frame in work has been answered.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    let_waiting_threads_sleep()
    share_one_heap()

    try:
        import rclpy
        from rclpy.signals import SignalHandlerOptions

        from activesam_ros.configuration.parameter_files import files_for_others
        from activesam_ros.ros.executor import GuardedExecutor
        from activesam_ros.ros.node import ActiveSamNode
        from activesam_ros.ros.program import REFUSALS, refusal
    except ModuleNotFoundError as error:
        print(
            f"activesam: the Python module {error.name!r} is missing; run `make setup` once and "
            "`source env.sh` in this shell",
            file=sys.stderr,
        )
        return 1

    main_thread = threading.get_ident()

    def wake() -> None:
        signal.pthread_kill(main_thread, signal.SIGTERM)

    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = ActiveSamNode(on_fatal=wake)
    except REFUSALS as error:
        rclpy.logging.get_logger("activesam").fatal(refusal(error))
        rclpy.try_shutdown()
        return 1
    for warning in files_for_others(sys.argv if args is None else args, node.get_fully_qualified_name()):
        node.get_logger().warning(warning)
    executor = GuardedExecutor(node.errors.fault)
    executor.add_node(node)

    stopping = threading.Event()
    callbacks = threading.Thread(
        target=spin, args=(executor.spin, stopping, node.fatal), name="activesam-executor", daemon=True
    )
    callbacks.start()
    signal.sigwait(ENDING)

    stopping.set()
    deadline = time.monotonic() + _GRACE_SECONDS

    def left() -> float:
        return max(0.0, deadline - time.monotonic())

    node.begin_to_stop()
    executor.shutdown(timeout_sec=left())
    callbacks.join(left())
    ended = node.stop(left())
    left_over = callbacks.is_alive()
    if not left_over:
        # Others learn at once that the node is gone, also when a thread is left inside the model.
        node.destroy_node()
        rclpy.try_shutdown()
    if not ended or left_over:
        # Leave without that thread rather than wait for minutes.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(node.exit_code)
    # Else the interpreter's end looks for cycles in all that was imported with the model, for more than a second.
    gc.freeze()
    return node.exit_code


def spin(run: Callable[[], None], stopping: threading.Event, failed: Callable[[str], None]) -> None:
    """Run the callbacks; report if that ends, as otherwise the process would live on without answering.

    Args:
        run: executes callbacks until its executor is shut down. That takes the executor apart without waiting
            for this thread, which then may raise whatever it likes.
        stopping: set before the executor is shut down.
        failed: takes one sentence.
    """
    try:
        run()
    except Exception as error:
        if stopping.is_set():
            return
        failed(f"a callback failed: {type(error).__name__}: {error}")
        raise


if __name__ == "__main__":
    sys.exit(main())
