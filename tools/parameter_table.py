"""Writes the tables of parameters in docs/interface.md and docs/points.md anew, from their declarations.

python tools/parameter_table.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from activesam_ros.ros.parameters import PARAMETERS, TAKES, Takes
from activesam_ros.ros.point_parameters import SPECS as OF_POINTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activesam_ros.configuration.configuration import ParameterSpec

DOCS = Path(__file__).resolve().parents[1] / "docs"
HEAD = "| parameter | default | values | changes | what |\n| --- | --- | --- | --- | --- |\n"

_CHANGES = {
    Takes.PREPARED: "between two frames",
    Takes.AT_ONCE: "at once",
    Takes.INACTIVE: "while not active",
    Takes.NEVER: "at the start only",
}


def table(parameters: Sequence[ParameterSpec] = PARAMETERS) -> str:
    """Return the table in Markdown, one row a parameter, in the order of their declaration."""
    # Those of points change at once; of the same names are others.
    changes = TAKES if parameters is PARAMETERS else {}
    return HEAD + "".join(_row(spec, changes.get(spec.name, Takes.AT_ONCE)) for spec in parameters)


def replaced(page: str, parameters: Sequence[ParameterSpec] = PARAMETERS) -> str:
    """Return a page with its table replaced."""
    old = re.search(re.escape(HEAD) + r"(?:\|.*\n)*", page)
    if old is None:
        raise ValueError(f"the page has no table that begins with {HEAD.splitlines()[0]!r}")
    return page[: old.start()] + table(parameters) + page[old.end() :]


def _row(spec: ParameterSpec, takes: Takes) -> str:
    cells = (f"`{spec.name}`", _default(spec), _values(spec), _CHANGES[takes], spec.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _default(spec: ParameterSpec) -> str:
    if isinstance(spec.default, tuple):
        return f"{len(spec.default)} classes of a street" if spec.default else "`[]`"
    if isinstance(spec.default, bool):
        return str(spec.default).lower()
    return f"`{spec.default}`" if isinstance(spec.default, str) and spec.default else _number(spec.default)


def _values(spec: ParameterSpec) -> str:
    if spec.choices:
        return ", ".join(f"`{choice}`" if choice else "empty" for choice in spec.choices)
    if spec.limits:
        low, high = spec.limits
        return f"{_number(low)} to {_number(high)}"
    return {tuple: "texts", bool: "true, false", str: "text"}[type(spec.default)]


def _number(value: object) -> str:
    return str(value) if value != "" else '`""`'


if __name__ == "__main__":
    for name, parameters in (("interface.md", PARAMETERS), ("points.md", OF_POINTS)):
        page = DOCS / name
        page.write_text(replaced(page.read_text(), parameters))
