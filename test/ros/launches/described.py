"""Launch files of this repository as `launch_testing` runs them."""

from __future__ import annotations

from pathlib import Path

from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_testing.actions import ReadyToTest

from launch import LaunchDescription

LAUNCH_FILES = Path(__file__).parents[3] / "launch"


def under_test(name: str, *arguments: dict[str, str]) -> LaunchDescription:
    """A launch file of that name, included once with each of these arguments; the tests begin at once."""
    source = str(LAUNCH_FILES / f"{name}.launch.py")
    included = [
        IncludeLaunchDescription(PythonLaunchDescriptionSource(source), launch_arguments=given.items())
        for given in arguments
    ]
    return LaunchDescription([*included, ReadyToTest()])
