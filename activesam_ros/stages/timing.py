"""Time per stage of an image."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class StageTimer:
    """Measures seconds per stage; a nested stage counts for itself only.

    On CUDA it synchronizes with the device whenever a stage begins or ends, so that queued work counts for the stage
    that queued it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds: dict[str, float] = {}
        self._stack: list[str] = []
        self._begin = self._since = self._now()

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

    def seconds(self, images: int = 1) -> dict[str, float]:
        """Return the seconds of each stage so far, and "total" since construction, each divided by `images`."""
        spent = {**self._seconds, "total": self._now() - self._begin}
        return {stage: seconds / images for stage, seconds in spent.items()}

    def _charge(self) -> None:
        now = self._now()
        if self._stack:
            stage = self._stack[-1]
            self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._since
        self._since = now

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def add_timings(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """Return the sums of the seconds per stage, "total" last."""
    stages = sorted({**first, **second}, key=lambda stage: stage == "total")
    return {stage: first.get(stage, 0.0) + second.get(stage, 0.0) for stage in stages}
