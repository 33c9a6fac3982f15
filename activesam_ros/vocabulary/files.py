"""Vocabularies as files: presets that ship with the package, YAML, and plain text.

`docs/vocabularies.md` describes the formats.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from activesam_ros.errors import VocabularyError
from activesam_ros.vocabulary.stated_classes import Complaints, refuse_same_names, refuse_same_prompts, state
from activesam_ros.vocabulary.vocabulary import ClassSpec, Vocabulary
from activesam_ros.vocabulary.yaml_file import parse_yaml

YAML_SUFFIXES = (".yaml", ".yml")

MAX_BYTES = 16_000_000
"""A larger file is taken for something other than a vocabulary."""

_FOLDER = Path("config", "vocabularies")


@dataclass(frozen=True)
class VocabularyFile:
    """What a vocabulary file says.

    Attributes:
        source: the preset's name or the path, as it was asked for.
        path: the file that was read.
        entries: the published classes in order; a group stands where its first member stood.
        background: name of the class that pixels without a clear winner become; None: the file names none.
        background_threshold: 0 to 1, see `SegmenterSettings`; None: the file names none.
        description: what the vocabulary is for; may be empty.
        origin: where its words come from (the file's key `source`); may be empty.
    """

    source: str
    path: Path
    entries: tuple[ClassSpec, ...]
    background: str | None = None
    background_threshold: float | None = None
    description: str = ""
    origin: str = ""

    def vocabulary(self) -> Vocabulary:
        """The vocabulary with ids 0 … n-1.

        Raises:
            VocabularyError: more classes or prompts than a vocabulary may have.
        """
        try:
            return Vocabulary.from_entries(self.entries, self.background)
        except VocabularyError as error:
            raise VocabularyError(f"{self.source}: {error}") from error


def load_vocabulary_file(source: str | Path) -> VocabularyFile:
    """Reads a vocabulary.

    Args:
        source: a preset's name, or a path to YAML (`.yaml`, `.yml`) or else to text with one class a line. A
            `Path` is never taken for a preset.

    Raises:
        VocabularyError: there is no such file, or it is not a vocabulary; the message names file and line.
    """
    path = _find(source)
    name = str(source)
    text = _text(name, path)
    if path.suffix.lower() not in YAML_SUFFIXES:
        return VocabularyFile(name, path, _parse_lines(text, Complaints(name)))
    content = parse_yaml(text, Complaints(name))
    return VocabularyFile(
        name,
        path,
        content.entries,
        content.background,
        content.background_threshold,
        content.description,
        content.origin,
    )


def words_of(text: str) -> tuple[str, ...] | None:
    """The classes of a command line's vocabulary if it is words, and not the name of a preset or a file.

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


def preset_names() -> tuple[str, ...]:
    """Names of the vocabularies that ship with the package, sorted."""
    folder = _preset_folder()
    return tuple(sorted(path.stem for path in folder.glob("*.yaml"))) if folder else ()


def preset_path(name: str) -> Path:
    """The file of a preset.

    Raises:
        VocabularyError: there is no preset of that name.
    """
    folder = _preset_folder()
    if folder is None or name not in preset_names():
        raise VocabularyError(f"there is no preset {name!r}; {_known_presets()}")
    return folder / f"{name}.yaml"


def _preset_folder() -> Path | None:
    """`config/vocabularies` beside the sources, or in `share` of the prefix that they are installed in."""
    package = Path(__file__).resolve().parents[1]
    # How deep packages lie below their prefix differs: lib/python3.12/site-packages, local/lib/..., nothing.
    installed = [folder / "share" / package.name / _FOLDER for folder in package.parents]
    return next((folder for folder in [package.parent / _FOLDER, *installed] if folder.is_dir()), None)


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
    except (OSError, RuntimeError):  # many words make a name that is too long for a file
        return False


def _text(source: str, path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise VocabularyError(
                f"{source} has {size} bytes; a vocabulary has at most {MAX_BYTES}, so name another file"
            )
        data = path.read_bytes()
    except OSError as error:
        raise VocabularyError(f"the vocabulary file {source} cannot be read ({error.strerror})") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Complaints(source).at(line, "this is not UTF-8 text; save the file as UTF-8") from error


def _parse_lines(text: str, complaints: Complaints) -> tuple[ClassSpec, ...]:
    """The classes of a text file: one a line, commas for aliases, `#` before a comment."""
    classes = []
    for line, content in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        words = re.sub(r"(^|\s)#.*", "", content).strip()
        if not words:
            continue
        if words.startswith("- ") or words.endswith(":"):
            raise complaints.at(
                line, f"{words!r} looks like YAML, but the file is read as text; let its name end in .yaml"
            )
        classes.append(state(words, line, complaints))
    if not classes:
        raise VocabularyError(f"{complaints.source} has no classes; write one a line")
    refuse_same_names(classes, complaints)
    refuse_same_prompts(classes, complaints)
    return tuple(one.entry for one in classes)
