from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import pytest
from devsetup import virtualenv
from devsetup.distributions import DISTRIBUTIONS
from devsetup.machine import ROS, WHEELS, Profile, RosInstallation
from devsetup.progress import Progress, SetupError

WITHOUT_ROS, KILTED = (Profile(WHEELS, DISTRIBUTIONS[name]) for name in ("jazzy", "kilted"))
WITH_ROS = Profile(ROS, DISTRIBUTIONS["jazzy"], RosInstallation("jazzy", Path("/opt/ros/jazzy")))
NUMPY_1 = {"numpy": "1.26.4"}


def given(plan: virtualenv.VenvPlan, option: str) -> list[str]:
    """The names of the files that pip is given with an option."""
    pairs = zip(plan.pip_arguments, plan.pip_arguments[1:], strict=False)
    return [Path(value).name for name, value in pairs if name == option]


def test_the_wheels_profile_installs_the_library_once_and_each_distribution_apart(
    clone: Path, tmp_path: Path
) -> None:
    jazzy, kilted = (
        virtualenv.plan_venv(profile, clone, {"XDG_CACHE_HOME": str(tmp_path)})
        for profile in (WITHOUT_ROS, KILTED)
    )
    assert jazzy.library == kilted.library
    assert jazzy.steps == (jazzy.library, jazzy)
    assert given(jazzy.library, "--requirement") == ["library.txt", "system.txt"]
    assert given(jazzy.library, "--constraint") == ["wheels.constraints.txt"]
    assert jazzy.path != kilted.path
    assert given(kilted, "--constraint") == ["wheels.constraints.txt", "kilted.constraints.txt"]
    assert "ros-jazzy-rclpy" in jazzy.pip_arguments
    assert "ros-kilted-rclpy" in kilted.pip_arguments
    assert "--system-site-packages" not in jazzy.venv_arguments
    assert jazzy.vision_msgs is not None


def test_every_wheel_of_a_distribution_has_a_version(clone: Path) -> None:
    for profile in (WITHOUT_ROS, KILTED):
        pins = (clone / "requirements" / f"{profile.distro}.constraints.txt").read_text().splitlines()
        pinned = {line.split("==")[0] for line in pins if not line.startswith("#")}
        assert pinned and all(name.startswith("ros-") for name in pinned)
        # Kilted's were frozen before some of its names for one distribution were pinned too.
        wanted = {
            name.replace(f"ros-{profile.distro}-", "ros-") for name in profile.distribution.requirements()
        }
        assert wanted <= pinned


def test_an_environment_sees_the_packages_and_runs_the_programs_of_the_library(
    clone: Path, tmp_path: Path
) -> None:
    plan = virtualenv.plan_venv(WITHOUT_ROS, clone, {"XDG_CACHE_HOME": str(tmp_path)})
    for one in plan.steps:
        (one.path / "bin").mkdir(parents=True)
        (one.path / "lib" / f"python3.{sys.version_info[1]}" / "site-packages").mkdir(parents=True)
    (plan.path / "bin" / "activate").write_text("its own")
    programs = plan.library.path / "bin"
    (programs / "activate").write_text("the library's")
    (programs / "tool").write_text(f"#!{plan.library.interpreter}\nprint('tool')\n")
    (programs / "binary").write_bytes(b"\x7fELF")
    virtualenv.see_library(plan)
    assert (plan.path / "bin" / "tool").read_text() == f"#!{plan.interpreter}\nprint('tool')\n"
    assert os.access(plan.path / "bin" / "tool", os.X_OK)
    assert (plan.path / "bin" / "binary").readlink() == programs / "binary"
    assert (plan.path / "bin" / "activate").read_text() == "its own"
    (found,) = plan.path.glob("lib/python3.*/site-packages/*.pth")
    assert str(plan.library.path) in found.read_text()


def test_the_ros_profile_keeps_the_distributions_numpy(clone: Path, tmp_path: Path) -> None:
    plan = virtualenv.plan_venv(WITH_ROS, clone, {"XDG_CACHE_HOME": str(tmp_path)}, NUMPY_1)
    assert "--system-site-packages" in plan.venv_arguments
    assert plan.pins == ("numpy==1.26.4",)
    assert given(plan, "--requirement") == ["library.txt"]
    assert given(plan, "--constraint") == ["ros.constraints.txt", plan.pins_file.name]
    assert str(plan.pins_file) in plan.pip_arguments
    assert plan.vision_msgs is None, "the distribution has the real one"


def test_the_ros_profile_asks_pip_for_nothing_that_the_distribution_has(clone: Path) -> None:
    lines = (clone / "requirements" / "library.txt").read_text().splitlines()
    names = {line.split("<")[0].split("=")[0] for line in lines if line and not line.startswith("#")}
    assert {"torch", "torchvision", "transformers", "rosbags"} <= names
    assert not {
        name for name in names if name.startswith(("ros-", "numpy", "opencv", "cv", "colcon", "cmake"))
    }


