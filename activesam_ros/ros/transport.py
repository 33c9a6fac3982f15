"""Whether the DDS transport in use carries camera images."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")


def transport_warning(environment: Mapping[str, str], middleware: str) -> str | None:
    """What to tell the user if images would be lost without a word; None if nothing is known to be wrong.

    Fast DDS's default transport loses best-effort images above about 0.5 MB. LARGE_DATA carries them, but
    rmw_fastrtps replaces it when discovery is limited to this machine.

    Args:
        environment: the process's environment variables.
        middleware: name of the middleware in use, such as "rmw_fastrtps_cpp".
    """
    if not middleware.startswith("rmw_fastrtps") or any(environment.get(name) for name in _PROFILES):
        return None
    if not environment.get("FASTDDS_BUILTIN_TRANSPORTS"):
        return (
            "best-effort images above about 0.5 MB get lost in Fast DDS's default transport: set "
            "FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA for this node and for the camera's"
        )
    local = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper() == "LOCALHOST"
    if local and environment["FASTDDS_BUILTIN_TRANSPORTS"].upper().startswith("LARGE_DATA"):
        return (
            "discovery is limited to this machine, which switches FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA off, "
            "and best-effort images above about 0.5 MB get lost: unset ROS_AUTOMATIC_DISCOVERY_RANGE and "
            "separate machines by ROS_DOMAIN_ID instead"
        )
    return None
