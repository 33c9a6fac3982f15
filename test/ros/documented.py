"""What docs/diagnostics.md says, for comparing it with the code."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "diagnostics.md"


def section(title: str) -> str:
    """The text below a heading."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)[1]


def documented_rules(title: str) -> list[tuple[str, str]]:
    """Level and condition of every rule in a section, in order."""
    return re.findall(r"^\| (OK|WARN|ERROR|STALE) \| (.*) \|$", section(title), re.M)


def documented_values(title: str) -> set[str]:
    """The names of the values in a section."""
    table = section(title).partition("| value | meaning |")[2]
    cells = re.findall(r"^\| (`.*?) \|", table, re.M)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
