"""Read the node's parameters, so that a recording is labelled by the segmenter that the node would run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from activesam_ros.configuration.configuration import (
    CONFIGURABLE,
    NODE_ONLY,
    ModelChoice,
    first_configuration,
    specs_of,
)
from activesam_ros.configuration.parameter_files import NODE, flat, matches, nearest, sections
from activesam_ros.errors import SettingsError, reason
from activesam_ros.vocabulary.files import parse_class_list
from activesam_ros.vocabulary.formats import load_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from activesam_ros.settings import SegmenterSettings
    from activesam_ros.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

_KNOWN = (*CONFIGURABLE, *(spec.name for spec in specs_of(ModelChoice)), "use_sim_time")
_MODEL = {spec.name: spec for spec in specs_of(ModelChoice) if spec.name in ("model", "device", "dtype")}
_USED = (*CONFIGURABLE, *_MODEL)


@dataclass(frozen=True)
class SegmenterParameters:
    """What a node with certain parameters segments with."""

    vocabulary: Vocabulary
    settings: SegmenterSettings
    model: str
    device: str
    dtype: str


def read_parameters(
    parameter_file: Path | None = None, assignments: Sequence[str] = (), vocabulary: str | None = None
) -> SegmenterParameters:
    """Return what a node that is started with these parameters segments with; a given value wins over its profile.

    Args:
        parameter_file: YAML as `ros2 run … --params-file` takes it; its sections for /activesam count.
        assignments: "NAME=VALUE", the value in YAML; they win over the file.
        vocabulary: a preset, a file, or class names ("road; car, automobile; sky"); it wins over both.

    Raises:
        ActiveSamError: a parameter is unknown or refused, or a file cannot be read.
    """
    values = {} if parameter_file is None else _read_file(parameter_file)
    assigned = dict(_read_assignment(text) for text in assignments)
    unknown = sorted(set(assigned) - set(_USED))
    if unknown:
        raise SettingsError(
            f"there is no parameter {unknown[0]!r} that a recording could use{nearest(unknown[0], _USED)}; expected "
            f"one of {', '.join(_USED)}"
        )
    values.update(assigned)
    if vocabulary is not None:
        values.pop("vocabulary", None)
        values.pop("vocabulary_file", None)
        names = parse_class_list(vocabulary)
        values |= {"vocabulary_file": vocabulary} if names is None else {"vocabulary": list(names)}
    configuration = first_configuration(values)
    model, device, dtype = (str(spec.read(values.get(name, spec.default))) for name, spec in _MODEL.items())
    return SegmenterParameters(configuration.vocabulary, configuration.settings, model, device, dtype)


def _read_assignment(text: str) -> tuple[str, object]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise SettingsError(f"{text!r} sets nothing; expected NAME=VALUE, such as keep_fraction=0.3")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise SettingsError(f"{text!r} is not NAME=VALUE with a value in YAML: {reason(error)}") from error


def _read_file(path: Path) -> dict[str, object]:
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"the parameter file {path} cannot be read: {reason(error)}") from error
    names = []
    values: dict[str, object] = {}
    for name, parameters in sections(content):
        names.append(name)
        if matches(name, f"/{NODE}"):
            values |= flat(parameters)
    if not values:
        held = f", but for {', '.join(names[:5])}" if names else ""
        raise SettingsError(
            f"the parameter file {path} has no parameters for the node{held}; expected /activesam or /**, and in it "
            "ros__parameters"
        )
    known = (*_KNOWN, *NODE_ONLY)
    for name in values:
        # Overrides of quality of service mean nothing to a recording.
        if name not in known and not name.startswith("qos_overrides."):
            logger.warning(
                "%s: there is no parameter %r, so it has no effect%s", path, name, nearest(name, known)
            )
    return {name: value for name, value in values.items() if name in _USED}
