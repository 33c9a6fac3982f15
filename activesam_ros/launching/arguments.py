"""Launch arguments: their declaration, their values, and the parameters of the node that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import yaml

from activesam_ros.configuration.configuration import DEFAULT_VOCABULARY, first_configuration
from activesam_ros.configuration.parameter_files import NODE, nearest, read_sections
from activesam_ros.errors import SettingsError, reason
from activesam_ros.model.folder import local_folder
from activesam_ros.ros.parameters import DEFAULTS, read
from activesam_ros.settings import PROFILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

T = TypeVar("T")

_EXPECTED = {bool: "true or false", int: "a whole number", float: "a number", list: "a list"}


@dataclass(frozen=True)
class Argument:
    """One argument of a launch file.

    Attributes:
        name, description: what users see.
        default: as it would be written on the command line; None: it has to be given.
        choices: the texts that are allowed; empty: any.
        is_path: whether a ~ at its beginning is the home folder, which a shell leaves alone behind `name:=`.
    """

    name: str
    default: str | None
    description: str
    choices: tuple[str, ...] = ()
    is_path: bool = False


NODE_ARGUMENTS: tuple[Argument, ...] = (
    Argument(
        "model",
        "",
        "Model folder or hub id, or 'toytown' for the demo model; empty: that of params_file.",
        is_path=True,
    ),
    Argument(
        "vocabulary",
        "",
        "Classes as a YAML list: '[road, \"car, automobile\", sky]'; empty: that of params_file.",
    ),
    Argument(
        "vocabulary_file",
        "",
        "A preset's name or the path of a vocabulary, instead of vocabulary; empty: that of params_file.",
        is_path=True,
    ),
    Argument(
        "profile",
        "",
        "paper: every frame by itself; fast: likewise, for half the work; realtime: a stream, which reuses what is "
        "known from the frames before; empty: that of params_file.",
        choices=("", *PROFILES),
    ),
    Argument("device", "", "auto, cpu, cuda ...; empty: that of params_file."),
    Argument(
        "params_file",
        "",
        "YAML file of parameters (see config/activesam.yaml); empty: the node's defaults.",
        is_path=True,
    ),
)
"""What every launch file gives to the node `activesam`."""

CAMERA_ARGUMENTS: tuple[Argument, ...] = (
    Argument(
        "image_transport",
        "",
        "raw, or compressed (sensor_msgs/CompressedImage on the image topic + /compressed); empty: params_file's.",
        choices=("", "raw", "compressed"),
    ),
    Argument("max_rate", "", "Maximum number of labelled frames a second; empty: that of params_file."),
    Argument(
        "queue",
        "",
        "newest: the newest frame is labelled; all: every one, in order; empty: that of params_file.",
        choices=("", "newest", "all"),
    ),
    Argument(
        "autostart",
        "",
        "Whether the node configures and activates itself, or a lifecycle manager does; empty: that of params_file.",
        choices=("", "true", "false"),
    ),
)
"""What camera.launch.py gives to the node beside `NODE_ARGUMENTS`."""

LOG_LEVEL = Argument(
    "log_level", "info", "How much the node says.", choices=("debug", "info", "warn", "error", "fatal")
)
RVIZ = Argument(
    "rviz",
    "false",
    "Whether RViz is started beside it, with image, overlay, labels and legend (of the first camera), or with "
    "points:=true with points, overlay and legend.",
)
POINTS = Argument(
    "points",
    "false",
    "Whether labelled_points makes a labelled point cloud for every camera, on labelled_points/points.",
)
DEPTH = Argument(
    "depth",
    "",
    "With points:=true, topic of depth that is registered to the image; empty: that of the driver.",
)
STUDIO = Argument(
    "studio",
    "false",
    "Whether the studio is started beside it, a page in the browser on this machine that sets the node's parameters.",
)


def with_home(arguments: Iterable[Argument], given: Mapping[str, str]) -> dict[str, str]:
    """Return the values with ~ expanded where a path is expected."""
    paths = {one.name for one in arguments if one.is_path}
    return {
        name: str(Path(text).expanduser()) if name in paths and text.startswith("~/") else text
        for name, text in given.items()
    }


def require_file(argument: str, path: str) -> None:
    """Raise SettingsError if a parameter file is not there: `launch` would start the nodes on their defaults."""
    if path and not Path(path).is_file():
        raise SettingsError(f"{argument}:={path} is no file; expected the path of a YAML file of parameters")


def value(name: str, text: str, kind: type[T]) -> T:
    """Return an argument as a YAML value of a type: bool, int, float or list.

    Raises:
        SettingsError: it is no such value.
    """
    read = _yaml(name, text)
    if kind is float and type(read) is int:
        read = float(read)
    # bool is an int in Python but not in YAML.
    if type(read) is not kind:
        raise SettingsError(f"{name}:={text!r} is not what is expected: {_EXPECTED[kind]}")
    return read


def node_parameters(given: Mapping[str, str]) -> dict[str, object]:
    """Return the parameters that win over those of params_file.

    Args:
        given: values of `NODE_ARGUMENTS`, and perhaps `CAMERA_ARGUMENTS`; empty ones are left to params_file.

    Raises:
        SettingsError: vocabulary is not a list of texts, or another argument of another type.
    """
    plain = ("model", "vocabulary_file", "profile", "device")
    parameters: dict[str, object] = {name: given[name] for name in plain if given[name]}
    if given["vocabulary"]:
        parameters["vocabulary"] = _classes(given["vocabulary"])
    for name in ("image_transport", "queue"):
        if given.get(name):
            parameters[name] = given[name]
    if given.get("max_rate"):
        parameters["max_rate"] = value("max_rate", given["max_rate"], float)
    if given.get("autostart"):
        parameters["autostart"] = value("autostart", given["autostart"], bool)
    # The node takes a vocabulary or a file: the one given here also replaces the other of params_file, where a
    # vocabulary that equals the default counts as not given.
    if given["vocabulary"] and not given["vocabulary_file"]:
        parameters["vocabulary_file"] = ""
    elif given["vocabulary_file"] and not given["vocabulary"]:
        parameters["vocabulary"] = list(DEFAULT_VOCABULARY)
    return parameters


def names_cameras(params_file: str) -> bool:
    """Return whether a file of parameters gives the node a list of cameras; what it cannot read, the node refuses."""
    return bool(given_in(params_file, "cameras"))


def given_in(params_file: str, name: str) -> object:
    """Return what a file gives a node `activesam`, in whatever namespace, for a parameter; None: nothing."""
    found: object = None
    for section, parameters in read_sections(params_file) if params_file else []:
        if section.rpartition("/")[2] in (NODE, "*", "**"):
            found = parameters.get(name, found)
    return found


def require_known(names: Iterable[str], arguments: Iterable[Argument]) -> None:
    """Raise SettingsError for a name that is none of the arguments, since `launch` takes no notice of it."""
    known = [one.name for one in arguments]
    for name in names:
        if name not in known:
            raise SettingsError(
                f"there is no argument {name}:={nearest(name, known)}; expected some of {', '.join(known)}"
            )


def check_values(parameters: Mapping[str, object]) -> None:
    """Check parameters for the node as far as that goes without starting it.

    Raises:
        ActiveSamError: a value is refused, or the model's folder or the vocabulary is not there.
    """
    checked = {name: read(name, one) for name, one in parameters.items() if name in DEFAULTS}
    if "model" in checked:
        local_folder(checked["model"])
    first_configuration(
        {name: one for name, one in checked.items() if name in ("vocabulary", "vocabulary_file")}
    )


def require_one_camera(launch_file: str, params_file: str) -> None:
    """Raise SettingsError if a file of parameters names cameras, for a launch file that has only one camera."""
    if params_file and names_cameras(params_file):
        raise SettingsError(
            f"params_file:={params_file} names cameras, but {launch_file} has one camera, without a name; remove "
            "the parameter cameras from the file"
        )


def _classes(text: str) -> list[str]:
    listed = _yaml("vocabulary", text)
    if not isinstance(listed, list) or not listed or not all(isinstance(one, str) for one in listed):
        raise SettingsError(
            f"vocabulary:={text!r} is not a list of classes; expected something like "
            "'[road, \"car, automobile\", sky]', with names such as on, no or 7 in quotes"
        )
    return listed


def _yaml(name: str, text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{name}:={text!r} is not YAML: {reason(error)}") from error
