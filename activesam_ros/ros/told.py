"""What the node's messages tell, for who listens to it: the reverse of `messages`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activesam_ros.datasets.class_map import ClassMap
from activesam_ros.results import ActiveClass
from activesam_ros.vocabulary import Vocabulary, VocabularyClass

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time
    from vision_msgs.msg import LabelInfo

    from activesam_ros import msg
    from activesam_ros.msg import ActiveClasses


def nanoseconds(stamp: Time) -> int:
    """A stamp as one number."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def vocabulary_of(message: msg.Vocabulary) -> Vocabulary:
    """The vocabulary that a node has told, with its ids and colours."""
    classes = tuple(
        VocabularyClass(
            entry.class_id,
            entry.name,
            tuple(entry.prompts),
            (round(255 * entry.color.r), round(255 * entry.color.g), round(255 * entry.color.b)),
            tuple(entry.members),
        )
        for entry in message.classes
    )
    background = None if message.background_id < 0 else message.background_id
    return Vocabulary(classes, background, max((entry.class_id for entry in classes), default=-1) + 1)


def active_of(message: ActiveClasses) -> tuple[ActiveClass, ...]:
    """The decoded classes of an image, in vocabulary order; the message does not count their pixels."""
    return tuple(
        ActiveClass(entry.class_id, entry.name, entry.presence, None, None) for entry in message.classes
    )


def class_map_of(message: LabelInfo) -> ClassMap:
    """What the ids of label images mean."""
    return ClassMap({entry.class_id: entry.class_name for entry in message.class_map})
