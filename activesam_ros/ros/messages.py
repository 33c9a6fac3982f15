"""Results as messages."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from std_msgs.msg import ColorRGBA, Header
from vision_msgs.msg import LabelInfo, VisionClass

from activesam_ros import msg
from activesam_ros.msg import ActiveClass, ActiveClasses

if TYPE_CHECKING:
    from activesam_ros.results import ActiveClass as Active
    from activesam_ros.results import PreviewResult, SegmentationResult
    from activesam_ros.vocabulary import Vocabulary
    from activesam_ros.vocabulary.palette import Colour


def active_classes(result: SegmentationResult, revision: int, header: Header) -> ActiveClasses:
    """The classes that were decoded for an image, with the image's own header."""
    pixels = result.labels.size
    return ActiveClasses(
        header=header,
        vocabulary_revision=revision,
        vocabulary_size=len(result.vocabulary),
        stage=ActiveClasses.DECODED,
        classes=[_active_class(entry, entry.pixels / pixels) for entry in result.active],
    )


def previewed_classes(result: PreviewResult, revision: int, header: Header) -> ActiveClasses:
    """The classes that would be decoded for an image, with the image's own header; their area is not known."""
    return ActiveClasses(
        header=header,
        vocabulary_revision=revision,
        vocabulary_size=len(result.vocabulary),
        stage=ActiveClasses.PREVIEW,
        classes=[_active_class(entry, math.nan) for entry in result.active],
    )


def _active_class(entry: Active, area: float) -> ActiveClass:
    return ActiveClass(
        class_id=int(entry.class_id), name=entry.name, presence=float(entry.presence), area=float(area)
    )


def label_info(vocabulary: Vocabulary, threshold: float, header: Header) -> LabelInfo:
    """The names behind the ids.

    The header is that of the first image labelled with the vocabulary: labels with this stamp or a later one
    have these names, until the next LabelInfo.

    Args:
        vocabulary: the one in force.
        threshold: confidence threshold of the instances, 0 to 1.
        header: see above.
    """
    return LabelInfo(
        header=header,
        class_map=[
            VisionClass(class_id=entry.class_id, class_name=entry.name) for entry in vocabulary.classes
        ],
        threshold=float(threshold),
    )


def vocabulary_message(vocabulary: Vocabulary, revision: int, header: Header) -> msg.Vocabulary:
    """A vocabulary with all that belongs to its ids.

    Args:
        vocabulary: the one in force.
        revision: its number.
        header: that of the first image labelled with it.
    """
    background = vocabulary.background_id
    return msg.Vocabulary(
        header=header,
        revision=revision,
        unlabeled_id=vocabulary.unlabeled_id,
        background_id=-1 if background is None else background,
        classes=[
            msg.VocabularyClass(
                class_id=entry.class_id,
                name=entry.name,
                color=_colour(entry.colour),
                prompts=list(entry.prompts),
                members=list(entry.members),
            )
            for entry in vocabulary.classes
        ],
    )


def _colour(colour: Colour) -> ColorRGBA:
    red, green, blue = (part / 255 for part in colour)
    return ColorRGBA(r=red, g=green, b=blue, a=1.0)
