"""Regions of an image: single things, and for the rest of each class one region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from activesam_ros.instances import MAX_INSTANCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activesam_ros.labelling.parts import FoundInstance, LabelledFrame, PartFile


@dataclass(frozen=True, eq=False)
class Segment:
    """A region.

    Attributes:
        class_id: of its class.
        mask: bool [H, W]; no pixel belongs to two regions.
        instance: which it is; None: what is left of a class.
    """

    class_id: int
    mask: np.ndarray
    instance: FoundInstance | None = None


def segments(frame: LabelledFrame, part: PartFile, job: dict[str, Any]) -> Iterator[Segment]:
    """Return the instances of a frame by number, then what is left of each class, by class id.

    Without instances, and of the classes that the job has as stuff, a class is one region.
    """
    labels = part.labels
    left = np.ones(labels.shape, bool)
    if job["instances"]:
        names = {one["class_id"]: one["name"] for one in job["vocabulary"]}
        numbers = part.instance_numbers
        for one in frame.instances:
            if names[one.class_id] not in job["stuff"]:
                mask = numbers == one.number
                if mask.any():  # others may have taken all of its pixels
                    left &= ~mask
                    yield Segment(one.class_id, mask, one)
    for class_id in np.flatnonzero(np.bincount(labels[left])).tolist():
        if class_id != job["unlabeled_id"]:
            yield Segment(class_id, (labels == class_id) & left)


def instance_ids(frame: LabelledFrame, part: PartFile) -> np.ndarray:
    """Return the id of the instance that each pixel belongs to, uint16 [H, W], 0 for none and above 65535."""
    ids = np.zeros(len(frame.instances) + 1, np.uint16)
    for one in frame.instances:
        ids[one.number] = one.id if one.id <= MAX_INSTANCES else 0
    return ids[part.instance_numbers]
