"""How a player tells that all has been played, latched on its topic `~/ended`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

if TYPE_CHECKING:
    from collections.abc import Sequence

_IMAGES = "images"
_NOTE = "note"


@dataclass(frozen=True)
class ReplayEnd:
    """The end of a replay.

    Attributes:
        images: number of images that were sent.
        notes: sentences that a reader of figures must not miss, such as that the recording was cut off.
    """

    images: int
    notes: Sequence[str] = ()


def end_message(end: ReplayEnd) -> DiagnosticStatus:
    """The end as a status; a warning if there are notes."""
    values = [
        KeyValue(key=_IMAGES, value=str(end.images)),
        *(KeyValue(key=_NOTE, value=one) for one in end.notes),
    ]
    return DiagnosticStatus(
        level=DiagnosticStatus.WARN if end.notes else DiagnosticStatus.OK,
        name="replay",
        message=f"{end.images} images were played",
        values=values,
    )


def end_of(message: DiagnosticStatus) -> ReplayEnd:
    """The end that `end_message` made a status of."""
    images = next((int(one.value) for one in message.values if one.key == _IMAGES), 0)
    return ReplayEnd(images, tuple(one.value for one in message.values if one.key == _NOTE))
