"""What has to be there before a replay begins, in the words of somebody who waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from activesam_ros.errors import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Surroundings:
    """What a player sees of the others.

    Attributes:
        image_topic: that it publishes.
        labels_topic: that answers are expected on.
        labelling: names of the nodes that publish it.
        active: whether the node has said its words, which it does once it serves.
        subscribers: of the images: whether each subscribes reliably, by the node's name.
        matched: number of subscribers that the images will reach.
        listeners: names of further nodes that have to listen.
    """

    image_topic: str
    labels_topic: str
    labelling: Sequence[str]
    active: bool
    subscribers: Mapping[str, bool]
    matched: int
    listeners: Sequence[str] = ()


def missing(seen: Surroundings) -> str | None:
    """What a replay still has to wait for; None: it can begin.

    Raises:
        EvaluationError: waiting is no use, since images would get lost.
    """
    if not seen.labelling:
        return f"a node that publishes {seen.labels_topic}"
    if not seen.active:
        return f"{seen.labelling[0]} to be active, which takes until its model is loaded"
    for name in (*seen.labelling, *seen.listeners):
        if name not in seen.subscribers:
            return f"{name} to subscribe to {seen.image_topic}"
        if not seen.subscribers[name]:
            raise EvaluationError(
                f"{name} subscribes to {seen.image_topic} as best effort, so that images may get lost; it has to "
                "subscribe reliably, as the node does with the parameter queue: all"
            )
    if seen.matched < len(seen.subscribers):
        return f"the connection to the subscribers of {seen.image_topic}"
    return None
