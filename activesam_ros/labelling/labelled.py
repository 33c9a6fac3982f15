"""The labels of a complete job, image after image, for what is made of them."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from activesam_ros.instances import MAX_INSTANCES
from activesam_ros.labelling.job import vocabulary_of
from activesam_ros.stages.association import Association, IdCounter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activesam_ros.labelling.parts import LabelledFrame, PartFile
    from activesam_ros.labelling.work import WorkFolder
    from activesam_ros.vocabulary import Vocabulary


@dataclass
class LabelledImages:
    """All images of a job.

    Attributes:
        job: what was asked for, see `describe_job`.
        work: folder with a part of every image.
        counts: how many images each source has.
        beyond_images: of the instances that `parts` has returned so far, those whose ids no id image can hold.
    """

    job: dict[str, Any]
    work: WorkFolder
    counts: tuple[int, ...]
    beyond_images: int = 0

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
        """Return each image that was labelled, of one source or of all, in order; each is open until the next.

        Instances have the ids that they keep on their stream, as the node gives them.
        """
        # Of one data set all ids differ; those of a recording begin at 1, as on the node.
        shared = IdCounter() if source is None else None
        for number, count in enumerate(self.counts):
            if source is not None and number != source:
                continue
            streams: defaultdict[str, Association] = defaultdict(lambda: Association(shared or IdCounter()))
            for position in range(count):
                with self.work.part(number, position) as part:
                    frame = part.frame
                    if frame.error is not None:
                        continue
                    if self.job["instances"] and self.is_stream(number):
                        frame = self._identified(frame, part, streams[frame.stream])
                    yield frame, part

    def is_stream(self, source: int) -> bool:
        """Tell whether the images of a source follow each other, so that things keep their ids."""
        # The images of a folder are no stream, unless they are asked to be labelled as one.
        return (
            self.job["sources"][source]["kind"] == "recording" or self.job["settings"]["preview_period"] > 1
        )

    def _identified(self, frame: LabelledFrame, part: PartFile, association: Association) -> LabelledFrame:
        classes = zip(self.vocabulary.class_ids, self.vocabulary.names, strict=True)
        frames = self.job["settings"]["occlusion_frames"]
        known = association.identify(part.instances(frame), classes, frames, frame.stamp)
        self.beyond_images += sum(one.id > MAX_INSTANCES for one in known)
        instances = (replace(one, id=same.id) for one, same in zip(frame.instances, known, strict=True))
        return replace(frame, instances=tuple(instances))

    def uncertain(self) -> list[LabelledFrame]:
        """Return the images to review: those with the lowest confidence, the lowest first."""
        labelled = (frame for frame in self.frames() if frame.error is None)
        return heapq.nsmallest(
            self.job["review"], labelled, key=lambda frame: (frame.confidence, frame.source, frame.position)
        )
