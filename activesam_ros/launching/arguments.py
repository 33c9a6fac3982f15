"""Launch arguments: texts that `ros2 launch --show-args` prints, and their values read from the command line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import yaml

from activesam_ros.errors import SettingsError
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
        "paper: every frame for itself; realtime: a stream, of which the last frame tells most of the next; empty: "
        "that of params_file.",
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

LOG_LEVEL = Argument(
    "log_level", "info", "How much the node says.", choices=("debug", "info", "warn", "error", "fatal")
)
RVIZ = Argument(
    "rviz",
    "false",
    "Whether RViz is started beside it, with image, overlay, labels and legend (of the first camera).",
)


def with_home(arguments: Iterable[Argument], given: Mapping[str, str]) -> dict[str, str]:
    """The values, in which ~ stands for the home folder no longer where a path is expected."""
    paths = {one.name for one in arguments if one.is_path}
    return {
        name: os.path.expanduser(text) if name in paths and text.startswith("~/") else text
        for name, text in given.items()
    }


def require_file(argument: str, path: str) -> None:
    """Raises SettingsError if a file is not there; without it `launch` would start the nodes on their defaults.

    Args:
        argument: its name.
        path: its value; empty: no file is asked for.
    """
    if path and not os.path.isfile(path):
        raise SettingsError(f"{argument}:={path} is no file; expected the path of a YAML file of parameters")


def value(name: str, text: str, kind: type[T]) -> T:
    """An argument as a YAML value of a type: bool, int, float or list.

    Raises:
        SettingsError: it is none.
    """
    read = _yaml(name, text)
    if kind is float and type(read) is int:
        read = float(read)
    # bool is an int in Python but not in YAML.
    if type(read) is not kind:
        raise SettingsError(f"{name}:={text!r} is not what is expected: {_EXPECTED[kind]}")
    return read


def words(text: str) -> list[str]:
    """The argument vocabulary as a list of words.

    Raises:
        SettingsError: it is none.
    """
    listed = _yaml("vocabulary", text)
    if not isinstance(listed, list) or not listed or not all(isinstance(word, str) for word in listed):
        raise SettingsError(
            f"vocabulary:={text!r} is not a list of words; expected something like "
            "'[road, \"car, automobile\", sky]', with words such as on, no or 7 in quotes"
        )
    return listed


def _yaml(name: str, text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{name}:={text!r} is not YAML: {' '.join(str(error).split())}") from error
