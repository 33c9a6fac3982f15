"""Where the time of an image goes."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class StageTimer:
    """Seconds spent per stage; a stage inside another counts for itself only.

    On CUDA the clock waits for the device whenever a stage begins or ends, so that work which is only queued does not
    count for the stage after it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds: dict[str, float] = {}
        self._stack: list[str] = []
        self._begin = self._since = self._now()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Counts the body for `stage`."""
        self._charge()
        self._stack.append(stage)
        try:
            yield
        finally:
            self._charge()
            self._stack.pop()

    def seconds(self, images: int = 1) -> dict[str, float]:
        """Seconds of each stage so far, and "total" since the beginning, each divided by the number of images."""
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


def added(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """The seconds per stage of two pieces of work together, "total" last."""
    stages = sorted({**first, **second}, key=lambda stage: stage == "total")
    return {stage: first.get(stage, 0.0) + second.get(stage, 0.0) for stage in stages}
