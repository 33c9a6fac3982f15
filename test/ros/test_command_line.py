"""A command that is shown can be typed in."""

import shlex

from activesam_ros.ros.command_line import command_line


def test_parameters_and_remappings_are_given():
    line = command_line(
        "evaluator", {"out": "my run", "ignore": [0, 255], "overwrite": True}, {"image": "/camera/image"}
    )
    assert shlex.split(line) == [
        *("ros2", "run", "activesam_ros", "evaluator", "--ros-args"),
        *("-p", 'out:="my run"', "-p", "ignore:=[0, 255]", "-p", "overwrite:=true"),
        *("-r", "image:=/camera/image"),
    ]


def test_a_text_that_looks_like_a_number_stays_a_text():
    assert shlex.split(command_line("evaluator", {"out": "7"}, {}))[-1] == 'out:="7"'


def test_nothing_given_is_nothing_said():
    assert command_line("evaluator", {}, {}) == "ros2 run activesam_ros evaluator"
