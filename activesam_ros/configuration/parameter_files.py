"""What all readers of ROS parameter files need: whose parameters a section holds, and names that nobody knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path

import yaml

NODE = "activesam"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` with the known name that is most like a wrong one, or another hint, or nothing."""
    known = list(known)
    # A mapping where a value belongs: its keys become parts of the name.
    if name.partition(".")[0] in known:
        return f"; {name.partition('.')[0]} takes no mapping"
    close = get_close_matches(name, known, n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else ""


def sections(content: object) -> Iterator[tuple[str, Mapping[object, object]]]:
    """Yield what a file of parameters holds for which nodes: their full name, which may have wildcards, and a mapping.

    A file may nest namespaces, or write them with slashes: `/robot/activesam`, `/**`, `robot: {activesam: …}`.

    >>> dict(sections({"robot": {"activesam": {"ros__parameters": {"model": "toytown"}}}}))
    {'/robot/activesam': {'model': 'toytown'}}
    """
    yield from _sections(content, "")


def _sections(content: object, name: str) -> Iterator[tuple[str, Mapping[object, object]]]:
    if not isinstance(content, Mapping):
        return
    for key, below in content.items():
        if key != "ros__parameters":
            yield from _sections(below, f"{name}/{str(key).strip('/')}")
        elif isinstance(below, Mapping) and name:
            yield name, below


def matches(section: str, full_name: str) -> bool:
    """Return whether a section is for the node of that name: `*` is one part of it, `**` any number.

    >>> matches("/**/activesam", "/activesam"), matches("/*", "/robot/activesam")
    (True, False)
    """
    parts = {"**": r"(/[^/]+)*", "*": r"/[^/]+"}
    pattern = "".join(parts.get(part, "/" + re.escape(part)) for part in section.strip("/").split("/"))
    return re.fullmatch(pattern, full_name) is not None


def flat(parameters: Mapping[object, object], prefix: str = "") -> dict[str, object]:
    """Return parameters by their full names, which a file may nest.

    >>> flat({"qos_overrides": {"/image": {"depth": 5}}})
    {'qos_overrides./image.depth': 5}
    """
    values: dict[str, object] = {}
    for key, value in parameters.items():
        name = f"{prefix}{key}"
        values |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return values


def read_sections(path: str | Path) -> list[tuple[str, Mapping[object, object]]]:
    """Return the sections of a file; none of one that cannot be read, which ROS itself refuses."""
    try:
        return list(sections(yaml.safe_load(Path(path).read_text(encoding="utf-8"))))
    except (OSError, ValueError, yaml.YAMLError):
        return []


def files_for_others(arguments: Sequence[str], full_name: str) -> list[str]:
    """Return a warning for each `--params-file` among arguments that has parameters, but none for the node."""
    warnings = []
    for option, path in pairwise(arguments):
        names = [name for name, _ in read_sections(path)] if option == "--params-file" else []
        if names and not any(matches(name, full_name) for name in names):
            warnings.append(
                f"the parameter file {path} has no parameters for {full_name}, but for {', '.join(names[:5])}; name "
                f"them {full_name} or /**"
            )
    return warnings
