"""How the node's parts are, on `/diagnostics`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rclpy.node import Node


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
    """Publishes statuses, each as `NODE: NAME`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def publish(self, statuses: Iterable[Status]) -> None:
        """Publish one message with all of them."""
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        owner = self._node.get_fully_qualified_name().lstrip("/")
        message.status = [status_message(status, owner) for status in statuses]
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
