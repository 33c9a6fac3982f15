from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from rcl_interfaces.msg import ParameterType  # noqa: E402

from activesam_ros.ros.descriptors import DESCRIBED_TYPES, declared_default, descriptor  # noqa: E402
from activesam_ros.ros.parameters import PARAMETERS, Takes  # noqa: E402


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
    file = Path(__file__).parents[2] / "config" / "activesam.yaml"
    assert yaml.safe_load(file.read_text())["/**"]["ros__parameters"] == {
        spec.name: declared_default(spec) for spec in PARAMETERS
    }
