"""What the pages of one studio share besides the session: who may change it, and the files that it may touch."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

from activesam_ros.errors import ActiveSamError, VocabularyError
from activesam_ros.system.files import write_atomically
from activesam_ros.vocabulary.files import MAX_BYTES, preset_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

IDLE_SECONDS = 120.0
"""After so long without a change, somebody else may change without asking for it."""

_SUFFIXES = (".yaml", ".yml", ".txt", ".json", ".csv", ".tsv")


class Control:
    """Of many who look, one changes: the first who does, until idle, gone, or another one takes over."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._holder: str | None = None
        self._since = 0.0

    def holds(self, page: str) -> bool:
        """Return whether a page may change now, without taking anything from another one."""
        with self._lock:
            return self._free() or self._holder == page

    def claim(self, page: str) -> bool:
        """Take control if it is free, and keep it; return whether the page has it."""
        with self._lock:
            if not (self._free() or self._holder == page):
                return False
            self._holder, self._since = page, self._now()
            return True

    def take(self, page: str) -> None:
        """Take control from whoever has it."""
        with self._lock:
            self._holder, self._since = page, self._now()

    def release(self, page: str) -> None:
        """Give control back, if the page has it."""
        with self._lock:
            if self._holder == page:
                self._holder = None

    def _free(self) -> bool:
        return self._holder is None or self._now() - self._since > IDLE_SECONDS


class VocabularyFiles:
    """The vocabularies that a studio may read, and where it may write them: below the folders that were given."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Allow folders.

        Raises:
            ActiveSamError: one of them is not there.
        """
        for folder in folders:
            if not folder.is_dir():
                raise ActiveSamError(f"there is no folder {folder}; make it, or name another one")
        self._folders = tuple(folder.resolve() for folder in folders)

    @property
    def writable(self) -> bool:
        """Whether a folder was given to save in."""
        return bool(self._folders)

    def names(self) -> list[str]:
        """Return the presets, and the files in the folders, each by its path."""
        found = [
            str(path)
            for folder in self._folders
            for path in sorted(folder.iterdir())
            if path.suffix.lower() in _SUFFIXES and path.is_file() and self._allowed(path)
        ]
        return [*preset_names(), *found]

    def source(self, name: str) -> str:
        """Return what a file is loaded by, if it is one of `names`.

        Raises:
            VocabularyError: it is not.
        """
        if name not in self.names():
            raise VocabularyError(
                f"{name!r} is neither a preset nor a vocabulary in the given folders; choose one of the list"
            )
        return name

    def save(self, name: str, text: str) -> Path:
        """Write a vocabulary into the first folder, as a whole or not at all; one of that name is replaced.

        Args:
            name: of the file, without a folder; `.yaml` is added where it is missing.
            text: its content.

        Raises:
            VocabularyError: there is no folder, or the name is not one of a file.
            ActiveSamError: the file cannot be written.
        """
        if not self._folders:
            raise VocabularyError(
                "no folder was given to save in; start the studio with --folder DIR, or download the file"
            )
        name = name.strip()
        if not name.lower().endswith((".yaml", ".yml")):
            name += ".yaml"
        if not re.fullmatch(r"[\w\- ][\w.\- ]{0,120}", name):
            raise VocabularyError(
                f"{name!r} cannot be the name of a file here; use letters, digits, spaces, '-' and '_'"
            )
        path = self._folders[0] / name
        if not self._allowed(path):
            raise VocabularyError(f"{name} leads out of {self._folders[0]}; choose another name")
        if len(text) > MAX_BYTES:
            raise VocabularyError("the vocabulary is too large for a file; remove classes")
        try:
            write_atomically(path, text.encode())
        except OSError as error:
            raise ActiveSamError(f"{path} cannot be written ({error.strerror})") from error
        return path

    def _allowed(self, path: Path) -> bool:
        return any(path.resolve().is_relative_to(folder) for folder in self._folders)
