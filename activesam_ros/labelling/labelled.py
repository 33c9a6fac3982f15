"""The labels of a complete job, image after image, for what is made of them."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from activesam_ros.labelling.job import vocabulary_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activesam_ros.labelling.parts import LabelledFrame, PartFile
    from activesam_ros.labelling.work import WorkFolder
    from activesam_ros.vocabulary import Vocabulary


@dataclass(frozen=True)
class LabelledImages:
    """All images of a job.

    Attributes:
        job: what was asked for, see `describe_job`.
        work: folder with a part of every image.
        counts: how many images each source has.
    """

    job: dict[str, Any]
    work: WorkFolder
    counts: tuple[int, ...]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the labels."""
        return vocabulary_of(self.job)

    def frames(self) -> Iterator[LabelledFrame]:
        """Return what is known of each image, also of those that could not be labelled, in order."""
        for source, count in enumerate(self.counts):
            for position in range(count):
                with self.work.part(source, position) as part:
                    yield part.frame

    def parts(self, source: int | None = None) -> Iterator[tuple[LabelledFrame, PartFile]]:
        """Return each image that was labelled, of one source or of all, in order; each is open until the next."""
        for number, count in enumerate(self.counts):
            if source is not None and number != source:
                continue
            for position in range(count):
                with self.work.part(number, position) as part:
                    frame = part.frame
                    if frame.error is None:
                        yield frame, part

    def uncertain(self) -> list[LabelledFrame]:
        """Return the images to review: those with the lowest confidence, the lowest first."""
        labelled = (frame for frame in self.frames() if frame.error is None)
        return heapq.nsmallest(
            self.job["review"], labelled, key=lambda frame: (frame.confidence, frame.source, frame.position)
        )
