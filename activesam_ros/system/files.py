"""The cache folder, and files that other processes may read while they are written."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import string
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCRATCH = "activesam-"
_LOCK = ".lock"


def cache_folder() -> Path:
    """Return the folder of what can be made again: `activesam_ros` in the XDG cache folder."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    if root.startswith("/"):
        return Path(root) / "activesam_ros"
    try:
        home = Path.home()
    except RuntimeError:  # a user without a name and without $HOME, as in containers
        home = Path("/")
    return home / ".cache" / "activesam_ros"


def shipped(relative: Path) -> Path | None:
    """Find what ships beside the sources, or is installed in `share` of their prefix; None: it is not there."""
    package = Path(__file__).resolve().parents[1]
    # How deep packages lie below their prefix differs: lib/python3.12/site-packages, local/lib/..., nothing.
    installed = [folder / "share" / package.name / relative for folder in package.parents]
    return next((path for path in [package.parent / relative, *installed] if path.exists()), None)


def write_atomically(path: Path, content: bytes, durable: bool = False) -> None:
    """Write a file as a whole or not at all: readers see the old or the new content, even if this process is killed.

    Args:
        path: of the file; its folder is made.
        content: of the file.
        durable: wait for the disk. Otherwise the file may be empty after a power cut, so readers have to check it.

    Raises:
        OSError: the folder cannot be created or written to; it names the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_and_rename(path, content, durable)
        except FileNotFoundError:
            # `remove_abandoned_writes` of another process came between opening and locking.
            _write_and_rename(path, content, durable)
    except OSError as error:
        if error.filename is None:  # as of a full disk
            error.filename = str(path)
        raise


def wait_for_disk(path: Path) -> None:
    """Return when a file, or a folder and all that is in it, would be there after a power cut.

    Raises:
        OSError: the disk failed.
    """
    if path.is_dir():
        for one in path.iterdir():
            wait_for_disk(one)
    wait_for_entries(path)


def wait_for_entries(path: Path) -> None:
    """Return when a file, or the names of what is in a folder, would be there after a power cut.

    Raises:
        OSError: the disk failed.
    """
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot do it for folders
            raise
    finally:
        os.close(number)


def _write_and_rename(path: Path, content: bytes, durable: bool) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        # tempfile would make a file that only its owner may read.
        with temporary.open("xb") as file:
            _lock(file)
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
            temporary.replace(path)
            if durable:
                wait_for_entries(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _lock(file: IO[bytes]) -> None:
    with suppress(OSError):  # some network file systems have no locks
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def remove_abandoned_writes(folder: Path) -> None:
    """Remove the temporary files of `write_atomically` whose process was killed."""
    for path in folder.glob(".*.????????"):
        if set(path.suffix[1:]) <= set(string.hexdigits):
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its process lives
                path.unlink(missing_ok=True)


def remove_abandoned_scratch() -> None:
    """Remove the scratch folders of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        with suppress(OSError), (folder / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its process lives
            shutil.rmtree(folder)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a temporary folder, which is removed at the end.

    Raises:
        OSError: there is no temporary folder to write to.
    """
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        with (scratch / f"{_LOCK}.new").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Under its name once it is locked, or another process could take the folder for a killed one's.
            (scratch / f"{_LOCK}.new").rename(scratch / _LOCK)
            yield scratch
