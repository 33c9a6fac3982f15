"""What became of the frames of the last seconds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activesam_ros.ros.inbox import Drop, FrameCounts


@dataclass(frozen=True)
class Recent:
    """Frames of a span of time.

    Attributes:
        seconds: its length; 0 before the second look.
        received, answered: so many frames.
        dropped: so many for which reason, without zeros.
    """

    seconds: float = 0.0
    received: int = 0
    answered: int = 0
    dropped: dict[Drop, int] = field(default_factory=dict)

    def lost(self, *reasons: Drop) -> int:
        """How many frames were dropped for these reasons."""
        return sum(self.dropped.get(reason, 0) for reason in reasons)

    def rate(self, number: int) -> float:
        """So many frames a second."""
        return number / self.seconds if self.seconds else 0.0


class RecentCounts:
    """Turns counts since the start into those of the last seconds, by looking now and then."""

    def __init__(self, span: float = 10.0) -> None:
        """`span`: seconds; the oldest look that is compared with is at most so old."""
        self._span = span
        self._looks: deque[tuple[float, FrameCounts]] = deque()

    def look(self, now: float, counts: FrameCounts) -> Recent:
        """What happened since the oldest look of the span.

        Args:
            now: seconds of a clock that never jumps.
            counts: of one camera, since the start.
        """
        while self._looks and now - self._looks[0][0] > self._span:
            self._looks.popleft()
        self._looks.append((now, counts))
        then, before = self._looks[0]
        earlier = dict(before.dropped)
        return Recent(
            seconds=now - then,
            received=counts.received - before.received,
            answered=counts.answered - before.answered,
            dropped={
                reason: number - earlier.get(reason, 0)
                for reason, number in counts.dropped
                if number > earlier.get(reason, 0)
            },
        )
