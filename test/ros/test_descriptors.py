from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from rcl_interfaces.msg import ParameterType  # noqa: E402

from activesam_ros.ros.descriptors import declared_default, descriptor  # noqa: E402
from activesam_ros.ros.parameters import PARAMETERS  # noqa: E402


@pytest.mark.parametrize("spec", PARAMETERS, ids=lambda spec: spec.name)
def test_every_parameter_is_described_with_its_range(spec):
    message = descriptor(spec)
    assert message.name == spec.name and message.description.endswith(".")
    assert message.read_only == spec.read_only
    ranges = [*message.integer_range, *message.floating_point_range]
    assert [(one.from_value, one.to_value) for one in ranges] == ([spec.range] if spec.range else [])
    kinds = {
        int: ParameterType.PARAMETER_INTEGER,
        float: ParameterType.PARAMETER_DOUBLE,
        str: ParameterType.PARAMETER_STRING,
        tuple: ParameterType.PARAMETER_STRING_ARRAY,
    }
    assert message.type == kinds[type(spec.default)]


def test_the_parameter_file_holds_every_default():
    file = Path(__file__).parents[2] / "config" / "activesam.yaml"
    assert yaml.safe_load(file.read_text())["/**"]["ros__parameters"] == {
        spec.name: declared_default(spec) for spec in PARAMETERS
    }
