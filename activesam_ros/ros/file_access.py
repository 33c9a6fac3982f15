"""Which files the parameters of the running node may name: whoever sets them may be anybody in the network."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activesam_ros.configuration.configuration import NO_CACHE
from activesam_ros.errors import SettingsError, VocabularyError
from activesam_ros.model.folder import BUNDLED
from activesam_ros.vocabulary.files import load_vocabulary_file, preset_folder, preset_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activesam_ros.configuration.configuration import ModelChoice
    from activesam_ros.vocabulary.files import VocabularyFile

_NAMING = ("vocabulary_file", "model", "prompt_cache")


class FileAccess:
    """The folders below which files may be named later, and vocabularies read from there without quoting them."""

    def __init__(self, folders: Sequence[str], given: Mapping[str, object]) -> None:
        """Remember the folders.

        Args:
            folders: the parameter `allowed_folders`; empty: the package's configuration, and the folders of `given`.
            given: the parameters at the start.
        """
        presets = preset_folder()
        own = [presets.parent] if presets else []
        beside = [_parent(path) for name in _NAMING if (path := _existing(str(given.get(name, ""))))]
        chosen = [Path(one).expanduser() for one in folders] or [*own, *beside]
        self._folders = tuple(dict.fromkeys(one.resolve() for one in chosen))
        self._given = {name: str(given.get(name, "")) for name in _NAMING}

    def check(self, name: str, value: str) -> Path | None:
        """Return the real path that a parameter would name; None: it would name none.

        Raises:
            SettingsError: the path lies elsewhere; says nothing about what is there.
        """
        if name not in _NAMING or not value or value in self._words(name):
            return None
        path = _existing(value)
        if name == "model" and path is None and value[0] not in "./~" and ".." not in value:
            return None  # A name on the hub, or of nothing.
        try:
            target = (path or Path(value).expanduser()).resolve()
        except (OSError, RuntimeError, ValueError):
            target = None
        if target is not None and self._below(target):
            return target
        what = {"vocabulary_file": "a preset or a file", "model": "a hub id, 'toytown' or a folder"}
        folders = ", ".join(map(str, self._folders)) or "no folder"
        raise SettingsError(
            f"{name} is {value[:200]!r}; while the node runs it can be {what.get(name, 'a folder')} below {folders}; "
            "start the node with others in allowed_folders"
        )

    def real(self, choice: ModelChoice) -> ModelChoice:
        """Return what to load for a choice: what a link of an accepted name leads to may have changed since.

        What was given at the start stays as it was given.

        Raises:
            SettingsError: a path leads elsewhere by now.
        """
        found: dict[str, Any] = {}
        for name in ("model", "prompt_cache"):
            value = str(getattr(choice, name))
            path = None if value == self._given[name] else self.check(name, value)
            if path is not None:
                found[name] = str(path)
        return replace(choice, **found)

    def load(self, source: str) -> VocabularyFile:
        """Read a vocabulary, as `load_vocabulary_file`; a refusal quotes nothing of the file.

        Raises:
            ActiveSamError: the file lies elsewhere, cannot be read or is no vocabulary.
        """
        path = self.check("vocabulary_file", source)
        try:
            file = load_vocabulary_file(source, os.open if path is None else self._open)
            file.vocabulary()
        except VocabularyError as error:
            if not isinstance(error.__cause__, VocabularyError):
                raise
            raise VocabularyError(unquoted(source, getattr(error.__cause__, "line", None))) from None
        return file

    def _open(self, path: str, flags: int) -> int:
        """Open a file as `os.open` does, unless what is opened, whatever links lead to by now, lies elsewhere."""
        descriptor = os.open(path, flags)
        if not self._below(Path(f"/proc/self/fd/{descriptor}").readlink()):
            os.close(descriptor)
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return descriptor

    def _below(self, path: Path) -> bool:
        return any(path.is_relative_to(folder) for folder in self._folders)

    @staticmethod
    def _words(name: str) -> tuple[str, ...]:
        return {"vocabulary_file": preset_names(), "model": tuple(BUNDLED)}.get(name, (NO_CACHE,))


def unquoted(source: str, line: int | None = None) -> str:
    """Say that a file is no vocabulary for the model, without a word of it."""
    where = "" if line is None else f", line {line}"
    return (
        f"{source}{where}: this is not a vocabulary that the model can use; `activesam-vocabulary {source}` on the "
        "machine of the node says why"
    )


def _existing(text: str) -> Path | None:
    if not text:
        return None
    try:
        path = Path(text).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):
        return None


def _parent(path: Path) -> Path:
    """Return the folder of a file; never the root, below which everything lies."""
    resolved = path.resolve()
    return resolved if resolved.parent == resolved.parent.parent else resolved.parent
