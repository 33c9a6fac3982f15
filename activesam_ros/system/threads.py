"""How torch's threads behave on a machine that has other work too."""

from __future__ import annotations

import os


def let_waiting_threads_sleep() -> None:
    """Makes OpenMP's threads sleep while they wait, unless the user chose otherwise (OMP_WAIT_POLICY).

    By default they spin, and where another busy process wants the same cores every parallel step then waits for a
    time slice: a frame takes 20 times as long. OpenMP reads the policy when it is loaded, so call this before torch
    is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
