"""What labels in a recording follow from, kept in the custom data of its metadata."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activesam_ros.datasets.recordings import Recording

_KEY = "activesam_ros"


@dataclass(frozen=True)
class LabelOrigin:
    """How recorded labels were made.

    Attributes:
        model: name, device and dtype.
        settings: of the segmenter, as of `SegmenterSettings`.
        played: from which recording the images were played to a node, which part, and by which command.
        notes: sentences that a reader of figures must not miss.
    """

    model: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    played: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def custom_data(self) -> dict[str, str]:
        """Return it as custom data of a recording's metadata, which `ros2 bag info` shows."""
        return {_KEY: json.dumps(asdict(self), ensure_ascii=False)}


def label_origin(recording: Recording) -> LabelOrigin:
    """Return what a recording says of its labels; what is not as expected there is left out."""
    try:
        said = json.loads(recording.custom_data[_KEY])
        model, settings, played = (dict(said[name]) for name in ("model", "settings", "played"))
        return LabelOrigin(model, settings, played, tuple(map(str, said["notes"])))
    except (KeyError, TypeError, ValueError):
        return LabelOrigin()
