"""From launch arguments to parameters of the node `activesam`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from activesam_ros.errors import SettingsError
from activesam_ros.launching.arguments import words
from activesam_ros.ros.parameters import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Mapping


def node_parameters(given: Mapping[str, str]) -> dict[str, object]:
    """Parameters that outdo those of params_file.

    Args:
        given: values of `NODE_ARGUMENTS`; empty ones are left to params_file.

    Raises:
        SettingsError: vocabulary is no list of words.
    """
    plain = ("model", "vocabulary_file", "profile", "device")
    parameters: dict[str, object] = {name: given[name] for name in plain if given[name]}
    if given["vocabulary"]:
        parameters["vocabulary"] = words(given["vocabulary"])
    # Of words and a file that brings words the node takes one: the one given here also outdoes the other of
    # params_file. A vocabulary that equals the default counts as none.
    if given["vocabulary"] and not given["vocabulary_file"]:
        parameters["vocabulary_file"] = ""
    elif given["vocabulary_file"] and not given["vocabulary"]:
        parameters["vocabulary"] = list(DEFAULTS["vocabulary"])
    return parameters


def names_cameras(params_file: str) -> bool:
    """Whether a file of parameters gives the node a list of cameras; what cannot be read is the node's to refuse."""
    try:
        with open(params_file, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return _gives_cameras(content, "")


def require_one_camera(launch_file: str, params_file: str) -> None:
    """Raises SettingsError if a file of parameters names cameras, for a launch file that has one camera only.

    Args:
        launch_file: its name.
        params_file: empty: none.
    """
    if params_file and names_cameras(params_file):
        raise SettingsError(
            f"params_file:={params_file} names cameras, but {launch_file} has one camera, without a name; remove "
            "the parameter cameras from the file"
        )


def _gives_cameras(content: object, name: str) -> bool:
    """Looks below the names of namespaces and nodes, which a file may nest or write as one with slashes."""
    if not isinstance(content, dict):
        return False
    parameters = content.get("ros__parameters")
    ours = name.rpartition("/")[2] in ("activesam", "*", "**")
    if ours and isinstance(parameters, dict) and parameters.get("cameras"):
        return True
    return any(_gives_cameras(below, str(key)) for key, below in content.items() if key != "ros__parameters")
