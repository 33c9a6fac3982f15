"""The node's own counts, read from the lines that it logs when it stops."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activesam_ros.errors import ActiveSamError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from activesam_ros.benchmarks.node.ledger import Traffic

_LINE = re.compile(
    r"(?:(?P<camera>\w+): )?frames: (?P<received>\d+) in = (?P<answered>\d+) out \+ (?P<dropped>\d+) dropped "
    r"\+ (?P<pending>\d+) pending(?:; dropped: (?P<reasons>[^;]+))?(?:; median ms: (?P<stages>[^;]+))?"
)


@dataclass(frozen=True)
class NodeCounts:
    """Where the frames of one camera went, as the node says.

    Attributes:
        received, answered, pending: frames.
        dropped: frames by reason.
        total_dropped: frames, as the node adds them up.
        stages: median seconds per stage.
    """

    received: int
    answered: int
    pending: int
    dropped: Mapping[str, int]
    total_dropped: int
    stages: Mapping[str, float]

    @property
    def unaccounted(self) -> int:
        """Frames by which the counts fail to add up, in all and by reason; 0 if they do."""
        left = self.received - self.answered - self.total_dropped - self.pending
        return abs(left) + abs(self.total_dropped - sum(self.dropped.values()))


def read_counts(lines: Iterable[str]) -> dict[str, NodeCounts]:
    """The counts by camera; the only camera has the name "".

    Args:
        lines: what the node logs of each camera when it stops, after "stopped; ".

    Raises:
        ActiveSamError: a line is no such line.
    """
    return dict(map(_counts, lines))


def unexplained(traffic: Traffic, counts: NodeCounts) -> int:
    """Frames of a reliable camera that are missing somewhere between sending and labels, or that are one too many.

    Sums what was not received, what the node cannot account for, what it dropped or kept pending though it should have
    answered, and labels that did not arrive or that nobody asked for.
    """
    refused = counts.dropped.get("bad image", 0)
    return sum(
        [
            abs(traffic.sent - counts.received),
            counts.unaccounted,
            abs(refused - traffic.bad),
            counts.total_dropped - refused,
            counts.pending,
            abs(counts.answered - traffic.labelled),
            traffic.strange,
        ]
    )


def _counts(line: str) -> tuple[str, NodeCounts]:
    found = _LINE.match(line)
    if not found:
        raise ActiveSamError(
            f"the node's last words {line!r} are no counts of frames; expected 'frames: N in = …'"
        )
    dropped = {}
    for entry in (found["reasons"] or "").split(", "):
        if entry:
            reason, number = entry.rsplit(" ", 1)
            dropped[reason] = int(number)
    stages = {}
    for entry in (found["stages"] or "").split(", "):
        if entry:
            stage, milliseconds = entry.rsplit(" ", 1)
            stages[stage] = float(milliseconds) / 1000
    return found["camera"] or "", NodeCounts(
        received=int(found["received"]),
        answered=int(found["answered"]),
        pending=int(found["pending"]),
        dropped=dropped,
        total_dropped=int(found["dropped"]),
        stages=stages,
    )
