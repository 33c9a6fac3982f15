"""What figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine(threads: int) -> str:
    """Processor, memory, software and how busy the machine was, in one line."""
    import torch
    import transformers

    return ", ".join(
        [
            f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
            f"{_memory_gib():.0f} GiB of memory",
            f"{threads} torch thread{'s' if threads > 1 else ''}",
            f"Python {platform.python_version()}",
            f"torch {torch.__version__}",
            f"transformers {transformers.__version__}",
            f"load average before the start {os.getloadavg()[0]:.1f}",
        ]
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
