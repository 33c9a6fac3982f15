"""Two set-ups at once: the second waits for the first."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devsetup.progress import Progress

_POLL_SECONDS = 0.2
_QUIET_SECONDS = 20.0


@contextmanager
def exclusive(path: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock file `path`, waiting audibly for another holder; the kernel frees it if one dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        told = None
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if told is None or time.monotonic() - told > _QUIET_SECONDS:
                    progress.say(f"another set-up is at work, waiting for it (lock: {path})")
                    told = time.monotonic()
                time.sleep(_POLL_SECONDS)
        yield
