"""Which kind of machine it is, and what it lacks."""

from __future__ import annotations

import os
import sys
from datetime import date
from pathlib import Path

import pytest
from devsetup.distributions import DISTRIBUTIONS, TOO_OLD
from devsetup.machine import (
    ROS,
    WHEELS,
    Profile,
    RosInstallation,
    check_python,
    check_ros_python,
    check_space,
    check_tools,
    clean_environ,
    detect_profile,
)
from devsetup.progress import SetupError

GIB = 1024**3
JAZZY = DISTRIBUTIONS["jazzy"]
WITHOUT_ROS = Profile(WHEELS, JAZZY)
WITH_ROS = Profile(ROS, JAZZY, RosInstallation("jazzy", Path("/opt/ros/jazzy")))


def test_a_machine_without_ros_gets_the_wheels(tmp_path: Path) -> None:
    profile = detect_profile({"PATH": "/usr/bin"}, opt=tmp_path)
    assert profile.name == WHEELS
    assert profile.ros is None
    assert profile.distro == "jazzy"


def test_a_variable_chooses_the_distribution_of_the_wheels(tmp_path: Path) -> None:
    assert detect_profile({"DISTRO": "kilted"}, opt=tmp_path).distro == "kilted"


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (
            "lyrical",
            "there are no Python wheels of ROS 2 lyrical. Choose one of jazzy, kilted, or install and source",
        ),
        ("ubuntu", "it is not known. Choose one of jazzy, kilted"),
    ],
)
def test_a_distribution_that_has_no_wheels_is_refused_with_the_choice(
    tmp_path: Path, wanted: str, reason: str
) -> None:
    with pytest.raises(SetupError, match=f"DISTRO={wanted} cannot be set up without ROS: {reason}"):
        detect_profile({"DISTRO": wanted}, opt=tmp_path)


def test_wheels_are_refused_where_another_distribution_is_sourced(fake_ros) -> None:
    with pytest.raises(SetupError, match=r"DISTRO=kilted asks for .* but ROS 2 jazzy is sourced"):
        detect_profile({**fake_ros.environ(), "DISTRO": "kilted"})
    assert detect_profile({**fake_ros.environ(), "DISTRO": "jazzy"}).name == ROS


@pytest.mark.parametrize("distro", [*DISTRIBUTIONS, "a-later-one"])
def test_a_sourced_ros_is_used(fake_ros, distro: str) -> None:
    profile = detect_profile(fake_ros.environ(distro))
    assert profile.name == ROS
    assert profile.distro == distro
    assert profile.ros.prefix == fake_ros.prefix


def test_a_sourced_ros_that_is_not_known_gets_a_warning(fake_ros) -> None:
    day = date(2026, 6, 1)
    (said,) = detect_profile(fake_ros.environ("mystic")).warnings(day)
    assert "ROS 2 mystic is not known here" in said
    assert "Jazzy, Kilted, Lyrical and Rolling" in said
    for distro in DISTRIBUTIONS:
        assert detect_profile(fake_ros.environ(distro)).warnings(day) == []


def test_a_distribution_without_updates_gets_a_warning() -> None:
    kilted = Profile(WHEELS, DISTRIBUTIONS["kilted"])
    assert kilted.warnings(date(2026, 12, 31)) == []
    assert kilted.warnings(date(2027, 1, 1)) == ["ROS 2 Kilted has had no updates since 2026-12-31."]
    assert Profile(WHEELS, DISTRIBUTIONS["rolling"]).warnings(date(2099, 1, 1)) == []


def test_the_installation_is_found_below_workspaces(fake_ros, tmp_path: Path) -> None:
    environ = fake_ros.environ()
    environ["AMENT_PREFIX_PATH"] = os.pathsep.join([str(tmp_path / "workspace"), str(fake_ros.prefix)])
    assert detect_profile(environ).ros.prefix == fake_ros.prefix


@pytest.mark.parametrize("distro", TOO_OLD)
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


def program_folder(tmp_path: Path, *names: str) -> str:
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13), (3, 14)])
def test_pythons_with_ros_wheels_are_accepted(version: tuple[int, int]) -> None:
    check_python(WITHOUT_ROS, version, "x86_64")


def test_a_python_without_ros_wheels_is_refused() -> None:
    with pytest.raises(SetupError, match=r"Python 3\.15 cannot be used: .* 3\.11 to 3\.14.*ACTIVESAM_PYTHON"):
        check_python(WITHOUT_ROS, (3, 15), "x86_64")


