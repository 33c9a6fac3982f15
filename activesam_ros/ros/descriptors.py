"""The parameters as ROS declares and describes them."""

from __future__ import annotations

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, ParameterType

from activesam_ros.ros.parameters import PARAMETERS, ParameterSpec, Takes

_TYPES = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
    tuple: ParameterType.PARAMETER_STRING_ARRAY,
}

DESCRIBED_TYPES: dict[str, int] = {spec.name: _TYPES[type(spec.default)] for spec in PARAMETERS}
"""The ParameterType of every parameter, by name."""


def descriptor(spec: ParameterSpec) -> ParameterDescriptor:
    """The message that describes `spec` to ROS tools."""
    message = ParameterDescriptor(
        name=spec.name,
        description=spec.description,
        read_only=spec.takes is Takes.NEVER,
        type=DESCRIBED_TYPES[spec.name],
    )
    # rclpy takes an empty list for a byte array; with a type of our own checking the refusal can say why.
    message.dynamic_typing = isinstance(spec.default, tuple)
    if spec.range and type(spec.default) is int:
        message.integer_range = [IntegerRange(from_value=spec.range[0], to_value=spec.range[1], step=1)]
    elif spec.range:
        message.floating_point_range = [
            FloatingPointRange(from_value=spec.range[0], to_value=spec.range[1], step=0.0)
        ]
    return message


def declared_default(spec: ParameterSpec) -> bool | int | float | str | list[str]:
    """The default in the form that rclpy declares."""
    return list(spec.default) if isinstance(spec.default, tuple) else spec.default