def test_the_place_is_the_cache_and_a_hash_of_the_constraints(clone: Path, tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    first = virtualenv.plan_venv(WITHOUT_ROS, clone, environ)
    assert first.path.parent == tmp_path / "activesam_ros"
    assert first == virtualenv.plan_venv(WITHOUT_ROS, clone, environ)
    with (clone / "requirements" / "wheels.constraints.txt").open("a") as file:
        file.write("some-package==1.0\n")
    changed = virtualenv.plan_venv(WITHOUT_ROS, clone, environ)
    assert changed.key != first.key
    assert changed.path != first.path
    assert changed.library.path != first.library.path
    assert virtualenv.plan_venv(WITH_ROS, clone, environ, NUMPY_1).path not in (first.path, changed.path)


def test_another_numpy_of_the_distribution_is_another_environment(clone: Path) -> None:
    one, other = (virtualenv.plan_venv(WITH_ROS, clone, {}, {"numpy": v}) for v in ("1.26.4", "2.3.5"))
    assert one.key != other.key


def test_a_relative_cache_folder_is_ignored(clone: Path) -> None:
    plan = virtualenv.plan_venv(WITHOUT_ROS, clone, {"XDG_CACHE_HOME": "relative"})
    assert plan.path.parent == Path("~/.cache/activesam_ros").expanduser()


def test_a_variable_names_another_place(clone: Path, tmp_path: Path) -> None:
    plan = virtualenv.plan_venv(WITHOUT_ROS, clone, {"ACTIVESAM_VENV": str(tmp_path / "mine")})
    assert plan.path == tmp_path / "mine"
    assert plan.library.path == tmp_path / "mine-library"


def ready_environment(clone: Path, path: Path) -> virtualenv.VenvPlan:
    plan = virtualenv.plan_venv(WITHOUT_ROS, clone, {"ACTIVESAM_VENV": str(path)})
    (path / "bin").mkdir(parents=True)
    plan.interpreter.symlink_to(sys.executable)
    stamp = {"key": plan.key, "path": str(path)}
    (path / virtualenv.STAMP).write_text(json.dumps(stamp))
    return plan


def test_a_finished_environment_is_recognised(clone: Path, tmp_path: Path) -> None:
    plan = ready_environment(clone, tmp_path / "venv")
    assert virtualenv.is_ready(plan)


@pytest.mark.parametrize("flaw", ["no stamp", "half a stamp", "other key", "moved", "python gone"])
def test_a_flawed_environment_is_not_ready(clone: Path, tmp_path: Path, flaw: str) -> None:
    plan = ready_environment(clone, tmp_path / "venv")
    stamp = plan.path / virtualenv.STAMP
    if flaw == "no stamp":
        stamp.unlink()
    elif flaw == "half a stamp":
        stamp.write_text(stamp.read_text()[:10])
    elif flaw == "other key":
        stamp.write_text(json.dumps({"key": "0", "path": str(plan.path)}))
    elif flaw == "moved":
        stamp.write_text(json.dumps({"key": plan.key, "path": "/elsewhere"}))
    else:
        plan.interpreter.unlink()
        plan.interpreter.symlink_to(tmp_path / "removed-python")
    assert not virtualenv.is_ready(plan)


def test_a_folder_of_the_users_is_never_removed(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    plan = virtualenv.plan_venv(WITHOUT_ROS, clone, {"ACTIVESAM_VENV": str(tmp_path / "mine")})
    with pytest.raises(SetupError, match="was not made by set-up: remove it, or name another"):
        virtualenv.create(plan, os.environ, Progress(tmp_path / "log"))
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_an_unfinished_environment_is_made_anew(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = virtualenv.plan_venv(WITHOUT_ROS, clone, {"ACTIVESAM_VENV": str(tmp_path / "venv")})
    broken = dataclasses.replace(plan, python="/bin/false")
    for _ in range(2):
        with pytest.raises(SetupError, match="making a virtual environment"):
            virtualenv.create(broken, os.environ, Progress(tmp_path / "log"))
        assert not virtualenv.is_ready(broken)
        (plan.path / "half an installation").touch()
    assert "removing the unfinished or outdated environment" in capsys.readouterr().out


EXPORTED = """\
set_target_properties(std_msgs::std_msgs__rosidl_generator_py PROPERTIES
  INTERFACE_INCLUDE_DIRECTORIES "{paths}"
  INTERFACE_LINK_LIBRARIES "std_msgs::std_msgs__rosidl_generator_c"
)
"""


def test_exported_include_paths_are_rewritten_once(tmp_path: Path) -> None:
    builder = "/build/machine/include/python3.11;/build/machine/site-packages/numpy/_core/include"
    exports = tmp_path / "share" / "std_msgs" / "cmake" / "export_std_msgs__rosidl_generator_pyExport.cmake"
    exports.parent.mkdir(parents=True)
    exports.write_text(EXPORTED.format(paths=builder))
    python, numpy = Path("/here/include/python3.12"), Path("/here/site-packages/numpy/_core/include")
    assert virtualenv.relocate_include_paths(tmp_path, python, numpy) == 1
    assert exports.read_text() == EXPORTED.format(paths=f"{python};{numpy}")
    assert virtualenv.relocate_include_paths(tmp_path, python, numpy) == 0


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("WARNING: Retrying ... Failed to establish a new connection: [Errno 111]", "could not reach"),
        ("ReadTimeoutError(...): Read timed out.", "could not reach"),
        ("ERROR: No matching distribution found for ros-kilted-rclpy", "no ros-kilted-rclpy for Python"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left", "disk is full"),
        ("ERROR: ResolutionImpossible: for help visit", "no set of packages fits"),
    ],
)
def test_failures_of_pip_are_explained(output: str, reason: str) -> None:
    assert reason in virtualenv.explain_pip(output)


def test_other_failures_of_pip_are_left_to_its_own_words() -> None:
    assert virtualenv.explain_pip("ERROR: something never seen before") is None
