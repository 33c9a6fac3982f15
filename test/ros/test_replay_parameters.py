"""The parameters of player and evaluator are documented, all of them and with their defaults."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from activesam_ros.ros.evaluator import EvaluatorParameters
from activesam_ros.ros.player import PlayerParameters

PAGE = Path(__file__).parents[2] / "docs" / "live-evaluation.md"


def documented(title):
    """Default of every parameter in the table below a heading."""
    text = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)[1]
    table = text.partition("| parameter | default | meaning |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*?) ?\| .* \|$", table, re.M)
    return {
        name: yaml.safe_load(default.strip("`")) or ""
        for names, default in rows
        for name in re.findall(r"`(\w+)`", names)
    }


@pytest.mark.parametrize(
    "title, parameters", [("The player", PlayerParameters), ("The evaluator", EvaluatorParameters)]
)
def test_every_parameter_is_documented_with_its_default(title, parameters):
    assert documented(title) == {field.name: field.default or "" for field in fields(parameters)}
