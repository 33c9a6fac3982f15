"""Which of the two kinds of machine this is: one with a sourced ROS 2, or one that gets ROS 2 from wheels."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devsetup.errors import SetupError

KNOWN_DISTROS = ("jazzy", "kilted", "rolling")

# Released with Python 3.10 or older, for which the transformers release in use does not exist.
TOO_OLD_DISTROS = (
    "ardent", "bouncy", "crystal", "dashing", "eloquent", "foxy", "galactic", "humble", "iron",
)  # fmt: skip

WHEELS = "wheels"
ROS = "ros"


@dataclass(frozen=True)
class RosInstallation:
    """A sourced ROS 2: the distribution's name ("unknown" if it does not say) and its prefix."""

    distro: str
    prefix: Path


@dataclass(frozen=True)
class Profile:
    """The kind of machine: `name` is "wheels" or "ros"; `ros` is set for the latter only."""

    name: str
    ros: RosInstallation | None = None

    def describe(self) -> str:
        """One phrase for the progress output."""
        if self.ros is None:
            return "no ROS is sourced: ROS 2 Kilted from Python wheels"
        return f"ROS 2 {self.ros.distro} in {self.ros.prefix}"


def detect_profile(environ: Mapping[str, str], opt: Path = Path("/opt/ros")) -> Profile:
    """Decide from the environment's variables (and the folders they name) which profile applies.

    Raises SetupError for a ROS that cannot be used, and for one that is installed but not sourced.
    """
    distro = environ.get("ROS_DISTRO", "")
    if environ.get("ROS_VERSION") == "1":
        raise SetupError(
            f"ROS 1 ({distro or 'unknown'}) is sourced, but the package is for ROS 2: open a shell without "
            "ROS, or source ROS 2 " + ", ".join(KNOWN_DISTROS) + "."
        )
    if distro in TOO_OLD_DISTROS:
        raise SetupError(
            f"ROS 2 {distro} cannot be used: its Python is older than 3.11, which transformers needs for "
            f"SAM 3. Use {', '.join(KNOWN_DISTROS[:-1])} or {KNOWN_DISTROS[-1]}, or a shell in which no "
            "ROS is sourced, with Python 3.11 to 3.13: ROS 2 then comes from Python wheels."
        )
    prefixes = [Path(entry) for entry in environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if entry]
    # A prefix that is a virtual environment is the one this set-up has made, after `source env.sh`.
    installations = [
        prefix
        for prefix in prefixes
        if (prefix / "share" / "rclpy" / "package.xml").is_file() and not (prefix / "pyvenv.cfg").exists()
    ]
    if installations:
        return Profile(ROS, RosInstallation(distro or "unknown", installations[-1]))
    if distro and (opt / distro / "setup.bash").is_file():
        if any((prefix / "pyvenv.cfg").exists() for prefix in prefixes):
            hint = "open a new shell and "
        else:
            hint = ""
        raise SetupError(
            f"ROS 2 {distro} is installed but not sourced: {hint}run `source {opt / distro}/setup.bash` "
            "first, or `unset ROS_DISTRO` to use ROS 2 from Python wheels instead."
        )
    return Profile(WHEELS)
