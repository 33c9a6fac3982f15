"""The node's parameters: their declaration, their description to ROS tools, and the shipped file."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from rcl_interfaces.msg import ParameterType

from activesam_ros.configuration.configuration import CONFIGURABLE, NODE_ONLY, ModelChoice, group_of
from activesam_ros.errors import SettingsError
from activesam_ros.ros.live_parameters import DESCRIBED_TYPES, descriptor
from activesam_ros.ros.parameters import DEFAULTS, PARAMETERS, TAKES, Policy, Setup, Takes, read
from activesam_ros.settings import BOUNDS, GOVERNED

FILE = Path(__file__).parents[2] / "config" / "activesam.yaml"
SPECS = {spec.name: spec for spec in PARAMETERS}
BROUGHT = {*GOVERNED, "background_threshold", "background_class"}


@pytest.mark.parametrize(
    ("group", "takes"), [(Setup, Takes.NEVER), (ModelChoice, Takes.INACTIVE), (Policy, Takes.AT_ONCE)]
)
def test_a_group_holds_the_parameters_that_take_effect_together(group, takes):
    names = {name for name, when in TAKES.items() if when is takes}
    assert {field.name for field in fields(group)} == names
    assert group_of(group, DEFAULTS) == group()


def test_an_evaluation_knows_the_names_of_what_only_the_node_has():
    assert tuple(field.name for group in (Setup, Policy) for field in fields(group)) == NODE_ONLY


def test_every_other_parameter_is_loaded_beside_the_stream():
    assert {name for name, when in TAKES.items() if when is Takes.PREPARED} == set(CONFIGURABLE)
    assert len(SPECS) == len(PARAMETERS)


@pytest.mark.parametrize("spec", PARAMETERS, ids=lambda spec: spec.name)
def test_every_parameter_is_described_with_its_range(spec):
    message = descriptor(spec, read_only=TAKES[spec.name] is Takes.NEVER)
    assert message.name == spec.name and message.description.endswith(".")
    assert message.read_only == (TAKES[spec.name] is Takes.NEVER)
    ranges = [*message.integer_range, *message.floating_point_range]
    assert [(one.from_value, one.to_value) for one in ranges] == ([spec.limits] if spec.limits else [])
    kinds = {
        bool: ParameterType.PARAMETER_BOOL,
        int: ParameterType.PARAMETER_INTEGER,
        float: ParameterType.PARAMETER_DOUBLE,
        str: ParameterType.PARAMETER_STRING,
        tuple: ParameterType.PARAMETER_STRING_ARRAY,
    }
    assert message.type == DESCRIBED_TYPES[spec.name] == kinds[type(spec.default)]


def test_the_parameter_file_states_every_default_and_comments_out_what_a_profile_or_a_file_sets():
    text = FILE.read_text()
    full = re.sub(r"^    # (?=\w+: [^ ]+$)", "    ", text, flags=re.M)
    stated, held = (yaml.safe_load(one)["/**"]["ros__parameters"] for one in (full, text))
    assert stated == {
        name: list(value) if isinstance(value, tuple) else value for name, value in DEFAULTS.items()
    }
    assert list(stated) == list(DEFAULTS)
    assert set(stated) - set(held) == BROUGHT


def test_the_parameter_file_comments_on_every_parameter():
    lines = FILE.read_text().splitlines()
    for name in DEFAULTS:
        pattern = re.compile(rf"    (# )?{name}:")
        (at,) = (number for number, line in enumerate(lines) if pattern.match(line))
        assert lines[at - 1].startswith("    # "), f"{name} has no comment of its own"


@pytest.mark.parametrize(
    "name", [spec.name for spec in PARAMETERS if spec.limits and spec.name not in BOUNDS]
)
def test_the_nodes_own_numbers_keep_within_their_limits(name):
    low, high = SPECS[name].limits
    assert read(name, low) == low and read(name, high) == high
    for outside in (low - 1, high + 1):
        with pytest.raises(SettingsError, match=f"{name} is .*; expected {low:g} to {high:g}"):
            read(name, outside)
    if isinstance(low, float):
        with pytest.raises(SettingsError, match=name):
            read(name, float("nan"))


@pytest.mark.parametrize("name", [spec.name for spec in PARAMETERS if spec.choices])
def test_a_text_that_is_none_of_the_choices_is_refused_with_them(name):
    assert all(read(name, choice) == choice for choice in SPECS[name].choices)
    with pytest.raises(SettingsError, match=f"{name} is 'other'; expected one of {SPECS[name].choices[0]}, "):
        read(name, "other")


@pytest.mark.parametrize("given", [[], b"", None, ["front"], ["front", "rear_2", "_x", "X"]])
def test_cameras_are_names(given):
    assert read("cameras", given) == tuple(given or ())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["front", "rear", "front"], "holds 'front' twice"),
        (["2nd"], "holds '2nd'; expected letters"),
        (["a/b"], "holds 'a/b'"),
        (["front "], "holds 'front '"),
        (["front\n"], "holds 'front"),
        (["a__b"], "holds 'a__b'"),
        (["kamera_größe"], "holds 'kamera_größe'"),
        ([""], "holds ''"),
        ("front", "expected a list of names"),
        ([1, 2], "expected a list of names"),
        (True, "expected a list of names"),
    ],
)
def test_what_cannot_be_part_of_a_topic_is_no_camera(given, said):
    with pytest.raises(SettingsError, match=said):
        read("cameras", given)
