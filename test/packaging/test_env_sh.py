"""env.sh in real shells, around an environment that consists of an `activate` script only."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from devsetup.distributions import DISTRIBUTIONS
from devsetup.machine import ROS, WHEELS, Profile, RosInstallation
from devsetup.overlay import Overlay
from devsetup.virtualenv import VenvPlan, plan_venv

if TYPE_CHECKING:
    from pathlib import Path

WITHOUT_ROS, KILTED = (Profile(WHEELS, DISTRIBUTIONS[name]) for name in ("jazzy", "kilted"))


def with_ros(prefix: Path) -> Profile:
    return Profile(ROS, DISTRIBUTIONS["jazzy"], RosInstallation("jazzy", prefix))


SITE = "lib/python3.11/site-packages"

ACTIVATE = """\
deactivate() { unset VIRTUAL_ENV; }
export VIRTUAL_ENV="{venv}"
PATH="{venv}/bin:$PATH"
"""

SHOWN = (
    "PATH",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "AMENT_PREFIX_PATH",
    "CMAKE_PREFIX_PATH",
    "VIRTUAL_ENV",
    "FASTDDS_BUILTIN_TRANSPORTS",
    "FASTDDS_DEFAULT_PROFILES_FILE",
    "FASTRTPS_DEFAULT_PROFILES_FILE",
)


@pytest.fixture(params=["bash", "zsh"])
def sh(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


def prepare(clone: Path, tmp_path: Path, profile: Profile) -> VenvPlan:
    versions = {"numpy": "1.26.4"} if profile.ros else None
    place = tmp_path / f"the venv of {profile.distro}"
    plan = plan_venv(profile, clone, {"ACTIVESAM_VENV": str(place)}, versions)
    (plan.path / "bin").mkdir(parents=True)
    (plan.path / "bin" / "activate").write_text(ACTIVATE.replace("{venv}", str(plan.path)))
    (plan.path / "activesam_ros.json").touch()
    overlay = Overlay(clone, profile)
    (overlay.prefix / SITE / "activesam_ros" / "msg").mkdir(parents=True)
    overlay.write_environment(plan)
    return plan


def run(sh: str, code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sh, "-c", code],
        cwd="/",
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def enter(sh: str, clone: Path, times: int = 1, **environ: str) -> dict[str, str]:
    """Source env.sh under `set -eu`; the variables afterwards."""
    source = "; ".join([f". '{clone}/env.sh'"] * times)
    show = "; ".join(f'echo "{name}=${{{name}-}}"' for name in SHOWN)
    done = run(sh, f"set -eu; {source}; {show}", **environ)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_the_clone_and_its_environment_come_first(sh: str, clone: Path, tmp_path: Path) -> None:
    plan = prepare(clone, tmp_path, WITHOUT_ROS)
    inside = enter(sh, clone, PYTHONPATH="/mine", LD_LIBRARY_PATH="/lib/mine")
    prefix = Overlay(clone, WITHOUT_ROS).prefix
    assert inside["PATH"].split(":")[:2] == [f"{clone}/.build/bin", f"{plan.path}/bin"]
    assert inside["PYTHONPATH"].split(":") == [f"{clone}/.build/python", f"{prefix}/{SITE}", "/mine"]
    assert inside["AMENT_PREFIX_PATH"].split(":") == [str(prefix), str(plan.path)]
    assert inside["CMAKE_PREFIX_PATH"] == inside["AMENT_PREFIX_PATH"]
    assert inside["LD_LIBRARY_PATH"].split(":") == [f"{prefix}/lib", f"{plan.path}/lib", "/lib/mine"]
    assert inside["VIRTUAL_ENV"] == str(plan.path)


def test_sourcing_it_again_changes_nothing(sh: str, clone: Path, tmp_path: Path) -> None:
    prepare(clone, tmp_path, WITHOUT_ROS)
    assert enter(sh, clone, times=3) == enter(sh, clone)


def test_the_distribution_that_was_set_up_last_replaces_another(sh: str, clone: Path, tmp_path: Path) -> None:
    jazzy = prepare(clone, tmp_path, WITHOUT_ROS)
    before = enter(sh, clone, PYTHONPATH="/mine")
    assert before["VIRTUAL_ENV"] == str(jazzy.path)
    kilted = prepare(clone, tmp_path, KILTED)
    fresh = enter(sh, clone, PYTHONPATH="/mine")
    assert fresh["VIRTUAL_ENV"] == str(kilted.path)
    # In a shell that is in Jazzy's environment nothing of it stays behind.
    assert enter(sh, clone, **before) == fresh
    chosen = enter(sh, clone, PYTHONPATH="/mine", DISTRO="jazzy")
    assert chosen == before


def test_a_distribution_that_is_not_set_up_says_what_to_run(sh: str, clone: Path, tmp_path: Path) -> None:
    prepare(clone, tmp_path, WITHOUT_ROS)
    done = run(sh, f". '{clone}/env.sh'", DISTRO="kilted")
    assert done.returncode != 0
    assert f"not set up for DISTRO=kilted; run: make -C {clone} setup" in done.stderr


def test_nothing_of_its_own_is_left_in_the_shell(sh: str, clone: Path, tmp_path: Path) -> None:
    prepare(clone, tmp_path, WITHOUT_ROS)
    done = run(sh, f". '{clone}/env.sh'; set | grep '^_activesam' || echo nothing")
    assert done.stdout == "nothing\n"


def transport(inside: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in inside.items() if name.startswith("FAST") and value}


def test_large_images_get_a_transport_that_carries_them(sh: str, clone: Path, tmp_path: Path) -> None:
    plan = prepare(clone, tmp_path, WITHOUT_ROS)
    profile = str(clone / "config" / "fastdds.xml")
    assert transport(enter(sh, clone)) == {"FASTDDS_DEFAULT_PROFILES_FILE": profile}
    explicit = enter(sh, clone, RMW_IMPLEMENTATION="rmw_fastrtps_cpp")
    assert transport(explicit) == {"FASTDDS_DEFAULT_PROFILES_FILE": profile}
    # Jazzy's Fast DDS reads another variable, also in a shell that has that of another distribution.
    (plan.path / "share" / "fastrtps").mkdir(parents=True)
    jazzy = enter(sh, clone, FASTDDS_DEFAULT_PROFILES_FILE=profile)
    assert transport(jazzy) == {"FASTRTPS_DEFAULT_PROFILES_FILE": profile}


@pytest.mark.parametrize(
    ("choice", "value"),
    [
        ("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4"),
        ("FASTRTPS_DEFAULT_PROFILES_FILE", "/mine.xml"),
        ("FASTDDS_DEFAULT_PROFILES_FILE", "/mine.xml"),
        ("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp"),
    ],
)
def test_a_users_own_transport_stays(sh: str, clone: Path, tmp_path: Path, choice: str, value: str) -> None:
    prepare(clone, tmp_path, WITHOUT_ROS)
    inside = transport(enter(sh, clone, **{choice: value}))
    assert inside == ({choice: value} if choice.startswith("FAST") else {})


def test_a_clone_without_set_up_says_what_to_run(sh: str, clone: Path) -> None:
    done = run(sh, f". '{clone}/env.sh'")
    assert done.returncode != 0
    assert f"not set up yet; run: make -C {clone} setup" in done.stderr


def test_a_removed_environment_says_what_to_run(sh: str, clone: Path, tmp_path: Path) -> None:
    plan = prepare(clone, tmp_path, WITHOUT_ROS)
    shutil.rmtree(plan.path)
    done = run(sh, f". '{clone}/env.sh'")
    assert done.returncode != 0
    assert "is gone; run: make setup" in done.stderr


def test_wheels_and_a_sourced_ros_are_not_mixed(sh: str, clone: Path, tmp_path: Path) -> None:
    prepare(clone, tmp_path, WITHOUT_ROS)
    done = run(sh, f". '{clone}/env.sh'", ROS_DISTRO="jazzy", AMENT_PREFIX_PATH="/opt/ros/jazzy")
    assert done.returncode != 0
    assert "ROS 2 jazzy is sourced here, but this clone was set up without ROS" in done.stderr


def test_with_ros_the_installation_is_sourced_where_that_was_not_done(
    sh: str, clone: Path, tmp_path: Path, fake_ros
) -> None:
    prepare(clone, tmp_path, with_ros(fake_ros.prefix))
    inside = enter(sh, clone)
    prefix = clone / ".build" / "ros-jazzy" / "install" / "activesam_ros"
    assert inside["AMENT_PREFIX_PATH"].split(":") == [str(prefix), str(fake_ros.prefix)]


def test_with_ros_sourced_workspaces_stay(sh: str, clone: Path, tmp_path: Path, fake_ros) -> None:
    prepare(clone, tmp_path, with_ros(fake_ros.prefix))
    inside = enter(sh, clone, AMENT_PREFIX_PATH=f"/my/workspace:{fake_ros.prefix}", ROS_DISTRO="jazzy")
    assert inside["AMENT_PREFIX_PATH"].split(":")[1:] == ["/my/workspace", str(fake_ros.prefix)]


def test_with_ros_a_removed_installation_says_what_to_run(sh: str, clone: Path, tmp_path: Path) -> None:
    prepare(clone, tmp_path, with_ros(tmp_path / "removed"))
    done = run(sh, f". '{clone}/env.sh'")
    assert done.returncode != 0
    assert "which is gone; run: make setup" in done.stderr
