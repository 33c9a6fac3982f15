"""What is edited in the studio: classes and settings, as the node's parameters have them, and how they changed."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from activesam_ros.configuration.configuration import Configuration, first_configuration, next_configuration
from activesam_ros.errors import VocabularyError
from activesam_ros.settings import PROFILES
from activesam_ros.vocabulary import ClassSpec, Vocabulary, check_size, parse_class
from activesam_ros.vocabulary.canonical import display_name
from activesam_ros.vocabulary.files import vocabulary_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activesam_ros.vocabulary.palette import Colour
    from activesam_ros.vocabulary.vocabulary import VocabularyClass

MOST_UNDO = 200
"""Number of steps that can be undone."""


@dataclass(frozen=True)
class Document:
    """Classes and settings at one moment.

    Every edit returns another document, or raises what is wrong with it. Names that stay keep their ids.

    Attributes:
        configuration: as the node would have it.
    """

    configuration: Configuration

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes."""
        return self.configuration.vocabulary

    @property
    def background(self) -> str | None:
        """Name of the background class; None: there is none."""
        vocabulary = self.vocabulary
        return next(
            (one.name for one in vocabulary.classes if one.class_id == vocabulary.background_id), None
        )

    def value(self, name: str) -> Any:
        """Return the value of a parameter."""
        return dict(self.configuration.values)[name]

    def with_values(self, changes: Mapping[str, object]) -> Document:
        """Set parameters as one call to the node does.

        Raises:
            ActiveSamError: what is wrong with which value.
        """
        last = self.configuration
        return Document(next_configuration(last, changes, last.revision + 1))

    def with_classes(self, specs: Sequence[ClassSpec], background: str | None) -> Document:
        """Replace the classes.

        Raises:
            VocabularyError: they are not a vocabulary.
        """
        last = self.configuration
        vocabulary = last.vocabulary.updated(specs, background)
        check_size(vocabulary)
        changes: dict[str, Any] = {
            "vocabulary": tuple(as_text(one) or one.name for one in vocabulary.classes),
            "vocabulary_file": "",
            "background_class": background or "",
        }
        values = tuple((name, changes.get(name, value)) for name, value in last.values)
        return Document(replace(last, values=values, vocabulary=vocabulary, revision=last.revision + 1))

    def added(self, text: str) -> Document:
        """Add a class, or several with semicolons between them; commas separate aliases."""
        words = [part for part in text.split(";") if part.strip()]
        if not words:
            raise VocabularyError("no name is given; write the name of a class, aliases after commas")
        return self.with_classes([*self._specs(), *map(parse_class, words)], self.background)

    def renamed(self, class_id: int, name: str) -> Document:
        """Give a class another name; its colour stays, and what it asks for if that was not its name."""
        one = self._find(class_id)
        name = " ".join(name.split())
        if "," in name:
            raise VocabularyError(
                f"{name!r} has a comma; a name has none, and aliases stand in the field beside it"
            )
        prompts = one.prompts
        if prompts and display_name(prompts[0]) == one.name:
            prompts = (name, *prompts[1:])
        return self._replaced(class_id, ClassSpec(display_name(name), prompts, one.colour, one.members))

    def asking(self, class_id: int, text: str) -> Document:
        """Set what a class asks for, commas between the phrases; nothing: its name."""
        one = self._find(class_id)
        prompts = parse_class(text).prompts if text.strip() else (one.name,)
        return self._replaced(class_id, ClassSpec(one.name, prompts, one.colour, one.members))

    def recoloured(self, class_id: int, colour: Colour) -> Document:
        """Give a class another colour, red, green and blue from 0 to 255."""
        if len(colour) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in colour):
            raise VocabularyError(f"the colour is {colour!r}; expected red, green and blue from 0 to 255")
        one = self._find(class_id)
        return self._replaced(class_id, ClassSpec(one.name, one.prompts, colour, one.members))

    def removed(self, class_id: int) -> Document:
        """Remove a class; the background class becomes none if it was that."""
        gone = self._find(class_id)
        specs = [spec for spec in self._specs() if spec.name != gone.name]
        return self.with_classes(specs, None if gone.name == self.background else self.background)

    def moved(self, class_id: int, steps: int) -> Document:
        """Move a class up (negative) or down the list, as far as it goes."""
        specs = list(self._specs())
        index = self.vocabulary.class_ids.index(self._find(class_id).class_id)
        specs.insert(max(0, min(len(specs) - 1, index + steps)), specs.pop(index))
        return self.with_classes(specs, self.background)

    def as_yaml(self) -> str:
        """Return the vocabulary as a file: `load_vocabulary_file` reads the same classes, colours and background."""
        return vocabulary_yaml(self.vocabulary, self.value("background_threshold"))

    def _specs(self) -> tuple[ClassSpec, ...]:
        return tuple(
            ClassSpec(one.name, one.prompts, one.colour, one.members) for one in self.vocabulary.classes
        )

    def _find(self, class_id: int) -> VocabularyClass:
        for one in self.vocabulary.classes:
            if one.class_id == class_id:
                return one
        raise VocabularyError(f"no class has the id {class_id} any more; look at the list as it is now")

    def _replaced(self, class_id: int, spec: ClassSpec) -> Document:
        before = self._find(class_id)
        background = spec.name if before.name == self.background else self.background
        specs = [
            spec if one.class_id == class_id else old
            for one, old in zip(self.vocabulary.classes, self._specs(), strict=True)
        ]
        return self.with_classes(specs, background)


