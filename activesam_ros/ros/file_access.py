"""Which files the parameters of the running node may name: whoever sets them may be anybody in the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from activesam_ros.configuration.configuration import NO_CACHE
from activesam_ros.errors import SettingsError, VocabularyError
from activesam_ros.model.folder import BUNDLED
from activesam_ros.vocabulary.files import load_vocabulary_file, preset_folder, preset_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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

    def check(self, name: str, value: str) -> None:
        """Raise SettingsError if a parameter would name a file elsewhere; says nothing about that file."""
        if name not in _NAMING or not value or value in self._words(name):
            return
        path = _existing(value)
        if name == "model" and path is None and value[0] not in "./~" and ".." not in value:
            return  # A name on the hub, or of nothing.
        try:
            target = (path or Path(value).expanduser()).resolve()
        except (OSError, RuntimeError, ValueError):
            target = None
        if target is not None and any(target.is_relative_to(folder) for folder in self._folders):
            return
        what = {"vocabulary_file": "a preset or a file", "model": "a hub id, 'toytown' or a folder"}
        folders = ", ".join(map(str, self._folders)) or "no folder"
        raise SettingsError(
            f"{name} is {value[:200]!r}; while the node runs it can be {what.get(name, 'a folder')} below {folders}; "
            "start the node with others in allowed_folders"
        )

    def load(self, source: str) -> VocabularyFile:
        """Read a vocabulary, as `load_vocabulary_file`; a refusal quotes nothing of the file.

        Raises:
            ActiveSamError: the file lies elsewhere, cannot be read or is no vocabulary.
        """
        self.check("vocabulary_file", source)
        try:
            file = load_vocabulary_file(source)
            file.vocabulary()
        except VocabularyError as error:
            if not isinstance(error.__cause__, VocabularyError):
                raise
            raise VocabularyError(unquoted(source, getattr(error.__cause__, "line", None))) from None
        return file

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
