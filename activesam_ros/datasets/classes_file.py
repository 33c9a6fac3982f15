"""The classes of one's own label files, as a YAML file says them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from activesam_ros.errors import DatasetError

_KEYS = {"classes", "ignore"}
_LARGEST = 65_534


@dataclass(frozen=True)
class OwnClasses:
    """Names by their values in the label files, and the values whose pixels do not count."""

    names: Mapping[int, str]
    ignored: frozenset[int]


def read_classes(path: Path) -> OwnClasses:
    """Reads a file with `classes`, a mapping of values to names or a list of names, and perhaps a list `ignore`.

    Raises:
        DatasetError: the file cannot be read, or says something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(f"the classes in {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not content.get("classes"):
        raise DatasetError(f"{path} has no classes; expected classes: {{0: road, 1: car}} or a list of names")
    if unknown := sorted(map(str, content.keys() - _KEYS)):
        raise DatasetError(f"{path} has the key {unknown[0]!r}; expected only classes and ignore")
    classes = content["classes"]
    names = dict(enumerate(classes)) if isinstance(classes, list) else classes
    if not isinstance(names, dict):
        raise DatasetError(f"classes in {path} is {names!r}; expected {{0: road, 1: car}} or a list of names")
    for value, name in names.items():
        _check_value(path, value)
        if not isinstance(name, str) or not name.strip():
            raise DatasetError(f"the class {value} in {path} is {name!r}; expected a name")
    if len(set(names.values())) < len(names):
        raise DatasetError(f"{path} gives two classes the same name; give each its own")
    ignored = content.get("ignore") or []
    if not isinstance(ignored, list):
        raise DatasetError(f"ignore in {path} is {ignored!r}; expected a list such as [255]")
    for value in ignored:
        _check_value(path, value, _LARGEST + 1)
        if value in names:
            raise DatasetError(f"{value} in {path} is both a class and ignored; remove one")
    return OwnClasses(names, frozenset(ignored))


def _check_value(path: Path, value: object, largest: int = _LARGEST) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        raise DatasetError(
            f"{value!r} in {path} is no value of a label file; expected a number from 0 to {largest}"
        )
