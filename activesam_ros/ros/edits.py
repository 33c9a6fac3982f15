"""What a set of parameters asks for: the edit of the vocabulary and settings that were accepted before it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from activesam_ros.errors import SettingsError, VocabularyError
from activesam_ros.ros.parameters import CHANGEABLE, DEFAULTS, Value, Wanted, profile_of, settings_of, typed
from activesam_ros.settings import PROFILES
from activesam_ros.vocabulary import ClassSpec, Vocabulary, check_size, parse_class
from activesam_ros.vocabulary.canonical import match_key
from activesam_ros.vocabulary.files import VocabularyFile, load_vocabulary_file

Load = Callable[[str], VocabularyFile]


def first_request(given: Mapping[str, object], load: Load = load_vocabulary_file) -> Wanted:
    """What the parameters at the start ask for; its revision is 1.

    A value that equals the default counts as not given, since a parameter file may well list them all: then a
    vocabulary file or a profile may set it. So do an empty vocabulary beside a file, and one with the file's own words,
    which is what a dump of a running node holds.

    Args:
        given: parameters with their values as rclpy gives them.
        load: reads a vocabulary file.

    Raises:
        ActiveSamError: what is wrong with which value (SettingsError, VocabularyError).
    """
    defaults = {name: DEFAULTS[name] for name in CHANGEABLE}
    values = {name: typed(name, given.get(name, default)) for name, default in defaults.items()}
    changes = {name: value for name, value in values.items() if value != defaults[name]}
    if not values["vocabulary_file"]:
        changes["vocabulary"] = values["vocabulary"]
    elif "vocabulary" in changes and values["vocabulary"] in ((), _words_of(load(values["vocabulary_file"]))):
        # No words of one's own, or those that the file itself had set: so is a dump of a running node.
        del changes["vocabulary"]
    nothing = Wanted(tuple(defaults.items()), Vocabulary(()), settings_of(defaults), 0)
    return next_request(nothing, changes, 1, load)


def next_request(
    last: Wanted, changes: Mapping[str, object], revision: int, load: Load = load_vocabulary_file
) -> Wanted:
    """What is wanted after parameters were set.

    Setting `vocabulary_file` takes the classes, the background class and, if the file names one, the
    background threshold from the file, except what `changes` states itself. Setting `vocabulary` empties
    `vocabulary_file`. Setting `profile` sets the numbers that it governs, except those that `changes` states; then
    `profile` is the one whose numbers are wanted, or empty.

    Args:
        last: what was wanted before.
        changes: the parameters that are set in one call, with their values as rclpy gives them; names that
            are not changeable are ignored.
        revision: that of the new vocabulary, if it is another one than that of `last`.
        load: reads a vocabulary file.

    Raises:
        ActiveSamError: what is wrong with which value (SettingsError, VocabularyError).
    """
    changed = {name: typed(name, value) for name, value in changes.items() if name in CHANGEABLE}
    values = {**dict(last.values), **PROFILES.get(changed.get("profile", ""), {}), **changed}
    values["profile"] = profile_of(values)
    words: Sequence[str] | Sequence[ClassSpec] | None = None
    if changed.get("vocabulary_file"):
        if "vocabulary" in changed:
            raise SettingsError(
                "vocabulary and vocabulary_file are both given; give one of them, since a file brings its "
                "own words"
            )
        file = load(values["vocabulary_file"])
        values.update(_values_of(file, given=changed))
        words = file.entries
    elif "vocabulary" in changed:
        words = values["vocabulary"]
        if "background_class" not in changed:
            _require_background(values, words)
        values["vocabulary_file"] = ""
    elif "background_class" in changed:
        words = _entries(last.vocabulary)
    settings = settings_of(values)
    vocabulary = last.vocabulary
    if words is not None:
        vocabulary = vocabulary.updated(words, values["background_class"] or None)
        check_size(vocabulary)
    if vocabulary == last.vocabulary:
        revision = last.revision
    return Wanted(tuple(values.items()), vocabulary, settings, revision)


def _require_background(values: Mapping[str, Value], words: Sequence[str]) -> None:
    """Refuses words that lack the background class of before, and says where that came from."""
    background, file = values["background_class"], values["vocabulary_file"]
    if background and match_key(background) not in {match_key(parse_class(text).name) for text in words}:
        origin = f", as vocabulary_file {file!r} set it" if file else ""
        raise VocabularyError(
            f"background_class is {background!r}{origin}, and the new vocabulary has no such class; set "
            "background_class to '' or to one of the new names, before or in the same call"
        )


def _values_of(file: VocabularyFile, given: Collection[str]) -> dict[str, Value]:
    """The parameters that a file sets, without those that are given."""
    values: dict[str, Value] = {
        "vocabulary": _words_of(file),
        "background_class": file.background or "",
    }
    if file.background_threshold is not None:
        values["background_threshold"] = float(file.background_threshold)
    return {name: value for name, value in values.items() if name not in given}


def _words_of(file: VocabularyFile) -> tuple[str, ...]:
    return tuple(_shown(entry) for entry in file.entries)


def _shown(entry: ClassSpec) -> str:
    """An entry as `vocabulary` shows it: with its aliases if the first of them is its name."""
    return ", ".join(entry.prompts) if entry.prompts[:1] == (entry.name,) else entry.name


def _entries(vocabulary: Vocabulary) -> list[ClassSpec]:
    return [ClassSpec(one.name, one.prompts, one.colour, one.members) for one in vocabulary.classes]
