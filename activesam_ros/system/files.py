"""Files that other processes may read while they are written."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def cache_folder() -> Path:
    """Where this program keeps what can be made again: `activesam_ros` in the XDG cache folder."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root.startswith("/") else Path.home() / ".cache") / "activesam_ros"


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all: readers see the old content or the new, also if this process is killed.

    It does not wait for the disk, so that after a power cut a file may be empty; readers have to check what they
    read.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        # Not through tempfile, whose files only their owner may read: another user may need this one.
        with temporary.open("xb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
