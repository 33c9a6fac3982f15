"""Whether a user has chosen how images travel."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TRANSPORT_CHOICES = (
    "FASTDDS_BUILTIN_TRANSPORTS",
    "FASTDDS_DEFAULT_PROFILES_FILE",
    "FASTRTPS_DEFAULT_PROFILES_FILE",
)
"""Variables that choose a transport of Fast DDS."""


def is_chosen(environment: Mapping[str, str]) -> bool:
    """Whether the environment names a transport, a profile file, or a middleware that is not Fast DDS."""
    if not (environment.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp").startswith("rmw_fastrtps"):
        return True
    return any(environment.get(name) for name in TRANSPORT_CHOICES)
