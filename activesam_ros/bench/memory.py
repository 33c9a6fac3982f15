"""Memory of this process as Linux accounts for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """Bytes in memory.

    Attributes:
        resident: of the process, in all.
        anonymous: of them, without pages of files, which the system may drop and read again.
        peak: most that was ever resident.
    """

    resident: int
    anonymous: int
    peak: int


def memory(status: Path = Path("/proc/self/status")) -> Memory:
    """The memory of a process from its status file.

    Raises:
        OSError, KeyError: there is no such file, or it has other fields.
    """
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return Memory(*(int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon", "VmHWM")))