def test_a_machine_without_ros_wheels_is_refused() -> None:
    with pytest.raises(SetupError, match="no Python wheels of ROS 2 for aarch64, only for x86_64"):
        check_python(WITHOUT_ROS, (3, 12), "aarch64")


def test_with_ros_neither_matters() -> None:
    check_python(WITH_ROS, (3, 15), "aarch64")


def test_missing_tools_are_all_named_with_their_packages(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as refused:
        check_tools(WITHOUT_ROS, path=program_folder(tmp_path), include=tmp_path)
    text = str(refused.value)
    for name in ("a C compiler", "a C++ compiler", "make", "the Python headers"):
        assert name in text
    assert "cmake" not in text, "cmake comes with the wheels"
    assert f"build-essential python3.{sys.version_info[1]}-dev" in text


def test_with_ros_cmake_and_colcon_are_wanted_too(tmp_path: Path) -> None:
    (tmp_path / "Python.h").touch()
    with pytest.raises(SetupError, match="missing on this machine: cmake, colcon"):
        check_tools(WITH_ROS, path=program_folder(tmp_path, "gcc", "g++", "make"), include=tmp_path)


def test_a_complete_machine_passes(tmp_path: Path) -> None:
    (tmp_path / "Python.h").touch()
    check_tools(WITHOUT_ROS, path=program_folder(tmp_path, "cc", "c++", "make"), include=tmp_path)


def test_a_full_disk_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(
        SetupError, match=r"not enough free space at .*: 1\.0 GiB free, .*virtual environment"
    ):
        check_space(tmp_path / "not" / "there" / "yet", tmp_path, free=lambda path: GIB)


def test_what_lies_on_one_disk_adds_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    # Enough for either the environment or pip's downloads, not for both.
    with pytest.raises(SetupError, match=r"9\.0 GiB free, 12\.1 GiB wanted"):
        check_space(tmp_path / "venv", tmp_path, free=lambda path: 9 * GIB)
    check_space(tmp_path / "venv", tmp_path, free=lambda path: 13 * GIB)
    # A further distribution is small.
    check_space(tmp_path / "venv", tmp_path, 0.5, free=lambda path: GIB)


def test_a_finished_environment_asks_for_little_space(tmp_path: Path) -> None:
    check_space(None, tmp_path, free=lambda path: GIB)
    with pytest.raises(SetupError, match="the messages"):
        check_space(None, tmp_path, free=lambda path: 1000)


def test_the_distribution_is_asked_for_its_versions(fake_ros) -> None:
    environ = fake_ros.environ()
    versions = check_ros_python(detect_profile(environ), sys.executable, environ)
    assert versions["numpy"] == "1.26.4"


def test_missing_ros_packages_are_named(fake_ros) -> None:
    for name in ("cv_bridge", "vision_msgs"):
        (fake_ros.modules / f"{name}.py").write_text("raise ImportError('not there')\n")
    environ = fake_ros.environ()
    with pytest.raises(
        SetupError, match=r"lacks cv_bridge, vision_msgs: .*ros-jazzy-cv-bridge ros-jazzy-vision-msgs"
    ):
        check_ros_python(detect_profile(environ), sys.executable, environ)


def test_a_python_that_is_not_the_distributions_is_refused(fake_ros) -> None:
    (fake_ros.modules / "rclpy.py").write_text("raise ImportError('made for another Python')\n")
    environ = fake_ros.environ()
    with pytest.raises(SetupError, match=r"cannot import rclpy of ROS 2 jazzy: .*made for another Python"):
        check_ros_python(detect_profile(environ), sys.executable, environ)


def test_without_ros_no_search_path_of_the_shell_leaks_in() -> None:
    shell = {
        "PATH": "/usr/bin",
        "PYTHONPATH": "/x",
        "LD_LIBRARY_PATH": "/y",
        "AMENT_PREFIX_PATH": "/z",
        "HOME": "/h",
    }
    environ = clean_environ(shell, WITHOUT_ROS)
    assert not {"PYTHONPATH", "LD_LIBRARY_PATH", "AMENT_PREFIX_PATH"} & set(environ)
    assert environ["HOME"] == "/h"


def test_with_ros_its_search_paths_stay() -> None:
    shell = {"PYTHONPATH": "/x", "LD_LIBRARY_PATH": "/y", "AMENT_PREFIX_PATH": "/z", "PIP_USER": "1"}
    environ = clean_environ(shell, WITH_ROS)
    assert environ["PYTHONPATH"] == "/x"
    assert environ["AMENT_PREFIX_PATH"] == "/z"
    assert environ["PATH"] == os.defpath
    assert "PIP_USER" not in environ
