"""Write a folder as a whole or not at all."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from activesam_ros.errors import DatasetError
from activesam_ros.system.files import wait_for_disk, wait_for_entries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def require_free(out: Path, overwrite: bool, mark: str, what: str) -> None:
    """Refuse a folder that is there, unless it may be overwritten and holds the file `mark`, as `what` does.

    Raises:
        DatasetError: it is refused.
    """
    if out.exists():
        if not overwrite:
            raise DatasetError(f"{out} exists; give another name, or --overwrite")
        if not (out / mark).is_file():
            raise DatasetError(f"{out} is no {what}, so it is not overwritten; give another name")


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Yield a folder to write to, which replaces `out` at the end; after an exception `out` is as before.

    What it holds is on the disk before it has its name, so that a power cut leaves nothing that only looks whole.

    Raises:
        DatasetError: it cannot be written.
    """
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        # Storage files are named after the folder that they are written to.
        yield partial / out.name
        wait_for_disk(partial / out.name)
        if out.exists():
            out.rename(partial / ".before")
        (partial / out.name).rename(out)
        wait_for_entries(out.parent)
    except OSError as error:
        raise DatasetError(f"{out} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
