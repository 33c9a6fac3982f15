"""Once a second, how the node's parts are, on `/diagnostics`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

PERIOD_SECONDS = 1.0


class Level(IntEnum):
    """The levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class Status:
    """How one part of the node is.

    Attributes:
        name: of the part, one word.
        level: see `Level`.
        message: one sentence.
        values: further facts by name.
    """

    name: str
    level: Level
    message: str
    values: Mapping[str, object] = field(default_factory=dict)


class Diagnostics:
    """Publishes what its sources say; each becomes the status `NODE: NAME`."""

    def __init__(self, node: Node, sources: Sequence[Callable[[], Status]]) -> None:
        """`sources` are called in the executor's thread and must not wait."""
        self._node = node
        self._sources = tuple(sources)
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # A steady clock: how the node is also matters while simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(PERIOD_SECONDS, self.publish, clock=steady)

    def publish(self) -> None:
        """Ask every source and publish one message."""
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        owner = self._node.get_fully_qualified_name().lstrip("/")
        message.status = [status_message(source(), owner) for source in self._sources]
        self._publisher.publish(message)


def status_message(status: Status, owner: str) -> DiagnosticStatus:
    """`status` of a part of the node `owner`; True and False become yes and no, floats get two digits."""
    return DiagnosticStatus(
        level=bytes([status.level]),
        name=f"{owner}: {status.name}",
        message=status.message,
        hardware_id=owner,
        values=[KeyValue(key=key, value=_text(value)) for key, value in status.values.items()],
    )


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
