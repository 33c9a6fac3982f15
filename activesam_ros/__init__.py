"""Open-vocabulary semantic segmentation of camera images, as a library and as a ROS 2 node.

>>> from activesam_ros import ActiveSegmenter
>>> model = ActiveSegmenter.from_pretrained("facebook/sam3", device="cuda")
>>> model.set_vocabulary(["road", "car, automobile", "sky"])
>>> model("street.jpg").plot().save("overlay.png")

The names below are imported when they are first used, so that importing the package loads neither torch nor rclpy.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import extend_path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activesam_ros.errors import (
        ActiveSamError,
        ImageError,
        ModelError,
        OutOfMemoryError,
        SettingsError,
        VocabularyError,
    )
    from activesam_ros.instances import Instance
    from activesam_ros.results import ActiveClass, PreviewResult, SegmentationResult
    from activesam_ros.segmenter import ActiveSegmenter, Stream
    from activesam_ros.settings import PROFILES, SegmenterSettings
    from activesam_ros.vocabulary import Vocabulary

# The generated messages (`activesam_ros.msg`) are built into another folder of the same package name.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"

__all__ = [
    "PROFILES",
    "ActiveClass",
    "ActiveSamError",
    "ActiveSegmenter",
    "ImageError",
    "Instance",
    "ModelError",
    "OutOfMemoryError",
    "PreviewResult",
    "SegmentationResult",
    "SegmenterSettings",
    "SettingsError",
    "Stream",
    "Vocabulary",
    "VocabularyError",
]

_MODULES = {
    "ActiveSegmenter": "segmenter",
    "Stream": "segmenter",
    "SegmentationResult": "results",
    "PreviewResult": "results",
    "ActiveClass": "results",
    "Instance": "instances",
    "SegmenterSettings": "settings",
    "PROFILES": "settings",
    "Vocabulary": "vocabulary",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
