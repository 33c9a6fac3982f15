"""Transports that carry camera images: the profile of Fast DDS that comes with the package, and what users chose.

It imports nothing of ROS, so that launch files and set-up tests may ask it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from activesam_ros.system.files import shipped

if TYPE_CHECKING:
    from collections.abc import Mapping

BUILTIN = "FASTDDS_BUILTIN_TRANSPORTS"
FAST_DDS_2 = "FASTRTPS_DEFAULT_PROFILES_FILE"
FAST_DDS_3 = "FASTDDS_DEFAULT_PROFILES_FILE"
TRANSPORT_CHOICES = (BUILTIN, FAST_DDS_3, FAST_DDS_2)
"""Environment variables that choose a transport of Fast DDS."""

_PROFILE = Path("config", "fastdds.xml")
_LOST = "best-effort images above about 0.5 MB get lost"


@dataclass(frozen=True)
class Transport:
    """How a process sends and receives.

    Attributes:
        environment: its variables.
        middleware: such as "rmw_fastrtps_cpp".
    """

    environment: Mapping[str, str]
    middleware: str = ""

    @property
    def is_fast_dds(self) -> bool:
        """Whether the middleware is Fast DDS, as it is by default."""
        name = self.middleware or self.environment.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp"
        return name.startswith("rmw_fastrtps")

    @property
    def is_chosen(self) -> bool:
        """Whether the user chose a transport, a profile file, or a middleware that is not Fast DDS."""
        return not self.is_fast_dds or any(self.environment.get(name) for name in TRANSPORT_CHOICES)

    @property
    def profile_variable(self) -> str:
        """The variable in which this distribution's Fast DDS reads the name of a profile file."""
        prefixes = filter(None, self.environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep))
        # Fast DDS 2, of Jazzy, calls itself fastrtps; Fast DDS 3 reads that variable too, and warns.
        older = any(Path(prefix, "share", "fastrtps").is_dir() for prefix in prefixes)
        return FAST_DDS_2 if older else FAST_DDS_3

    @property
    def is_large_data(self) -> bool:
        """Whether it meets only processes that have set LARGE_DATA, too."""
        return self.is_fast_dds and self.environment.get(BUILTIN, "").upper().startswith("LARGE_DATA")

    def warning(self, mapped: str | None = None) -> str | None:
        """Warn of what loses camera images silently; None if nothing is known to be wrong.

        Args:
            mapped: what `/proc/self/maps` says once there is a node; None: unknown.
        """
        if not self.is_fast_dds:
            return None
        profile = self._profile()
        unread = self.environment.get(FAST_DDS_3)
        if unread and not profile and self.profile_variable == FAST_DDS_2:
            return (
                f"the Fast DDS of this distribution does not read {FAST_DDS_3}, so {_LOST}: "
                f"set {FAST_DDS_2}={unread} instead"
            )
        if profile and not Path(profile).is_file():
            return f"there is no profile of Fast DDS {profile}, so {_LOST}: {self._remedy()}"
        if not self.is_chosen:
            return f"{_LOST} in Fast DDS's default transports: {self._remedy()}"
        local = self.environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper() == "LOCALHOST"
        if local and self.is_large_data and not profile:
            return (
                f"discovery is limited to this machine, which switches {BUILTIN}=LARGE_DATA off, and {_LOST}: "
                f"unset {BUILTIN}, and {self._remedy()}"
            )
        wants = profile.endswith(str(_PROFILE)) if profile else self.is_large_data
        if wants and mapped is not None and "/dev/shm/fast" not in mapped:
            return (
                f"Fast DDS got no shared memory, so {_LOST}: {_space()}; see that every process has 70 MB of it, "
                "with Docker by --ipc host or --shm-size 1g, and remove what killed processes left there with "
                "`fastdds shm clean`"
            )
        return None

    def why_lost(self) -> str:
        """Say how images of a discovered publisher get lost on the way."""
        if not self.is_fast_dds:
            return f"its images are lost on the way, of which {self.middleware} has settings"
        if self.is_large_data and not self._profile():
            return (
                "its images are lost on the way, which happens to those above about 8 MB with "
                f"{BUILTIN}=LARGE_DATA: unset it and {self._remedy()}"
            )
        return (
            "its images are lost on the way, which Fast DDS does with those above about 0.5 MB unless the camera's "
            f"process has the transport for them: {self._remedy()}"
        )

    def why_unseen(self) -> str:
        """Say why a camera that runs may not be discovered; a clause that begins with "or"."""
        if self.is_large_data and not self._profile():
            return (
                f"or see that it has {BUILTIN}=LARGE_DATA too, since this node has it and then meets no process with "
                "other transports"
            )
        middleware = self.middleware or "the default one"
        return f"or see that it has the same ROS_DOMAIN_ID, kind of discovery and middleware ({middleware})"

    def _profile(self) -> str:
        """Return the profile file that is read; empty: none."""
        newer = self.profile_variable == FAST_DDS_3
        return self.environment.get(FAST_DDS_2) or (newer and self.environment.get(FAST_DDS_3)) or ""

    def _remedy(self) -> str:
        return f"set {self.profile_variable}={transport_profile() or _PROFILE} for this node and for the camera's"


def transport_profile() -> Path | None:
    """Return the shipped profile of Fast DDS that carries camera images; None if the installation lacks it."""
    return shipped(_PROFILE)


def mapped_files() -> str | None:
    """Return the files that this process has mapped into memory, as Linux lists them; None on other systems."""
    try:
        return Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _space() -> str:
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return "there is no /dev/shm"
    free, size = (blocks * found.f_frsize / 1e6 for blocks in (found.f_bavail, found.f_blocks))
    return f"of the {size:.0f} MB of /dev/shm {free:.0f} MB are free"
