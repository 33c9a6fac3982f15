"""The executor of all nodes: a callback that raises is reported, its caller is answered, and the others go on.

rclpy's own executor ends with whatever a callback raises, those of rclpy included: a parameter of a type that does not
exist or a `/clock` before zero would end the node.
"""

from __future__ import annotations

import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor, await_or_execute

from activesam_ros.errors import describe
from activesam_ros.ros.segment_service import Outcome
from activesam_ros.srv import Segment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from rclpy.context import Context
    from rclpy.node import Node
    from rclpy.service import Service

_PAUSE_SECONDS = 0.1
# As many failures beside the callbacks, one after the other, are no accident.
_HOPELESS = 50


class GuardedExecutor(SingleThreadedExecutor):
    """Runs callbacks until it is shut down, whatever they raise."""

    def __init__(
        self,
        failed: Callable[[str], None],
        ends: tuple[type[Exception], ...] = (),
        context: Context | None = None,
    ) -> None:
        """Create an executor without nodes.

        Args:
            failed: takes one sentence about a callback that raised; in the thread that spins.
            ends: what a callback raises to end the program; `spin_once` raises it.
            context: of its nodes; None: the default one.
        """
        super().__init__(context=context)
        self._failed = failed
        self._ends = (ExternalShutdownException, *ends)
        self._in_a_row = 0

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for one callback and run it.

        Raises:
            Exception: one of `ends`; or waiting failed, again and again.
        """
        try:
            super().spin_once(timeout_sec)
        except self._ends:
            raise
        except Exception as error:
            # Not out of a subscription, service or timer, whose errors do not get here.
            self._in_a_row += 1
            if self._is_shutdown or self._in_a_row >= _HOPELESS:
                raise
            self._failed(f"a callback failed: {located(error)}")
            time.sleep(_PAUSE_SECONDS)
        else:
            self._in_a_row = 0

    def _make_handler(self, entity: Any, node: Node, take_from_wait_list: Callable[[Any], Any]) -> Any:
        # Here and not around the handler, which raising would leave marked as running for ever, with its whole group.
        def take(entity: Any) -> Callable[[], Coroutine[Any, Any, None]] | None:
            try:
                execute = take_from_wait_list(entity)
            except Exception as error:
                self._failed(f"{_title(entity)} could not be read and is dropped: {located(error)}")
                return None
            return None if execute is None else guarded(entity, execute)

        def guarded(entity: Any, execute: Callable[[], Awaitable[None]]) -> Callable[[], Any]:
            async def run() -> None:
                try:
                    await execute()
                except self._ends:
                    raise
                except Exception as error:
                    self._failed(f"{_title(entity)} failed and is dropped: {located(error)}")

            return run

        return super()._make_handler(entity, node, take)


def answer_every_call(node: Node, failed: Callable[[str], None]) -> None:
    """Have the services of a node answer also where they raise, since their clients would wait for ever.

    Args:
        node: with all its services.
        failed: takes one sentence about a call that raised.
    """
    for service in node.services:
        service.callback = _answering(service, service.callback, failed)


def _answering(service: Service, serve: Callable[..., Any], failed: Callable[[str], None]) -> Any:
    async def answer(request: Any, response: Any) -> Any:
        try:
            if not getattr(request, "type_hash", "").isprintable():
                raise ValueError("a type hash is letters and digits")  # rcl would print it as it is
            return await await_or_execute(serve, request, response)
        except Exception as error:
            failed(f"{_title(service)} failed: {located(error)}")
            return _refused(request, response, f"the call failed: {describe(error)}")

    return answer


def _refused(request: Any, response: Any, reason: str) -> Any:
    """Return the answer to a call that raised: nothing, or where there is room the reason."""
    refused = type(response)()
    result = SetParametersResult(successful=False, reason=reason)
    if isinstance(refused, Segment.Response):
        refused.outcome, refused.message = int(Outcome.FAILED), reason
    elif hasattr(refused, "results"):  # those before the one that raised are as they are
        refused.results = [*response.results, *[result] * (len(request.parameters) - len(response.results))]
    elif hasattr(refused, "result") and isinstance(refused.result, SetParametersResult):
        refused.result = result
    return refused


def _title(entity: Any) -> str:
    if hasattr(entity, "srv_name"):
        return f"a call of {entity.srv_name}"
    return f"a message on {entity.topic_name}" if hasattr(entity, "topic_name") else "a callback"


def located(error: Exception) -> str:
    """Return an exception as one line, with the place where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{describe(error)}{place}"
