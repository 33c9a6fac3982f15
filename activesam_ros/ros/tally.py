"""Latency per stage and the line that reports it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from statistics import median

from activesam_ros.ros.frame_slot import FrameCounts


class Tally:
    """Collects the durations of answered frames; `report` and `summary` put them into one line."""

    def __init__(self, keep: int = 2000) -> None:
        """`keep`: the summary's medians are over the last so many frames."""
        self._lock = threading.Lock()
        self._since_report: list[Mapping[str, float]] = []
        self._kept: deque[Mapping[str, float]] = deque(maxlen=keep)
        self._active: tuple[int, int] | None = None

    def add(self, stages: Mapping[str, float], active: int, classes: int) -> None:
        """One answered frame: seconds per stage, among them "latency" (arrival to published)."""
        with self._lock:
            self._since_report.append(stages)
            self._kept.append(stages)
            self._active = (active, classes)

    def report(self, counts: FrameCounts) -> str:
        """Counts since the start, medians since the last report."""
        with self._lock:
            stages, self._since_report = self._since_report, []
            return _line(counts, stages, self._active)

    def summary(self, counts: FrameCounts) -> str:
        """Counts and medians since the start."""
        with self._lock:
            return _line(counts, list(self._kept), self._active)


def format_stages(stages: Mapping[str, float]) -> str:
    """`{"decode": 0.0123}` becomes `decode 12.3`: milliseconds."""
    return ", ".join(f"{name} {1000 * seconds:.1f}" for name, seconds in stages.items())


def _line(counts: FrameCounts, frames: list[Mapping[str, float]], active: tuple[int, int] | None) -> str:
    pending = counts.waiting + counts.in_work
    parts = [
        f"frames: {counts.received} in = {counts.answered} out + {counts.superseded} superseded "
        f"+ {counts.failed} failed + {pending} pending"
    ]
    if counts.by_reason:
        parts.append("failed: " + ", ".join(f"{reason} {number}" for reason, number in counts.by_reason))
    if frames:
        names = list(dict.fromkeys(name for stages in frames for name in stages))
        medians = {name: median(stages[name] for stages in frames if name in stages) for name in names}
        parts.append(f"median ms: {format_stages(medians)}")
    if active:
        parts.append(f"active classes: {active[0]} of {active[1]}")
    return "; ".join(parts)
