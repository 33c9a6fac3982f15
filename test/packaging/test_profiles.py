from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from devsetup.errors import SetupError
from devsetup.profiles import ROS, TOO_OLD_DISTROS, WHEELS, detect_profile

if TYPE_CHECKING:
    from pathlib import Path


def test_a_machine_without_ros_gets_the_wheels(tmp_path: Path) -> None:
    profile = detect_profile({"PATH": "/usr/bin"}, opt=tmp_path)
    assert profile.name == WHEELS
    assert profile.ros is None


@pytest.mark.parametrize("distro", ["jazzy", "kilted", "rolling", "a-later-one"])
def test_a_sourced_ros_is_used(fake_ros, distro: str) -> None:
    profile = detect_profile(fake_ros.environ(distro))
    assert profile.name == ROS
    assert profile.ros.distro == distro
    assert profile.ros.prefix == fake_ros.prefix


def test_the_installation_is_found_below_workspaces(fake_ros, tmp_path: Path) -> None:
    environ = fake_ros.environ()
    environ["AMENT_PREFIX_PATH"] = os.pathsep.join([str(tmp_path / "workspace"), str(fake_ros.prefix)])
    assert detect_profile(environ).ros.prefix == fake_ros.prefix


@pytest.mark.parametrize("distro", TOO_OLD_DISTROS)
def test_a_distribution_with_an_old_python_is_refused_with_the_reason(fake_ros, distro: str) -> None:
    with pytest.raises(SetupError, match=rf"ROS 2 {distro} cannot be used: its Python is older than 3\.11"):
        detect_profile(fake_ros.environ(distro))


def test_ros_1_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"ROS 1 \(noetic\) is sourced, but the package is for ROS 2"):
        detect_profile({"ROS_DISTRO": "noetic", "ROS_VERSION": "1"}, opt=tmp_path)


def test_the_environment_of_the_wheels_is_not_taken_for_an_installation(fake_ros) -> None:
    (fake_ros.prefix / "pyvenv.cfg").touch()
    environ = fake_ros.environ()
    del environ["ROS_DISTRO"]
    assert detect_profile(environ).name == WHEELS


def test_an_installed_but_unsourced_ros_is_pointed_out(fake_ros) -> None:
    with pytest.raises(
        SetupError, match=r"ROS 2 jazzy is installed but not sourced: run `source .*setup.bash`"
    ):
        detect_profile({"ROS_DISTRO": "jazzy"}, opt=fake_ros.prefix.parent)


def test_a_left_over_distribution_name_alone_changes_nothing(tmp_path: Path) -> None:
    assert detect_profile({"ROS_DISTRO": "jazzy"}, opt=tmp_path).name == WHEELS
