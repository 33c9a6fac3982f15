"""The classes of a segmenter: what each is called, its prompts, its id and its colour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np

from activesam_ros.errors import VocabularyError
from activesam_ros.vocabulary.canonical import canonical_name, control_character, display_name, match_key
from activesam_ros.vocabulary.palette import Colour, class_colours

SMALL_IDS = 255
"""Ids below this one fit into 8-bit label images, which keep 255 for unlabelled pixels."""

MAX_CLASSES = 65_535
"""Class ids are at most 65 534, since a 16-bit label image keeps 65 535 for unlabelled pixels."""

MAX_PROMPTS = 10_000
"""Most prompts of a vocabulary; with more, an image would take minutes."""

MAX_LENGTH = 1_000
"""Most characters of a name or prompt; the model reads far fewer."""


@dataclass(frozen=True)
class ClassSpec:
    """A class before it has an id.

    Attributes:
        name: display name, by which ids, matching and legends go.
        prompts: what the model is prompted with; empty: the name. One that begins with "=" is asked for as written.
        colour: red, green, blue, 0 to 255; None: chosen from the palette.
        members: display names of the classes that a group unites; empty for a plain class.
    """

    name: str
    prompts: tuple[str, ...] = ()
    colour: Colour | None = None
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class VocabularyClass:
    """A class: its id, display name, prompts (aliases), colour, and the names that it unites if it is a group."""

    class_id: int
    name: str
    prompts: tuple[str, ...]
    colour: Colour
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """An immutable list of classes, and which of them, if any, is the background.

    Prompts are numbered through all classes in order.

    Attributes:
        classes: in order.
        background_id: what pixels without a clear winner become; None: they stay unlabelled.
        next_id: the lowest id that neither this vocabulary nor one that it was updated from has used.
        freed_ids: ids that earlier vocabularies used and this one does not, oldest first.
    """

    classes: tuple[VocabularyClass, ...]
    background_id: int | None = None
    next_id: int = 0
    freed_ids: tuple[int, ...] = ()

    @classmethod
    def from_names(cls, names: Sequence[str], background: str | None = None) -> Vocabulary:
        """Make a vocabulary whose ids are 0 … n-1 in the order of `names`.

        Args:
            names: one string a class; commas separate aliases, the first of which names the class
                (`"car, automobile"`); "=" before one asks for it as written (`"=mouse"`), not for what replaces it.
            background: name of the class that pixels without a clear winner become; None: they stay unlabelled.

        Raises:
            VocabularyError: no names, a blank name or alias, two classes with the same prompt (case, spaces and
                punctuation aside), too many classes, or a background that is not in the list.
        """
        return cls.from_specs(_parse_all(names), background)

    @classmethod
    def from_specs(cls, specs: Sequence[ClassSpec], background: str | None = None) -> Vocabulary:
        """Make a vocabulary of classes whose names may differ from their prompts; errors as `from_names`."""
        return cls(()).updated(specs, background)

    def updated(
        self, classes: Sequence[str] | Sequence[ClassSpec], background: str | None = None
    ) -> Vocabulary:
        """Make the vocabulary of `classes` as an edit of this one.

        A class whose display name stays (case, spaces and punctuation aside) keeps its id and its colour. A new
        one takes the lowest id never used, since consumers remember the ids of old pixels for a while; ids that
        edits freed come back, oldest first, when no unused id is left below 255, or below 65 535 once there are more
        than 255 classes.

        Args:
            classes: strings as in `from_names`, or specs.
            background: as in `from_names`.

        Raises:
            VocabularyError: as `from_names`.
        """
        specs = [_with_prompts(spec) for spec in classes] if _are_specs(classes) else _parse_all(classes)
        _check(specs)
        owned = {match_key(one.name): one for one in self.classes}
        staying = [owned.get(match_key(spec.name)) for spec in specs]
        ids = _Ids(self, {kept.class_id for kept in staying if kept})
        limit = SMALL_IDS if len(specs) <= SMALL_IDS else MAX_CLASSES
        numbers = [kept.class_id if kept else ids.take(limit) for kept in staying]
        fixed = {
            index: colour
            for index, (spec, kept) in enumerate(zip(specs, staying, strict=True))
            if (colour := spec.colour or (kept.colour if kept else None))
        }
        colours = class_colours([spec.name for spec in specs], fixed)
        made = tuple(
            VocabularyClass(number, spec.name, spec.prompts, (red, green, blue), spec.members)
            for number, spec, (red, green, blue) in zip(numbers, specs, colours.tolist(), strict=True)
        )
        return Vocabulary(made, _background_id(made, background), ids.next_id, tuple(ids.freed))

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Display names, in class order."""
        return tuple(one.name for one in self.classes)

    @property
    def class_ids(self) -> tuple[int, ...]:
        """Class ids, in class order."""
        return tuple(one.class_id for one in self.classes)

    @property
    def colours(self) -> tuple[Colour, ...]:
        """Colours, in class order."""
        return tuple(one.colour for one in self.classes)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts of all classes as the user wrote them, in order."""
        return tuple(prompt for one in self.classes for prompt in one.prompts)

    @property
    def prompt_classes(self) -> tuple[int, ...]:
        """For each prompt the index of its class in `classes`."""
        return tuple(index for index, one in enumerate(self.classes) for _ in one.prompts)

    @property
    def queries(self) -> tuple[str, ...]:
        """The earlier name of `prompts`."""
        return self.prompts

    @property
    def query_classes(self) -> tuple[int, ...]:
        """The earlier name of `prompt_classes`."""
        return self.prompt_classes

    @property
    def label_dtype(self) -> np.dtype[Any]:
        """uint8 while every id is at most 254, else uint16."""
        return np.dtype(np.uint8 if max(self.class_ids) < SMALL_IDS else np.uint16)

    @property
    def unlabeled_id(self) -> int:
        """The value of pixels without a class: 255 in uint8, 65535 in uint16 label images."""
        return int(np.iinfo(self.label_dtype).max)


def parse_class(text: str) -> ClassSpec:
    """Parse `"car, automobile"`: commas separate aliases, the first of which names the class."""
    prompts = tuple(" ".join(prompt.split()) for prompt in text.split(","))
    return ClassSpec(display_name(prompts[0]), prompts)


def check_size(vocabulary: Vocabulary) -> None:
    """Raise VocabularyError if a vocabulary has more than `MAX_PROMPTS` prompts."""
    count = len(vocabulary.prompts)
    if count > MAX_PROMPTS:
        raise VocabularyError(
            f"the vocabulary has {count} prompts; at most {MAX_PROMPTS} are taken, so remove classes or aliases"
        )


class _Ids:
    """Hand out the ids of one edit."""

    def __init__(self, before: Vocabulary, staying: set[int]) -> None:
        self.next_id = before.next_id
        self.freed = [*before.freed_ids, *(number for number in before.class_ids if number not in staying)]

    def take(self, limit: int) -> int:
        if self.next_id < limit:
            self.next_id += 1
            return self.next_id - 1
        for position, number in enumerate(self.freed):
            if number < limit:
                return self.freed.pop(position)
        raise AssertionError(f"no id is left below {limit}")  # cannot be: there are at most `limit` classes


def _are_specs(classes: Sequence[str] | Sequence[ClassSpec]) -> TypeGuard[Sequence[ClassSpec]]:
    return (
        isinstance(classes, Sequence)
        and len(classes) > 0
        and all(isinstance(one, ClassSpec) for one in classes)
    )


def _with_prompts(spec: ClassSpec) -> ClassSpec:
    return replace(spec, name=display_name(spec.name), prompts=spec.prompts or (spec.name,))


def _parse_all(names: object) -> list[ClassSpec]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise VocabularyError(
            f"a vocabulary is a list of names, but got {names!r}; write each class as an entry of a list"
        )
    specs = []
    for index, text in enumerate(names):
        if not isinstance(text, str):
            raise VocabularyError(f"class {index} is {text!r}; expected a name (a string)")
        _refuse_control(index, text)  # before spaces are tidied, for which some of them count
        specs.append(parse_class(text))
    return specs


def _check(specs: Sequence[ClassSpec]) -> None:
    if not specs:
        raise VocabularyError("the vocabulary is empty; give at least one class name")
    if len(specs) > MAX_CLASSES:
        raise VocabularyError(
            f"the vocabulary has {len(specs)} classes; a label image holds at most {MAX_CLASSES}"
        )
    for index, spec in enumerate(specs):
        _check_prompts(index, spec)
    _refuse_duplicates(specs)


def _check_prompts(index: int, spec: ClassSpec) -> None:
    if not spec.name.strip():
        raise VocabularyError(f"class {index} has a blank name; give it a name or remove it")
    for prompt in (spec.name, *spec.prompts):
        if len(prompt) > MAX_LENGTH:
            raise VocabularyError(
                f"class {index} has a name of {len(prompt)} characters; expected at most {MAX_LENGTH}"
            )
        _refuse_control(index, prompt)
        if not match_key(prompt):
            what = f"the alias {prompt!r}" if prompt.strip() else "a blank alias"
            raise VocabularyError(
                f"class {index} ({', '.join(spec.prompts)!r}) has {what} without a letter or digit; remove the stray "
                "comma or name it"
            )


def _refuse_control(index: int, text: str) -> None:
    control = control_character(text)
    if control:
        raise VocabularyError(f"class {index} has the control character {control} in {text!r}; remove it")


def _refuse_duplicates(specs: Sequence[ClassSpec]) -> None:
    names: dict[str, int] = {}
    prompts: dict[str, int] = {}
    for index, spec in enumerate(specs):
        for prompt in spec.prompts:
            canonical = canonical_name(prompt)
            owner = prompts.setdefault(match_key(canonical), index)
            if owner != index:
                raise VocabularyError(
                    f"classes {owner} ({specs[owner].name!r}) and {index} ({spec.name!r}) both ask for "
                    f"{canonical!r}; merge them with a comma or remove one"
                )
        owner = names.setdefault(match_key(spec.name), index)
        if owner != index:
            raise VocabularyError(
                f"classes {owner} ({specs[owner].name!r}) and {index} ({spec.name!r}) have the same name; merge "
                "them with a comma or remove one"
            )


def _background_id(classes: Sequence[VocabularyClass], background: str | None) -> int | None:
    if background is None:
        return None
    wanted = match_key(background.split(",")[0])
    for one in classes:
        if match_key(one.name) == wanted:
            return one.class_id
    raise VocabularyError(
        f"the background class {background!r} is not in the vocabulary; expected the first name of one of its "
        f"{len(classes)} classes, or none"
    )
