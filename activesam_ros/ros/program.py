"""How the programs beside the node (player, rendered camera, points) run, end, and say why they cannot begin."""

from __future__ import annotations

import re
import signal
import threading
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import rclpy
import rclpy.logging
from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from activesam_ros.configuration.configuration import specs_of
from activesam_ros.errors import ActiveSamError, describe, reason
from activesam_ros.ros.executor import GuardedExecutor, answer_every_call
from activesam_ros.ros.live_parameters import descriptor, given_at_start
from activesam_ros.ros.logs import ErrorLog, PrintableLogger
from activesam_ros.system.machine import ENDING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rclpy.impl.rcutils_logger import RcutilsLogger

G = TypeVar("G")

REFUSALS = (
    ActiveSamError,
    OSError,
    NameValidationException,
    ParameterException,
    rclpy_implementation.RCLError,
    rclpy_implementation.UnknownROSArgsError,
)
"""What keeps a program from beginning, such as its command line or its parameters."""

_SLICE_SECONDS = 0.1


class ProgramNode(Node):
    """A node whose log may quote what strangers send."""

    def get_logger(self) -> RcutilsLogger:
        """Return the node's logger, whose lines are printable."""
        return PrintableLogger(super().get_logger().name)


def run_program(
    name: str, run: Callable[[threading.Event], int], arguments: Sequence[str] | None = None
) -> int:
    """Run a program with ROS; SIGINT, SIGTERM and SIGHUP only ask it to end, however often they come. Main thread only.

    Args:
        name: of the program.
        run: takes an event that is set once the program shall end, and returns the exit code.
        arguments: command line including the program's name; None: that of the process.

    Returns:
        the exit code; 1 if the program could not do what was asked, which one FATAL line says.
    """
    ending = threading.Event()
    for number in ENDING:
        signal.signal(number, lambda *_: ending.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        return run(ending)
    except REFUSALS as error:
        rclpy.logging.get_logger(name).fatal(refusal(error))
        return 1
    finally:
        rclpy.try_shutdown()


def declare_group(node: Node, group: type[G], nothing: Mapping[str, object]) -> G:
    """Declare the fields of a dataclass as parameters; return the group with their values.

    Args:
        node: whose parameters they are.
        group: with a default for each field; a tuple is a list of texts or whole numbers.
        nothing: for each field that is a tuple the element that stands for none, since an empty list has no type.
    """
    values: dict[str, Any] = {}
    declared: Any = group
    for name, default in ((one.name, one.default) for one in fields(declared)):
        if name in nothing:
            # An empty list on the command line arrives as no value at all.
            given = node.declare_parameter(name, [nothing[name]]).value or ()
            values[name] = tuple(one for one in given if one != nothing[name])
        else:
            values[name] = node.declare_parameter(name, default).value
    return group(**values)


def declare_live_group(node: Node, group: type[G], changed: Callable[[G], None]) -> G:
    """Declare the fields of a dataclass as parameters that may change while the node runs.

    Args:
        node: whose parameters they are.
        group: whose fields are declared with `configuration.parameter`; it raises SettingsError for values that
            contradict each other.
        changed: takes the values after every change.

    Returns:
        the group with the values that were given at the start.

    Raises:
        SettingsError: a value is refused.
    """
    specs = {spec.name: spec for spec in specs_of(group)}
    given = {name: given_at_start(node, spec) for name, spec in specs.items()}
    values: dict[str, Any] = {
        name: spec.default if given[name] is None else spec.read(given[name]) for name, spec in specs.items()
    }
    first = group(**values)
    for name, spec in specs.items():
        described = descriptor(spec, read_only=False)
        node.declare_parameter(name, _listed(values[name]), described, ignore_override=True)

    def group_with(changes: Sequence[Parameter]) -> G:
        values = {name: spec.read(node.get_parameter(name).value) for name, spec in specs.items()}
        values |= {one.name: specs[one.name].read(one.value) for one in changes if one.name in specs}
        return group(**values)

    def typed(one: Parameter) -> Parameter:
        # rclpy takes no whole number for a number.
        try:
            return (
                Parameter(one.name, value=_listed(specs[one.name].read(one.value)))
                if one.name in specs
                else one
            )
        except ActiveSamError:
            return one  # rclpy or `validate` refuses it

    def validate(changes: Sequence[Parameter]) -> SetParametersResult:
        try:
            group_with(changes)
        except Exception as error:  # a call can hold anything
            return SetParametersResult(successful=False, reason=describe(error))
        return SetParametersResult(successful=True)

    node.add_pre_set_parameters_callback(lambda changes: [typed(one) for one in changes])
    node.add_on_set_parameters_callback(validate)
    node.add_post_set_parameters_callback(lambda _: changed(group_with(())))
    return first


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def refusal(error: Exception) -> str:
    """Return what keeps a program from beginning as one sentence."""
    if isinstance(error, ActiveSamError | OSError):
        return reason(error)
    # It lists the arguments that it does not know and says nothing else; others end in places in its sources.
    if isinstance(error, rclpy_implementation.UnknownROSArgsError):
        return f"unknown arguments after --ros-args: {reason(error)}"
    text = re.sub(r",? at [^\s,]+:\d+(?=,|$)", "", reason(error))
    hints = {
        "of same type": "put words such as no or 7 into quotes",
        "Expected lexeme": "expected NAME:=VALUE",
    }
    return "; ".join([text, *(hint for said, hint in hints.items() if said in text)])


def wait_for_any(*events: threading.Event) -> None:
    """Wait until one of the events is set."""
    while not any(event.is_set() for event in events):
        events[0].wait(_SLICE_SECONDS)


@contextmanager
def callbacks_of(node: Node, errors: ErrorLog | None = None) -> Iterator[threading.Event]:
    """Run the callbacks of a node in a thread of their own; at the end they are over, and the node is destroyed.

    A message or call that a callback cannot take is logged and dropped.

    Args:
        node: that ends with the program.
        errors: where what is dropped is counted; None: it is only logged.

    Yields:
        set if a callback raised ActiveSamError or OSError, which say that the program cannot go on. The error is raised
        at the end, unless the program has failed otherwise.
    """
    dropped = errors or ErrorLog(node.get_logger())
    executor = GuardedExecutor(dropped.fault, ends=(ActiveSamError, OSError))
    executor.add_node(node)
    answer_every_call(node, dropped.fault)
    leaving, failed = threading.Event(), threading.Event()
    raised: list[Exception] = []

    def spin() -> None:
        try:
            while not leaving.is_set():
                executor.spin_once(timeout_sec=0.1)
        except Exception as error:  # raised again below
            raised.append(error)
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
    if raised:
        raise raised[0]
