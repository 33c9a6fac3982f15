"""Vocabularies as files: presets that ship with the package, YAML, JSON, tables and plain text.

`docs/vocabularies.md` describes the formats.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from activesam_ros.errors import VocabularyError
from activesam_ros.system.files import shipped
from activesam_ros.vocabulary.canonical import display_name
from activesam_ros.vocabulary.formats import Content, FormatError, parse_yaml
from activesam_ros.vocabulary.lists import parse_json, parse_table, parse_text
from activesam_ros.vocabulary.palette import class_colours
from activesam_ros.vocabulary.vocabulary import ClassSpec, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PARSERS: Mapping[str, Callable[[str], Content]] = {
    ".yaml": parse_yaml,
    ".yml": parse_yaml,
    ".json": parse_json,
    ".csv": parse_table,
    ".tsv": parse_table,
}

MAX_BYTES = 16_000_000
"""A larger file is taken for something other than a vocabulary."""

_FOLDER = Path("config", "vocabularies")


@dataclass(frozen=True)
class VocabularyFile:
    """What a vocabulary file says.

    Attributes:
        source: the preset's name or the path, as given.
        path: the file that was read.
        classes: in order; a group stands where its first member stood.
        background: name of the class that pixels without a clear winner become; None: the file names none.
        background_threshold: 0 to 1, see `SegmenterSettings`; None: the file names none.
        description: what the vocabulary is for; may be empty.
        origin: where its classes come from (the file's key `source`); may be empty.
    """

    source: str
    path: Path
    classes: tuple[ClassSpec, ...]
    background: str | None = None
    background_threshold: float | None = None
    description: str = ""
    origin: str = ""

    def vocabulary(self) -> Vocabulary:
        """Make the vocabulary with ids 0 … n-1; raise VocabularyError if it has too many classes."""
        try:
            return Vocabulary.from_specs(self.classes, self.background)
        except VocabularyError as error:
            raise VocabularyError(f"{self.source}: {error}") from error


def load_vocabulary_file(source: str | Path, opener: Callable[[str, int], int] = os.open) -> VocabularyFile:
    """Read a vocabulary.

    Args:
        source: a preset's name, or a path to YAML (`.yaml`, `.yml`), JSON, a table (`.csv`, `.tsv`), or else
            to text with one class a line. A `Path` is never taken for a preset.
        opener: opens the file, as that of `open`.

    Raises:
        VocabularyError: there is no such file, or it is not a vocabulary; the message names file and line.
    """
    path = _find(source)
    name = str(source)
    parse = _PARSERS.get(path.suffix.lower(), parse_text)
    try:
        content = parse(_read(name, path, opener))
    except FormatError as error:
        raise error.located_in(name) from error
    return VocabularyFile(name, path, **vars(content))


def vocabulary_yaml(vocabulary: Vocabulary, background_threshold: float, description: str = "") -> str:
    """Return a vocabulary as a file: `load_vocabulary_file` reads the same classes, colours and background.

    Args:
        vocabulary: a group becomes one class with all prompts.
        background_threshold: 0 to 1.
        description: what it is for; empty: none.
    """
    usual = [tuple(colour) for colour in class_colours(vocabulary.names).tolist()]
    classes: list[Any] = []
    for one, colour in zip(vocabulary.classes, usual, strict=True):
        entry: dict[str, Any] = {"name": one.name}
        if one.prompts != (one.name,):
            entry["prompts"] = list(one.prompts)
        if one.colour != colour:
            entry["colour"] = list(one.colour)
        named = display_name(one.name) == one.name and not one.members
        classes.append(one.name if len(entry) == 1 and named else entry)
    content: dict[str, Any] = {"description": description} if description else {}
    content["classes"] = classes
    if vocabulary.background_id is not None:
        content["background"] = vocabulary.names[vocabulary.class_ids.index(vocabulary.background_id)]
    content["background_threshold"] = float(background_threshold)
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=110)


def parse_class_list(text: str) -> tuple[str, ...] | None:
    """Parse a vocabulary that is stated inline, and is not the name of a preset or a file.

    Args:
        text: semicolons between classes, commas between aliases ("road; car, automobile; sky"); the last class may
            end in a semicolon, and a single one has to if it has aliases.

    Returns:
        The classes as `Vocabulary.from_names` takes them; None: the text is a source for `load_vocabulary_file`.

    Raises:
        VocabularyError: classes that are separated by commas.
    """
    if not (";" in text or "," in text) or text in preset_names() or _exists(text):
        return None
    if ";" not in text:
        raise VocabularyError(
            f"the vocabulary {text!r} would be one class, since commas separate the aliases of a class; put semicolons "
            "between classes, or one at the end"
        )
    classes = [part.strip() for part in text.split(";")]
    return tuple(classes if classes[-1] else classes[:-1])


def to_vocabulary(
    vocabulary: Vocabulary | Sequence[str] | str | Path, background: str | None = None
) -> Vocabulary:
    """Return the vocabulary that a list of classes, a text, a preset's name or a path to a file stands for.

    Args:
        vocabulary: as described for `parse_class_list`, `load_vocabulary_file` and `Vocabulary.from_names`.
        background: with a list or text, the class that pixels without a clear winner become.

    Raises:
        VocabularyError: it is not a vocabulary, or states a background of its own.
    """
    names: Sequence[str] | None = None
    if isinstance(vocabulary, str):
        names = parse_class_list(vocabulary)
    elif not isinstance(vocabulary, Vocabulary | Path):
        names = vocabulary
    if names is not None:
        return Vocabulary.from_names(names, background)
    if background is not None:
        raise VocabularyError(
            f"the background {background!r} is given with a vocabulary that states its own; give one of them"
        )
    if isinstance(vocabulary, Vocabulary):
        return vocabulary
    return load_vocabulary_file(vocabulary if isinstance(vocabulary, Path) else str(vocabulary)).vocabulary()


def preset_names() -> tuple[str, ...]:
    """List the names of the vocabularies that ship with the package, sorted."""
    folder = preset_folder()
    return tuple(sorted(path.stem for path in folder.glob("*.yaml"))) if folder else ()


def preset_path(name: str) -> Path:
    """Return the file of a preset; raise VocabularyError if there is no preset of that name."""
    folder = preset_folder()
    if folder is None or name not in preset_names():
        raise VocabularyError(f"there is no preset {name!r}; {_known_presets()}")
    return folder / f"{name}.yaml"


def preset_folder() -> Path | None:
    """Find the folder of the presets; None: this installation has none."""
    return shipped(_FOLDER)


def _known_presets() -> str:
    names = preset_names()
    if not names:
        return "this installation has no presets, so install the package again"
    return f"the presets are {', '.join(names)}"


def _find(source: str | Path) -> Path:
    if not str(source).strip():
        raise VocabularyError("the vocabulary file has no name; expected a preset or a path to YAML or text")
    if isinstance(source, str) and source in preset_names():
        return preset_path(source)
    try:
        path = Path(source).expanduser()
        if path.is_file():
            return path
        exists = path.exists()
    except (OSError, RuntimeError) as error:
        raise VocabularyError(f"the vocabulary file {source} cannot be opened ({error})") from error
    if exists:
        raise VocabularyError(f"{source} is not a file; expected a vocabulary in YAML or text")
    raise VocabularyError(
        f"there is no vocabulary file {source}; expected a path to YAML or text, or a preset "
        f"({_known_presets()})"
    )


def _exists(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError):  # many classes make a name that is too long for a file
        return False


def _read(source: str, path: Path, opener: Callable[[str, int], int]) -> str:
    try:
        # What is opened is what is checked: the name may stand for a pipe or a larger file by now.
        with os.fdopen(opener(str(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise VocabularyError(f"{source} is not a file; expected a vocabulary in YAML or text")
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise VocabularyError(
                f"{source} has more than {MAX_BYTES} bytes, the most that a vocabulary has; name another file"
            )
    except OSError as error:
        raise VocabularyError(f"the vocabulary file {source} cannot be read ({error.strerror})") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError(line, "this is not UTF-8 text; save the file as UTF-8") from error
