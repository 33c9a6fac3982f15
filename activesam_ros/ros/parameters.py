"""The node's parameters: what the node itself is set up with; the others are declared in `configuration`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from activesam_ros.configuration.configuration import (
    SPECS,
    ModelChoice,
    ParameterSpec,
    Value,
    parameter,
    specs_of,
)
from activesam_ros.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CAMERA_NAME = re.compile(r"[A-Za-z_](?!.*__)[A-Za-z0-9_]*")


class Takes(Enum):
    """When a new value of a parameter takes effect."""

    PREPARED = "between two frames, once it is loaded"
    AT_ONCE = "at once"
    INACTIVE = "at the next activation; refused while the node is active"
    NEVER = "never: it is given at the start"


@dataclass(frozen=True)
class Setup:
    """What the node is built with; each field is a parameter."""

    autostart: bool = parameter(
        True, "Whether the node configures and activates itself; otherwise a lifecycle manager does."
    )
    cameras: tuple[str, ...] = parameter(
        (),
        "Names of the cameras: NAME/image is subscribed, ~/NAME/labels published. Empty: one camera, "
        "image and ~/labels.",
    )
    image_transport: str = parameter(
        "raw",
        "raw (sensor_msgs/Image), or compressed (sensor_msgs/CompressedImage on the image topic + /compressed).",
        choices=("raw", "compressed"),
    )
    queue: str = parameter(
        "newest",
        "newest: the newest frame of each camera is labelled, older ones in the queue are dropped; all: every "
        "frame is labelled, in order, for replay, and the images are subscribed reliably.",
        choices=("newest", "all"),
    )
    queue_size: int = parameter(
        20,
        "Maximum number of queued frames per camera with queue all; further frames are dropped and reported as "
        "errors.",
        limits=(1, 10_000),
    )
    allowed_folders: tuple[str, ...] = parameter(
        (),
        "Folders below which model, vocabulary_file and prompt_cache may name files while the node runs, beside "
        "presets and hub ids. Empty: the package's config folder, and the folders of the files given at the start.",
    )


@dataclass(frozen=True)
class Policy:
    """Which frames are taken, and when the node warns, in seconds and Hz; each field is a parameter."""

    max_age: float = parameter(
        0.0,
        "Frames older than this when their turn comes, in seconds by their stamp, are dropped; 0: no limit.",
        limits=(0.0, 3600.0),
    )
    max_rate: float = parameter(
        0.0,
        "Maximum number of frames per second and camera; further frames are dropped on arrival; 0: no limit.",
        limits=(0.0, 1000.0),
    )
    image_timeout: float = parameter(
        5.0,
        "After this many seconds without an image, while results have subscribers, the node warns and says why.",
        limits=(0.1, 3600.0),
    )
    worker_timeout: float = parameter(
        30.0,
        "A batch of frames or a call in work for longer than this, in seconds, counts as hanging: an error in the "
        "diagnostics, and the heartbeat stops.",
        limits=(0.1, 3600.0),
    )


_GROUPS: tuple[tuple[Takes, tuple[ParameterSpec, ...]], ...] = (
    (Takes.NEVER, specs_of(Setup)),
    (Takes.INACTIVE, specs_of(ModelChoice)),
    (Takes.AT_ONCE, specs_of(Policy)),
    (Takes.PREPARED, SPECS),
)

PARAMETERS: tuple[ParameterSpec, ...] = tuple(spec for _, specs in _GROUPS for spec in specs)

TAKES: Mapping[str, Takes] = {spec.name: takes for takes, specs in _GROUPS for spec in specs}
"""When a new value takes effect, by the name of the parameter."""

DEFAULTS: Mapping[str, Value] = {spec.name: spec.default for spec in PARAMETERS}

_SPECS = {spec.name: spec for spec in PARAMETERS}


def read(name: str, value: Any) -> Any:
    """Return the value of a parameter as rclpy gives it, in the type of its default.

    Raises:
        ActiveSamError: wrong type, none of the choices or out of range (SettingsError, VocabularyError).
    """
    return _camera_names(value) if name == "cameras" else _SPECS[name].read(value)


def _camera_names(value: Any) -> tuple[str, ...]:
    # An empty list on the command line arrives as no value at all, in a service call as bytes.
    names = () if value is None else value
    if isinstance(names, (str, bool, int, float)) or not all(isinstance(name, str) for name in names):
        raise SettingsError(f"cameras is {value!r}; expected a list of names such as [front, rear]")
    for name in names:
        if not _CAMERA_NAME.fullmatch(name):
            raise SettingsError(
                f"cameras holds {name!r}; expected letters, digits and underscores, not beginning with a digit, "
                "since the name becomes part of topics"
            )
    doubled = [name for name in names if list(names).count(name) > 1]
    if doubled:
        raise SettingsError(f"cameras holds {doubled[0]!r} twice; every camera needs a name of its own")
    return tuple(names)
