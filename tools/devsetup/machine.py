"""The machine: with a sourced ROS 2, or with ROS 2 from wheels, and whether it has what set-up needs."""

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from devsetup.distributions import (
    AS_WHEELS,
    DEFAULT,
    DISTRIBUTIONS,
    TOO_OLD,
    WHEEL_MACHINE,
    WHEEL_PYTHONS,
    Distribution,
    listed,
)
from devsetup.progress import SetupError

WHEELS = "wheels"
ROS = "ros"


@dataclass(frozen=True)
class RosInstallation:
    """A sourced ROS 2: the distribution's name ("unknown" if it does not say) and its prefix."""

    distro: str
    prefix: Path


@dataclass(frozen=True)
class Profile:
    """The kind of machine, and its distribution.

    Attributes:
        name: "wheels" or "ros".
        distribution: the row of the table; None for a sourced one that the table does not know.
        ros: the sourced installation; set with "ros" only.
    """

    name: str
    distribution: Distribution | None
    ros: RosInstallation | None = None

    @property
    def distro(self) -> str:
        """The distribution's name."""
        return self.ros.distro if self.ros else self.distribution.name if self.distribution else "unknown"

    def describe(self) -> str:
        """One phrase for the progress output."""
        if self.ros is None:
            return f"no ROS is sourced: ROS 2 {self.distribution.title} from Python wheels"
        return f"ROS 2 {self.ros.distro} in {self.ros.prefix}"

    def warnings(self, today: date) -> list[str]:
        """Return what a user should know and set-up goes on with all the same."""
        if self.distribution is None:
            return [
                f"ROS 2 {self.distro} is not known here and was not tried; known are {listed(last='and')}. "
                "Should something fail, this may be why."
            ]
        if self.distribution.has_ended(today):
            return [f"ROS 2 {self.distribution.title} has had no updates since {self.distribution.until}."]
        return []


def detect_profile(environ: Mapping[str, str], opt: Path = Path("/opt/ros")) -> Profile:
    """Decide from the environment's variables, and the folders they name, which profile applies.

    Raises SetupError for a ROS that cannot be used, for one that is installed but not sourced, and for a `DISTRO` that
    cannot be had.
    """
    distro = environ.get("ROS_DISTRO", "")
    wanted = environ.get("DISTRO", "")
    if environ.get("ROS_VERSION") == "1":
        raise SetupError(
            f"ROS 1 ({distro or 'unknown'}) is sourced, but the package is for ROS 2: open a shell without "
            f"ROS, or source ROS 2 {listed()}."
        )
    if distro in TOO_OLD:
        raise SetupError(
            f"ROS 2 {distro} cannot be used: its Python is older than 3.11, which transformers needs for "
            f"SAM 3. Use {listed()}, or a shell in which no ROS is sourced, with Python {_pythons()}: "
            "ROS 2 then comes from Python wheels."
        )
    prefixes = [Path(entry) for entry in environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if entry]
    # A prefix that is a virtual environment is the one this set-up has made, after `source env.sh`.
    installations = [
        prefix
        for prefix in prefixes
        if (prefix / "share" / "rclpy" / "package.xml").is_file() and not (prefix / "pyvenv.cfg").exists()
    ]
    if installations:
        distro = distro or "unknown"
        if wanted not in ("", distro):
            raise SetupError(
                f"DISTRO={wanted} asks for ROS 2 from Python wheels, but ROS 2 {distro} is sourced here: "
                "run set-up in a shell without ROS, or without DISTRO."
            )
        return Profile(ROS, DISTRIBUTIONS.get(distro), RosInstallation(distro, installations[-1]))
    if not wanted and distro and (opt / distro / "setup.bash").is_file():
        inside = any((prefix / "pyvenv.cfg").exists() for prefix in prefixes)
        hint = "open a new shell and " if inside else ""
        raise SetupError(
            f"ROS 2 {distro} is installed but not sourced: {hint}run `source {opt / distro}/setup.bash` "
            "first, or `unset ROS_DISTRO` to use ROS 2 from Python wheels instead."
        )
    if wanted and wanted not in AS_WHEELS:
        known = (
            f"there are no Python wheels of ROS 2 {wanted}" if wanted in DISTRIBUTIONS else "it is not known"
        )
        raise SetupError(
            f"DISTRO={wanted} cannot be set up without ROS: {known}. Choose one of {', '.join(AS_WHEELS)}, "
            f"or install and source ROS 2 {listed()}."
        )
    return Profile(WHEELS, DISTRIBUTIONS[wanted or DEFAULT])


def _pythons() -> str:
    first, last = (".".join(map(str, version)) for version in (WHEEL_PYTHONS[0], WHEEL_PYTHONS[-1]))
    return f"{first} to {last}"


_GIB = 1024**3
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
    if profile.ros is not None:
        return
    if machine != WHEEL_MACHINE:
        raise SetupError(
            f"there are no Python wheels of ROS 2 for {machine}, only for {WHEEL_MACHINE}: install ROS 2 "
            f"{listed()} from its packages, source it and run set-up again."
        )
    if version not in WHEEL_PYTHONS:
        raise SetupError(
            f"Python {version[0]}.{version[1]} cannot be used: the ROS 2 wheels exist for {_pythons()}. "
            "Name one of these: ACTIVESAM_PYTHON=python3.12 make setup"
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


def check_space(
    venv: Path | None, clone: Path, gib: float = 8.0, free=lambda path: shutil.disk_usage(path).free
) -> None:
    """Refuse to start what would fill a disk. `venv`, which takes `gib` GiB, is None where it exists already.

    `free` returns a folder's free bytes.
    """
    needs: list[tuple[Path, int, str]] = [(clone, _CLONE_BYTES, "the messages")]
    if venv is not None:
        needs.append((venv, int(gib * _GIB), "the virtual environment (ACTIVESAM_VENV names another place)"))
        needs.append(
            (
                Path(tempfile.gettempdir()),
                int(gib * _GIB) // 2,
                "pip's downloads (TMPDIR names another place)",
            )
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
    """Return the environment for everything that set-up runs, without packages of other Pythons.

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
