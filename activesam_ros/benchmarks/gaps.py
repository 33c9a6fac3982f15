"""The gap between outputs while words are encoded beside the stream."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from activesam_ros.segmenter import ActiveSegmenter
    from activesam_ros.vocabulary import Vocabulary


@dataclass(frozen=True)
class Gaps:
    """Seconds between the ends of consecutive images.

    Attributes:
        median: while nothing is encoded.
        largest_quiet: largest of those.
        largest: largest while a word is encoded, or just after.
        encoding: median seconds from a word to its prompts.
        frames: images in all.
        edits: words that were encoded.
    """

    median: float
    largest_quiet: float
    largest: float
    encoding: float
    frames: int
    edits: int


def measure_gaps(
    segmenter: ActiveSegmenter, rgb: np.ndarray, edits: Sequence[Vocabulary], frames: int
) -> Gaps:
    """Segments one image over and over in one thread, while this one encodes and sets vocabularies.

    Args:
        segmenter: has a vocabulary.
        rgb: uint8 [H, W, 3].
        edits: vocabularies, each with words that are new.
        frames: images before the first and after each edit, at least 2.

    Raises:
        ActiveSamError: segmenting or encoding failed.
    """
    # The first image pays for memory and buffers that the later ones reuse.
    segmenter.segment(rgb)
    stream = _Stream(segmenter, rgb)
    stream.wait_for(frames)
    spans = []
    try:
        for vocabulary in edits:
            begin = time.perf_counter()
            prompts = segmenter.encode(vocabulary)
            spans.append((begin, time.perf_counter()))
            segmenter.use(prompts)
            stream.wait_for(frames)
    finally:
        ends = stream.stop()
    steps = list(zip(ends, ends[1:], strict=False))
    beside = [any(start < stop and begin < end for begin, stop in spans) for start, end in steps]
    during = [end - start for (start, end), edit in zip(steps, beside, strict=True) if edit]
    quiet = [end - start for (start, end), edit in zip(steps, beside, strict=True) if not edit]
    return Gaps(
        statistics.median(quiet),
        max(quiet),
        max(during),
        statistics.median(stop - begin for begin, stop in spans),
        len(ends),
        len(spans),
    )


class _Stream:
    """Segments in a thread of its own until it is stopped."""

    def __init__(self, segmenter: ActiveSegmenter, rgb: np.ndarray) -> None:
        self._segmenter = segmenter
        self._rgb = rgb
        self._ends = [time.perf_counter()]
        self._error: BaseException | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="stream")
        self._thread.start()

    def wait_for(self, frames: int) -> None:
        with self._changed:
            wanted = len(self._ends) + frames
            self._changed.wait_for(lambda: len(self._ends) >= wanted or self._error)

    def stop(self) -> list[float]:
        """The ends of all images; raises what went wrong with one."""
        with self._changed:
            self._stopping = True
        self._thread.join()
        if self._error:
            raise self._error
        return self._ends

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._segmenter.segment(self._rgb)
                with self._changed:
                    self._ends.append(time.perf_counter())
                    self._changed.notify_all()
        except BaseException as error:  # raised again by stop()
            with self._changed:
                self._error = error
                self._changed.notify_all()
