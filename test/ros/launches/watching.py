"""What the launch tests look at: messages, services and parameters of what was launched."""

from __future__ import annotations

import time

import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node

# Long enough for a loaded machine; reached only by a failure.
PATIENCE = 90
AGAIN = 5


class Watcher:
    """A node beside those that were launched; `close` ends it."""

    def __init__(self) -> None:
        self._context = rclpy.Context()
        self._context.init()
        self._node = Node("watcher", context=self._context)
        self._executor = rclpy.executors.SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def message(self, kind: type, topic: str, wanted=lambda message: True, profile=10):
        """The first message that is wanted."""
        found = []
        subscription = self._node.create_subscription(
            kind, topic, lambda message: found.append(message) if wanted(message) else None, profile
        )
        self._until(lambda: found, f"no message on {topic}")
        self._node.destroy_subscription(subscription)
        return found[0]

    def require_active(self, node: str = "/activesam") -> None:
        """Wait until the lifecycle node is active."""
        deadline = time.monotonic() + PATIENCE
        while (
            self._call(GetState, f"{node}/get_state", GetState.Request()).current_state.id
            != State.PRIMARY_STATE_ACTIVE
        ):
            assert time.monotonic() < deadline, f"{node} did not become active"
            time.sleep(0.1)

    def set_words(self, words: list[str], node: str = "/activesam") -> None:
        """Set the vocabulary; the call has to succeed."""
        value = ParameterValue(type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=words)
        self._set(node, Parameter(name="vocabulary", value=value))

    def set_number(self, name: str, number: float, node: str = "/activesam") -> None:
        """Set a parameter; the call has to succeed."""
        value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=number)
        self._set(node, Parameter(name=name, value=value))

    def _set(self, node: str, parameter: Parameter) -> None:
        request = SetParameters.Request(parameters=[parameter])
        (result,) = self._call(SetParameters, f"{node}/set_parameters", request).results
        assert result.successful, result.reason

    def _call(self, kind: type, name: str, request):
        client = self._node.create_client(kind, name)
        self._until(client.service_is_ready, f"no service {name}")
        asked = [client.call_async(request)]

        def answered() -> bool:
            # The answer is lost if the other side has not found this client yet; what is asked may be asked again.
            if time.monotonic() - began > AGAIN * len(asked):
                asked.append(client.call_async(request))
            return any(one.done() for one in asked)

        began = time.monotonic()
        self._until(answered, f"no answer of {name}")
        self._node.destroy_client(client)
        return next(one.result() for one in asked if one.done())

    def _until(self, condition, otherwise: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, otherwise
            self._executor.spin_once(timeout_sec=0.1)
