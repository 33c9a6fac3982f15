"""docs/interface.md against what the node declares and what its policy lets it do."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from activesam_ros.cli import main
from activesam_ros.ros.parameters import PARAMETERS
from activesam_ros.ros.point_parameters import SPECS as POINTS

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = (REPOSITORY / "docs" / "interface.md").read_text()


def section(title: str) -> str:
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)[1]


def first_cells(title: str) -> list[str]:
    """What stands in code in the first cells of a section's table."""
    cells = re.findall(r"^\| (`.*?) \|", section(title), re.M)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_the_table_of_parameters_is_made_from_the_declaration() -> None:
    parameter_table = pytest.importorskip("parameter_table")
    assert parameter_table.replaced(PAGE) == PAGE, "run: python tools/parameter_table.py"
    assert first_cells("Parameters")[: len(PARAMETERS)] == [spec.name for spec in PARAMETERS]
    points = (REPOSITORY / "docs" / "points.md").read_text()
    assert parameter_table.replaced(points, POINTS) == points, "run: python tools/parameter_table.py"
    with pytest.raises(ValueError, match="no table"):
        parameter_table.replaced("# Another page\n")


def allowed(kind: str) -> set[str]:
    """Names that the SROS 2 policy lets the node use; it is compared with the running node elsewhere."""
    policy = ElementTree.parse(REPOSITORY / "config" / "sros2" / "activesam.policy.xml")
    return {entry.text for entry in policy.iter(kind)}


def test_the_topics_are_those_of_the_policy() -> None:
    ours = allowed("topic") - {"clock", "rosout", "parameter_events"}
    assert {name.lstrip("/") for name in first_cells("Topics")} == ours


def test_the_services_are_those_of_the_policy() -> None:
    assert set(first_cells("Services")) == allowed("service")


def test_the_commands_are_those_that_are_installed() -> None:
    named = re.findall(r"`activesam-?([a-z-]*)`", section("Commands"))
    assert {name.replace("-", "_") or "activesam" for name in named} == {*main.COMMANDS, *main.NODES}
    assert set(main.ALIASES) <= set(re.findall(r"also `([a-z_]+)`", section("Commands")))
