from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from rcl_interfaces.msg import ParameterType

from activesam_ros.ros.descriptors import DESCRIBED_TYPES, declared_default, descriptor
from activesam_ros.ros.parameters import PARAMETERS, Takes

FILE = Path(__file__).parents[2] / "config" / "activesam.yaml"


@pytest.mark.parametrize("spec", PARAMETERS, ids=lambda spec: spec.name)
def test_every_parameter_is_described_with_its_range(spec):
    message = descriptor(spec)
    assert message.name == spec.name and message.description.endswith(".")
    assert message.read_only == (spec.takes is Takes.NEVER)
    ranges = [*message.integer_range, *message.floating_point_range]
    assert [(one.from_value, one.to_value) for one in ranges] == ([spec.range] if spec.range else [])
    kinds = {
        bool: ParameterType.PARAMETER_BOOL,
        int: ParameterType.PARAMETER_INTEGER,
        float: ParameterType.PARAMETER_DOUBLE,
        str: ParameterType.PARAMETER_STRING,
        tuple: ParameterType.PARAMETER_STRING_ARRAY,
    }
    assert message.type == DESCRIBED_TYPES[spec.name] == kinds[type(spec.default)]


def test_the_parameter_file_holds_every_default():
    held = yaml.safe_load(FILE.read_text())["/**"]["ros__parameters"]
    assert held == {spec.name: declared_default(spec) for spec in PARAMETERS}
    assert list(held) == [spec.name for spec in PARAMETERS]


def test_the_parameter_file_comments_on_every_parameter():
    lines = FILE.read_text().splitlines()
    for spec in PARAMETERS:
        (at,) = (number for number, line in enumerate(lines) if line.startswith(f"    {spec.name}:"))
        assert lines[at - 1].startswith("    # "), f"{spec.name} has no comment of its own"
