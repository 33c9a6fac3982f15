"""How the programs around the node are ended, and why they could not begin."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rclpy.node import Node

_ENDING = (signal.SIGINT, signal.SIGTERM)


def ending_signals() -> threading.Event:
    """From now on SIGINT and SIGTERM set this event and do nothing else, however often they come; main thread only."""
    ending = threading.Event()
    for number in _ENDING:
        signal.signal(number, lambda *_: ending.set())
    return ending


def run_with_ros(name: str, run: Callable[[], int]) -> int:
    """Run a program that imports ROS and reads parameters; what is wrong with either is said in one sentence.

    Args:
        name: of the program.
        run: returns the exit code.

    Returns:
        the exit code; 1 if it could not do what was asked.
    """
    try:
        import rclpy
        import rclpy.logging
        from rclpy.exceptions import NameValidationException, ParameterException
        from rclpy.impl.implementation_singleton import rclpy_implementation

        import activesam_ros.msg  # noqa: F401
        from activesam_ros.errors import ActiveSamError
    except ModuleNotFoundError as error:
        print(
            f"{name}: the Python module {error.name!r} is missing; run `make setup` once and `source env.sh` in this "
            "shell",
            file=sys.stderr,
        )
        return 1
    refusals = (
        ActiveSamError,
        OSError,
        NameValidationException,
        ParameterException,
        rclpy_implementation.RCLError,
        rclpy_implementation.UnknownROSArgsError,
    )
    try:
        return run()
    except refusals as error:
        said = " ".join(str(error).split())
        # It lists the arguments that it does not know and says nothing else.
        unknown = isinstance(error, rclpy_implementation.UnknownROSArgsError)
        rclpy.logging.get_logger(name).fatal(
            f"unknown arguments after --ros-args: {said}" if unknown else said
        )
        return 1
    finally:
        rclpy.try_shutdown()


@contextmanager
def callbacks_of(node: Node) -> Iterator[threading.Event]:
    """The callbacks of a node run in a thread of their own; at the end they are over, and the node is destroyed.

    Yields:
        set if a callback failed. The error is raised at the end, unless the program has failed otherwise.
    """
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    leaving, failed = threading.Event(), threading.Event()
    errors: list[Exception] = []

    def spin() -> None:
        try:
            while not leaving.is_set():
                executor.spin_once(timeout_sec=0.1)
        except Exception as error:  # raised again below
            errors.append(error)
            failed.set()

    thread = threading.Thread(target=spin, name="callbacks", daemon=True)
    thread.start()
    try:
        yield failed
    finally:
        leaving.set()
        thread.join()
        executor.shutdown()
        node.destroy_node()
    if errors:
        raise errors[0]
