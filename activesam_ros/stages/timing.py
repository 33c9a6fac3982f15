"""Time per stage of an image."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TypeAlias

    _Mark: TypeAlias = float | torch.cuda.Event


class StageTimer:
    """Measures seconds per stage; a nested stage counts for itself only.

    On CUDA, events on the device bound the stages, and the host waits for them only when the seconds are asked for.
    """

    def __init__(self, device: torch.device) -> None:
        """Begin to measure."""
        self._device = device
        self._spans: list[tuple[str, _Mark, _Mark]] = []
        self._stack: list[str] = []
        self._begin = self._since = self._now()
        self._end: _Mark | None = None

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the time of the body for `stage`."""
        self._charge()
        self._stack.append(stage)
        try:
            # Traces of torch's profiler have the stage, too.
            with torch.profiler.record_function(stage):
                yield
        finally:
            self._charge()
            self._stack.pop()

    def stop(self) -> None:
        """End the measurement."""
        self._end = self._now()

    def seconds(self, images: int = 1) -> dict[str, float]:
        """Return the seconds of each stage, and "total" until `stop` or now, each divided by `images`."""
        end = self._now() if self._end is None else self._end
        if isinstance(end, torch.cuda.Event):
            end.synchronize()
        spent: dict[str, float] = {}
        for stage, begin, until in self._spans:
            spent[stage] = spent.get(stage, 0.0) + _between(begin, until)
        spent["total"] = _between(self._begin, end)
        return {stage: seconds / images for stage, seconds in spent.items()}

    def _charge(self) -> None:
        now = self._now()
        if self._stack:
            self._spans.append((self._stack[-1], self._since, now))
        self._since = now

    def _now(self) -> _Mark:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event


def _between(begin: _Mark, end: _Mark) -> float:
    if isinstance(begin, float) and isinstance(end, float):
        return end - begin
    assert isinstance(begin, torch.cuda.Event) and isinstance(end, torch.cuda.Event)
    return float(begin.elapsed_time(end)) / 1000


def add_timings(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """Return the sums of the seconds per stage, "total" last."""
    stages = sorted({**first, **second}, key=lambda stage: stage == "total")
    return {stage: first.get(stage, 0.0) + second.get(stage, 0.0) for stage in stages}
