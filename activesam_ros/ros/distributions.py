"""What differs between the ROS 2 distributions that are served: Jazzy (rclpy 7), Kilted (rclpy 9) and Rolling.

It is little. Callbacks after parameters were set, events of endpoints and overrides of quality of service are the
same in all of them, and to bring itself up (`autostart`) the node makes its transitions itself, for which rclpy has
no help in any. But a transition that does not fit the state, such as `activate` while unconfigured, is an RCLError in
Jazzy, which as a service call would end the process, and an answer from Kilted on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

if TYPE_CHECKING:
    from collections.abc import Callable


def made(trigger: Callable[[], TransitionCallbackReturn]) -> bool:
    """Make a transition, such as by `node.trigger_configure`; whether it was made, also if it did not fit the state."""
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
        try:
            return change(request, response)
        except rclpy_implementation.RCLError:  # Jazzy
            wanted = request.transition.label or request.transition.id
            node.get_logger().error(f"the transition {wanted} does not fit the state that the node is in")
            response.success = False
            return response

    return answer
