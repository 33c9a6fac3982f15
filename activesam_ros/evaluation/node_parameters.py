"""The node's parameters as an evaluation takes them, so that it runs the segmenter that the node would run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from activesam_ros.configuration import CONFIGURABLE, ModelChoice, first_configuration, specs_of
from activesam_ros.errors import SettingsError
from activesam_ros.vocabulary.files import parse_class_list

if TYPE_CHECKING:
    from pathlib import Path

    from activesam_ros.settings import SegmenterSettings
    from activesam_ros.vocabulary import Vocabulary

_MODEL = {spec.name: spec for spec in specs_of(ModelChoice) if spec.name in ("model", "device", "dtype")}
_USED = (*CONFIGURABLE, *_MODEL)


@dataclass(frozen=True)
class NodeRequest:
    """What a node with certain parameters labels with: words and settings, and what its model is loaded with."""

    vocabulary: Vocabulary
    settings: SegmenterSettings
    model: str
    device: str
    dtype: str


def wanted(
    parameter_file: Path | None = None, assignments: Sequence[str] = (), vocabulary: str | None = None
) -> NodeRequest:
    """What a node that is started with these parameters labels with.

    Args:
        parameter_file: YAML as `ros2 run … --params-file` takes it; of its nodes `/**` and `activesam` count.
        assignments: "NAME=VALUE", the value in YAML; they win over the file.
        vocabulary: a preset, a file, or words ("road; car, automobile; sky"); it wins over both.

    Raises:
        ActiveSamError: a parameter is unknown or refused, or a file cannot be read.
    """
    values: dict[str, object] = {} if parameter_file is None else _of_file(parameter_file)
    assigned = dict(_assigned(text) for text in assignments)
    unknown = sorted(set(assigned) - set(_USED))
    if unknown:
        raise SettingsError(
            f"there is no parameter {unknown[0]!r} that a recording could use; expected one of {', '.join(_USED)}"
        )
    values.update(assigned)
    if vocabulary is not None:
        values.pop("vocabulary", None)
        values.pop("vocabulary_file", None)
        values.update(_vocabulary(vocabulary))
    request = first_configuration(values)
    model = {name: spec.read(values.get(name, spec.default)) for name, spec in _MODEL.items()}
    return NodeRequest(request.vocabulary, request.settings, **model)


def _vocabulary(text: str) -> dict[str, object]:
    words = parse_class_list(text)
    return {"vocabulary_file": text} if words is None else {"vocabulary": list(words)}


def _assigned(text: str) -> tuple[str, object]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise SettingsError(f"{text!r} sets nothing; expected NAME=VALUE, such as keep_fraction=0.3")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise SettingsError(f"{text!r} is not NAME=VALUE with a value in YAML: {_line(error)}") from error


def _of_file(path: Path) -> dict[str, object]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"the parameter file {path} cannot be read: {_line(error)}") from error
    values: dict[str, object] = {}
    nodes = content if isinstance(content, Mapping) else {}
    for name in ("/**", "activesam", "/activesam"):
        section = nodes.get(name)
        parameters = section.get("ros__parameters") if isinstance(section, Mapping) else None
        values.update(parameters if isinstance(parameters, Mapping) else {})
    if not values:
        raise SettingsError(
            f"the parameter file {path} has no parameters for the node; expected /activesam or /**, and in it "
            "ros__parameters"
        )
    # Overrides of quality of service are nested and mean nothing to a recording.
    return {str(name): value for name, value in values.items() if name in _USED}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
