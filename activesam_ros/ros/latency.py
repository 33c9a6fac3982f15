"""How long the frames of a camera take, stage by stage, and the line that reports it."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activesam_ros.ros.inbox import FrameCounts


@dataclass(frozen=True)
class Percentiles:
    """Half of the frames, and 95 % of them, took at most so many seconds."""

    p50: float
    p95: float


class Latency:
    """Collects the durations of the answered frames of one camera; any thread may add and ask."""

    def __init__(
        self, keep: int = 2000, recent: int = 100, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Args:
        keep: the summary is over the last so many frames.
        recent: the percentiles are over the last so many.
        clock: seconds; it never jumps.
        """
        self._clock = clock
        self._recent = recent
        self._lock = threading.Lock()
        self._since_report: deque[Mapping[str, float]] = deque(maxlen=keep)
        self._kept: deque[Mapping[str, float]] = deque(maxlen=keep)
        self._active: tuple[int, int] | None = None
        self._answered: float | None = None

    def add(self, stages: Mapping[str, float], active: int, classes: int) -> None:
        """One answered frame.

        Args:
            stages: seconds per stage, among them "latency" (arrival to published).
            active: number of classes that were decoded, or chosen for it.
            classes: number of classes of the vocabulary.
        """
        with self._lock:
            self._since_report.append(stages)
            self._kept.append(stages)
            self._active = (active, classes)
            self._answered = self._clock()

    @property
    def active(self) -> tuple[int, int] | None:
        """Active classes and all classes of the frame that was answered last; None before the first."""
        with self._lock:
            return self._active

    @property
    def since_answer(self) -> float | None:
        """Seconds since a frame was answered; None before the first."""
        with self._lock:
            return None if self._answered is None else self._clock() - self._answered

    def percentiles(self) -> dict[str, Percentiles]:
        """Of every stage over the recent frames that had it, in the order of the stages."""
        with self._lock:
            frames = list(self._kept)[-self._recent :]
        return _percentiles(frames)

    def report(self, counts: FrameCounts) -> str:
        """Counts since the start, medians since the last report."""
        with self._lock:
            frames = list(self._since_report)
            self._since_report.clear()
            return _line(counts, frames, self._active)

    def summary(self, counts: FrameCounts) -> str:
        """Counts since the start, medians over the frames that were kept."""
        with self._lock:
            return _line(counts, list(self._kept), self._active)


def format_stages(stages: Mapping[str, float]) -> str:
    """`{"decode": 0.0123}` becomes `decode 12.3`: milliseconds."""
    return ", ".join(f"{name} {1000 * seconds:.1f}" for name, seconds in stages.items())


def _percentiles(frames: Sequence[Mapping[str, float]]) -> dict[str, Percentiles]:
    names = dict.fromkeys(name for stages in frames for name in stages)
    durations = {name: sorted(stages[name] for stages in frames if name in stages) for name in names}
    return {name: Percentiles(_at_most(0.5, some), _at_most(0.95, some)) for name, some in durations.items()}


def _at_most(share: float, ascending: Sequence[float]) -> float:
    """The least of the values that at least this share of them does not exceed."""
    return ascending[math.ceil(share * len(ascending)) - 1]


def _line(counts: FrameCounts, frames: Sequence[Mapping[str, float]], active: tuple[int, int] | None) -> str:
    parts = [
        f"frames: {counts.received} in = {counts.answered} out + {counts.total_dropped} dropped "
        f"+ {counts.waiting + counts.in_work} pending"
    ]
    if counts.dropped:
        parts.append("dropped: " + ", ".join(f"{reason} {number}" for reason, number in counts.dropped))
    if frames:
        medians = {name: one.p50 for name, one in _percentiles(frames).items()}
        parts.append(f"median ms: {format_stages(medians)}")
    if active:
        parts.append(f"active classes: {active[0]} of {active[1]}")
    return "; ".join(parts)
