"""This machine: a description for measurements, its threads, and how those of torch wait on it."""

from __future__ import annotations

import os
import platform
import signal
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from activesam_ros.errors import ActiveSamError, reason

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that ask a program to end; SIGHUP comes when its terminal is closed."""


def start_thread(thread: threading.Thread) -> None:
    """Start a thread.

    Raises:
        ActiveSamError: the system lets the process have no more threads.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise ActiveSamError(
            f"no thread could be started ({reason(error)}); end other processes, or raise the limit of processes "
            "(ulimit -u, pids.max)"
        ) from error


def machine(threads: int) -> str:
    """Describe processor, memory, software and load of this machine in one line."""
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


def let_waiting_threads_sleep() -> None:
    """Have OpenMP's threads sleep while they wait, unless the user chose otherwise (OMP_WAIT_POLICY).

    By default they spin, and where another busy process wants the same cores every parallel step then waits for a
    time slice: a frame takes 20 times as long. OpenMP reads the policy when it is loaded, so call this before torch
    is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def ignoring_interrupts() -> Iterator[None]:
    """Have processes that are started inside ignore Ctrl-C, which this process alone then handles."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
