"""Regions of an image: single things, and for the rest of each class one region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activesam_ros.labelling.parts import LabelledFrame, PartFile


@dataclass(frozen=True, eq=False)
class Segment:
    """A region.

    Attributes:
        class_id: of its class.
        mask: bool [H, W]; no pixel belongs to two regions.
        score: of the instance, in [0, 1]; None if it is no instance.
    """

    class_id: int
    mask: np.ndarray
    score: float | None = None


def segments(frame: LabelledFrame, part: PartFile, job: dict[str, Any]) -> Iterator[Segment]:
    """Return the instances of a frame by id, then what is left of each class, by class id.

    Without instances, and of the classes that the job has as stuff, a class is one region.
    """
    labels = part.labels
    left = np.ones(labels.shape, bool)
    if job["instances"]:
        names = {one["class_id"]: one["name"] for one in job["vocabulary"]}
        ids = part.instance_ids
        for one in frame.instances:
            if names[one.class_id] not in job["stuff"]:
                mask = ids == one.id
                if mask.any():  # others may have taken all of its pixels
                    left &= ~mask
                    yield Segment(one.class_id, mask, one.score)
    for class_id in np.unique(labels[left]).tolist():
        if class_id != job["unlabeled_id"]:
            yield Segment(class_id, (labels == class_id) & left)
