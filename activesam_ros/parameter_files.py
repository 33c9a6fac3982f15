"""What all readers of ROS parameter files need: whose parameters a section holds, and names that nobody knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

NODE = "activesam"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` with the known name that is most like a wrong one, or nothing."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.7)
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
