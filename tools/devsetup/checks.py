"""What has to be on the machine before anything is installed."""

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path

from devsetup.errors import SetupError
from devsetup.profiles import Profile

WHEEL_PYTHONS = ((3, 11), (3, 12), (3, 13))

_GIB = 1024**3
_VENV_BYTES = 8 * _GIB
_TEMPORARY_BYTES = 4 * _GIB
_CLONE_BYTES = _GIB // 10

_ROS_MODULES = {
    "rclpy": "ros-{distro}-rclpy",
    "cv_bridge": "ros-{distro}-cv-bridge",
    "vision_msgs": "ros-{distro}-vision-msgs",
    "sensor_msgs": "ros-{distro}-sensor-msgs",
    "cv2": "python3-opencv",
    "numpy": "python3-numpy",
    "catkin_pkg": "python3-catkin-pkg",
}


def check_python(
    profile: Profile, version: tuple[int, int] = sys.version_info[:2], machine: str = platform.machine()
) -> None:
    """Refuse a Python or a machine for which the profile's packages do not exist."""
    if profile.ros is None and machine != "x86_64":
        raise SetupError(
            f"there are no ROS 2 wheels for {machine}, only for x86_64: install ROS 2 Jazzy, Kilted or "
            "Rolling, source it and run set-up again."
        )
    if profile.ros is None and version not in WHEEL_PYTHONS:
        wanted = ", ".join(f"{major}.{minor}" for major, minor in WHEEL_PYTHONS)
        raise SetupError(
            f"Python {version[0]}.{version[1]} cannot be used: the ROS 2 wheels exist for {wanted}. "
            "Name one of these: ACTIVESAM_PYTHON=python3.11 make setup"
        )


def check_tools(profile: Profile, path: str | None = None, include: Path | None = None) -> None:
    """Refuse a machine without a compiler and the like; all that is missing is named at once.

    `path` is the search path for programs, `include` the folder of the Python headers; by default those of
    the running process.
    """
    missing: dict[str, str] = {}
    if not any(shutil.which(name, path=path) for name in ("cc", "gcc", "clang")):
        missing["a C compiler"] = "build-essential"
    if not any(shutil.which(name, path=path) for name in ("c++", "g++", "clang++")):
        missing["a C++ compiler"] = "build-essential"
    if not shutil.which("make", path=path):
        missing["make"] = "build-essential"
    if profile.ros is not None and not shutil.which("cmake", path=path):
        missing["cmake"] = "cmake"
    if profile.ros is not None and not shutil.which("colcon", path=path):
        missing["colcon"] = "python3-colcon-common-extensions"
    headers = include if include is not None else Path(sysconfig.get_paths()["include"])
    if not (headers / "Python.h").is_file():
        missing["the Python headers"] = f"python{sys.version_info[0]}.{sys.version_info[1]}-dev"
    if missing:
        packages = " ".join(dict.fromkeys(missing.values()))
        raise SetupError(
            f"missing on this machine: {', '.join(missing)}. "
            f"On Debian and Ubuntu install them with: sudo apt install {packages}"
        )


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def check_space(venv: Path | None, clone: Path, free=lambda path: shutil.disk_usage(path).free) -> None:
    """Refuse to start what would fill a disk. `venv` is None where it exists already.

    `free` returns a folder's free bytes.
    """
    needs: list[tuple[Path, int, str]] = [(clone, _CLONE_BYTES, "the messages")]
    if venv is not None:
        needs.append((venv, _VENV_BYTES, "the virtual environment (ACTIVESAM_VENV names another place)"))
        needs.append(
            (Path(tempfile.gettempdir()), _TEMPORARY_BYTES, "pip's downloads (TMPDIR names another place)")
        )
    wanted: dict[int, tuple[Path, int, list[str]]] = {}
    for path, size, purpose in needs:
        existing = _existing(path)
        # What lies on the same disk adds up.
        where, total, purposes = wanted.get(existing.stat().st_dev, (existing, 0, []))
        wanted[existing.stat().st_dev] = (where, total + size, [*purposes, purpose])
    for where, total, purposes in wanted.values():
        left = free(where)
        if left < total:
            raise SetupError(
                f"not enough free space at {where}: {left / _GIB:.1f} GiB free, {total / _GIB:.1f} GiB "
                f"wanted for {' and '.join(purposes)}. Free some space and run set-up again."
            )


def check_ros_python(profile: Profile, python: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Check that the ROS installation has what the node needs; return versions of its packages.

    Raises SetupError that names every missing module with the system package that brings it.
    """
    assert profile.ros is not None
    code = (
        "import importlib, json, sys\n"
        "found = {}\n"
        f"for name in {sorted(_ROS_MODULES)!r}:\n"
        "    try:\n"
        "        found[name] = str(getattr(importlib.import_module(name), '__version__', ''))\n"
        "    except ImportError as error:\n"
        "        print(f'{name}: {error}', file=sys.stderr)\n"
        "print(json.dumps(found))\n"
    )
    result = subprocess.run(
        [python, "-c", code],
        env={**environ, "PYTHONNOUSERSITE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise SetupError(f"{python} cannot look at the ROS installation: {result.stderr.strip()}")
    found: dict[str, str] = json.loads(result.stdout.splitlines()[-1])
    missing = [name for name in _ROS_MODULES if name not in found]
    if "rclpy" in missing:
        raise SetupError(
            f"{python} cannot import rclpy of ROS 2 {profile.ros.distro}: {result.stderr.strip()}. "
            "Set-up has to run with the Python of the distribution: leave other environments (conda, pyenv, "
            "venv), or name it: ACTIVESAM_PYTHON=/usr/bin/python3 make setup"
        )
    if missing:
        packages = " ".join(_ROS_MODULES[name].format(distro=profile.ros.distro) for name in missing)
        raise SetupError(
            f"the ROS installation lacks {', '.join(missing)}: install them with: sudo apt install {packages}"
        )
    return found


def clean_environ(environ: Mapping[str, str], profile: Profile) -> dict[str, str]:
    """The environment for everything that set-up runs: no other Python's packages leak in.

    With ROS its paths stay; without, search paths that a shell may carry (another clone's, say) are dropped.
    """
    drop = {"PYTHONHOME", "VIRTUAL_ENV", "PIP_REQUIRE_VIRTUALENV", "PIP_USER", "PIP_TARGET", "PIP_PREFIX"}
    # Set by tools/setup.sh and by make for themselves alone.
    drop |= {"PYTHONDONTWRITEBYTECODE", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"}
    if profile.ros is None:
        drop |= {
            "PYTHONPATH",
            "AMENT_PREFIX_PATH",
            "CMAKE_PREFIX_PATH",
            "COLCON_PREFIX_PATH",
            "LD_LIBRARY_PATH",
        }
    kept = {name: value for name, value in environ.items() if name not in drop}
    kept["PYTHONNOUSERSITE"] = "1"
    kept["LC_ALL"] = environ.get("LC_ALL", "C.UTF-8")
    kept["PATH"] = environ.get("PATH", os.defpath)
    return kept
