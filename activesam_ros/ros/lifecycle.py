"""A lifecycle node whose transitions say what went wrong, and that can bring itself up.

For that (`autostart`) the node makes its transitions itself, since rclpy has no help in any distribution. One thing
differs between Jazzy (rclpy 7) and Kilted (rclpy 9) or Rolling: a transition that does not fit the state, such as
`activate` while unconfigured, is an RCLError in Jazzy, which as a service call would end the process, and an answer
from Kilted on.
"""

from __future__ import annotations

import threading
from enum import StrEnum
from typing import TYPE_CHECKING

from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from activesam_ros.errors import describe
from activesam_ros.ros.logs import PrintableLogger

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.impl.rcutils_logger import RcutilsLogger

_SLICE_SECONDS = 0.1
_TRANSITIONS = ("configure", "activate", "deactivate", "cleanup", "shutdown")


class Stage(StrEnum):
    """The primary states of a lifecycle node."""

    UNCONFIGURED = "unconfigured"
    INACTIVE = "inactive"
    ACTIVE = "active"
    FINALIZED = "finalized"


class TransitionFailed(Exception):
    """A transition cannot be made, and the node stays in its state; the text says why."""


class ManagedNode(LifecycleNode):
    """Subclasses implement the transitions; one that raises is logged, which rclpy itself does not do.

    `TransitionFailed` leaves the state as it was; anything else leads through error processing to unconfigured.

    Attributes:
        stage: the state after the last transition.
        transition_error: why the last transition failed; None if it did not.
    """

    def __init__(self, name: str, **node_options: object) -> None:
        super().__init__(name, **node_options)
        self.stage = Stage.UNCONFIGURED
        self.transition_error: str | None = None
        self.stopping = threading.Event()
        answer_unfit_transitions(self)

    def get_logger(self) -> RcutilsLogger:
        """Return the logger of the node's name; rclpy itself uses it too."""
        return PrintableLogger(super().get_logger().name)

    def configure(self) -> None:
        """Go from unconfigured to inactive."""

    def activate(self) -> None:
        """Go from inactive to active; lifecycle publishers publish already."""

    def deactivate(self) -> None:
        """Go from active to inactive; lifecycle publishers still publish."""

    def cleanup(self) -> None:
        """Go from inactive to unconfigured."""

    def release(self) -> None:
        """Let go of everything, from any state: at the shutdown, and after an error."""

    def meanwhile(self) -> None:
        """Do what cannot wait, about every tenth of a second while a transition waits and no callback runs."""

    def tell_error(self, sentence: str) -> None:
        """Log an error, such as why a transition failed."""
        self.get_logger().error(sentence)

    def bring_up(self) -> bool:
        """Configure and activate as far as that has not been done; return whether the node is active."""
        if self.stage is Stage.UNCONFIGURED:
            made(self.trigger_configure)
        if self.stage is Stage.INACTIVE:
            made(self.trigger_activate)
        return self.stage is Stage.ACTIVE

    def wait_until(self, done: Callable[[float], bool]) -> None:
        """Wait within a transition, in short slices.

        Args:
            done: waits at most the given number of seconds; returns whether to wait no longer.

        Raises:
            TransitionFailed: the process is being ended.
        """
        while not done(_SLICE_SECONDS):
            if self.stopping.is_set() or not self.context.ok():
                raise TransitionFailed("the node is being ended")
            self.meanwhile()

    # Called by rclpy.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run `configure`."""
        return self._transition("configure", self.configure, Stage.INACTIVE)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run `activate`."""
        super().on_activate(state)
        returned = self._transition("activate", self.activate, Stage.ACTIVE)
        if returned != TransitionCallbackReturn.SUCCESS:
            super().on_deactivate(state)
        return returned

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run `deactivate`."""
        returned = self._transition("deactivate", self.deactivate, Stage.INACTIVE)
        super().on_deactivate(state)
        return returned

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run `cleanup`."""
        return self._transition("clean up", self.cleanup, Stage.UNCONFIGURED)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run `release`."""
        returned = self._transition("shut down", self.release, Stage.FINALIZED)
        super().on_deactivate(state)
        return returned

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run `release` after an error."""
        error = self.transition_error
        super().on_deactivate(state)
        returned = self._transition("recover from an error", self.release, Stage.UNCONFIGURED)
        if returned != TransitionCallbackReturn.SUCCESS:
            self.stage = Stage.FINALIZED
            return TransitionCallbackReturn.FAILURE
        self.transition_error = error
        self.get_logger().warning(
            "the node is unconfigured after that error; configure and activate it again"
        )
        return returned

    def _transition(self, name: str, run: Callable[[], None], stage: Stage) -> TransitionCallbackReturn:
        try:
            run()
        except TransitionFailed as error:
            self.transition_error = f"could not {name}: {error}"
            self._log(self.transition_error)
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would swallow it
            self.transition_error = f"could not {name}: {describe(error)}"
            self._log(self.transition_error)
            return TransitionCallbackReturn.ERROR
        self.stage = stage
        self.transition_error = None
        self.get_logger().info(f"the node is {stage}")
        return TransitionCallbackReturn.SUCCESS

    def _log(self, sentence: str) -> None:
        if self.stopping.is_set():
            self.get_logger().info(sentence)
        else:
            self.tell_error(sentence)


def made(trigger: Callable[[], TransitionCallbackReturn]) -> bool:
    """Make a transition, such as by `node.trigger_configure`; return whether it was made."""
    try:
        return trigger() == TransitionCallbackReturn.SUCCESS
    except rclpy_implementation.RCLError:  # Jazzy
        return False


def answer_unfit_transitions(node: LifecycleNode) -> None:
    """Have calls of `~/change_state` for a transition that does not fit the state answered with "no success"."""
    for service in node.services:
        if service.srv_type is ChangeState:
            service.callback = _answering(node, service.callback)


def _answering(
    node: LifecycleNode, change: Callable[[ChangeState.Request, ChangeState.Response], ChangeState.Response]
) -> Callable[[ChangeState.Request, ChangeState.Response], ChangeState.Response]:
    def answer(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        label = request.transition.label
        if label and label not in _TRANSITIONS:  # rcl would print it as it is
            node.get_logger().error(
                f"there is no transition {label!r}; expected one of {', '.join(_TRANSITIONS)}"
            )
            response.success = False
            return response
        try:
            return change(request, response)
        except rclpy_implementation.RCLError:  # Jazzy
            wanted = request.transition.label or request.transition.id
            node.get_logger().error(f"the transition {wanted} does not fit the state that the node is in")
            response.success = False
            return response

    return answer
