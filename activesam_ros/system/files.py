"""The cache folder, and files that other processes may read while they are written."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of what can be made again: `activesam_ros` in the XDG cache folder."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root.startswith("/") else Path.home() / ".cache") / "activesam_ros"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all: readers see the old or the new content, even if this process is killed.

    It does not wait for the disk: after a power cut the file may be empty, so readers have to check it.

    Raises:
        OSError: the folder cannot be created or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        # tempfile would make a file that only its owner may read.
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