@dataclass(frozen=True)
class History:
    """The documents so far: those to go back to, the one now, and those that were undone."""

    now: Document
    before: tuple[Document, ...] = ()
    after: tuple[Document, ...] = ()

    def then(self, document: Document) -> History:
        """Go on with another document; equal ones are no step."""
        if document.configuration == self.now.configuration:
            return self
        return History(document, (*self.before, self.now)[-MOST_UNDO:])

    def undone(self) -> History:
        """Go one step back, if there is one."""
        if not self.before:
            return self
        return History(self.before[-1], self.before[:-1], (self.now, *self.after))

    def redone(self) -> History:
        """Take back an `undone`, if nothing came after it."""
        if not self.after:
            return self
        return History(self.after[0], (*self.before, self.now), self.after[1:])


def as_text(one: VocabularyClass) -> str | None:
    """Return a class as the parameter `vocabulary` writes it; None: its name is none of what it asks for."""
    if not one.prompts or display_name(one.prompts[0]) != one.name or one.members:
        return None
    return ", ".join(one.prompts)


def difference(before: Document, now: Document) -> list[str]:
    """Say what differs, a line for each class and setting, with `+`, `-` or `~` before it."""
    old = {one.name: one for one in before.vocabulary.classes}
    new = {one.name: one for one in now.vocabulary.classes}
    lines = [f"+ {_shown(one)}" for name, one in new.items() if name not in old]
    lines += [f"- {_shown(one)}" for name, one in old.items() if name not in new]
    for name, one in new.items():
        if name not in old:
            continue
        if one.prompts != old[name].prompts:
            lines.append(f"~ {name} asks for {', '.join(one.prompts)} (was: {', '.join(old[name].prompts)})")
        if one.colour != old[name].colour:
            lines.append(f"~ {name} is {as_hex(one.colour)} (was: {as_hex(old[name].colour)})")
    staying = [name for name in new if name in old]
    if staying != [name for name in old if name in new]:
        lines.append("~ the order of the classes")
    lines += [
        f"~ {name} is {value!r} (was: {before.value(name)!r})"
        for name, value in now.configuration.values
        if name not in ("vocabulary", "vocabulary_file") and value != before.value(name)
    ]
    return lines


def changed_parameters(before: Document, now: Document) -> dict[str, Any]:
    """Return the parameters that bring a node from one document to another in one call.

    Raises:
        VocabularyError: parameters cannot say it: colours, or names that are none of what their class asks for.
    """
    changed: dict[str, Any] = {
        name: value for name, value in now.configuration.values if value != before.value(name)
    }
    if changed.get("vocabulary_file"):
        for name in ("vocabulary", "background_class"):
            changed.pop(name, None)
        return _without_profile(changed, now)
    # Setting the classes empties it.
    changed.pop("vocabulary_file", None)
    if now.vocabulary.classes != before.vocabulary.classes:
        old = {one.name: one for one in before.vocabulary.classes}
        for one in now.vocabulary.classes:
            if as_text(one) is None:
                raise VocabularyError(
                    f"a running node cannot be told that {one.name!r} asks for {', '.join(map(repr, one.prompts))}, "
                    "which its name is not; save the classes as a file where the node may read it, and load that"
                )
            if one.name in old and one.colour != old[one.name].colour:
                raise VocabularyError(
                    "a running node takes colours from a file only; save the classes as a file where the node may "
                    "read it, and load that"
                )
        changed["vocabulary"] = now.value("vocabulary")
    return _without_profile(changed, now)


def param_commands(before: Document, now: Document, node: str = "/activesam") -> list[str]:
    """Return the calls that bring a node from one document to another; a comment says what needs a file."""
    commands: list[str] = []
    try:
        changed = changed_parameters(before, now)
    except VocabularyError as error:
        changed = {
            name: value
            for name, value in now.configuration.values
            if value != before.value(name) and name not in ("vocabulary", "background_class")
        }
        changed = {**_without_profile(changed, now), "vocabulary_file": "FILE"}
        commands.append(f"# {error}:")
    gone = before.background and before.background not in now.vocabulary.names
    if gone and "vocabulary" in changed:
        # Of calls with one parameter each, that comes first.
        commands.append(f"ros2 param set {node} background_class {shlex.quote(_ros_value(''))}")
        if not now.background:
            changed.pop("background_class", None)
    # The profile before what it sets; the background class after the classes.
    order = sorted(changed, key=lambda name: (name != "profile", name == "background_class"))
    commands += [f"ros2 param set {node} {name} {shlex.quote(_ros_value(changed[name]))}" for name in order]
    return commands


def _without_profile(changed: Mapping[str, Any], now: Document) -> dict[str, Any]:
    """Leave out what the profile that is set sets too."""
    profile = changed.get("profile")
    own = PROFILES[str(profile)] if profile else {}
    return {name: value for name, value in changed.items() if name not in own or own[name] != value}


def _ros_value(value: Any) -> str:
    """Return a value as `ros2 param set` reads it: YAML, in which JSON's texts are the same."""
    if isinstance(value, tuple):
        return json.dumps(list(value), ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | str) else str(value)


def as_hex(colour: Sequence[int]) -> str:
    """Return a colour as `#rrggbb`."""
    return "#" + "".join(f"{part:02x}" for part in colour)


def from_hex(text: str) -> Colour:
    """Return the colour of `#rrggbb`.

    Raises:
        VocabularyError: it is not written so.
    """
    digits = text.removeprefix("#")
    try:
        if len(digits) != 6:
            raise ValueError
        red, green, blue = bytes.fromhex(digits)
    except ValueError as error:
        raise VocabularyError(f"the colour is {text!r}; expected #rrggbb") from error
    return red, green, blue


def start_document(given: Mapping[str, object]) -> Document:
    """Return the document of the given parameters, defaults for the others."""
    return Document(first_configuration(given))


def _shown(one: VocabularyClass) -> str:
    return as_text(one) or f"{one.name} ({', '.join(one.prompts)})"
