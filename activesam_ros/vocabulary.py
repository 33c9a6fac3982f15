"""The words that a segmenter looks for, and the class ids that belong to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from activesam_ros.errors import VocabularyError
from activesam_ros.text.canonical import canonical_name, match_key

MAX_CLASSES = 65_535
"""Class ids are at most 65 534, since a 16-bit label image keeps 65 535 for unlabelled pixels."""


@dataclass(frozen=True)
class VocabularyClass:
    """One class: its id, the name shown to people, and the prompts (aliases) that are asked for it."""

    class_id: int
    name: str
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """An immutable list of classes, and which of them, if any, is the background.

    Each prompt of each class is one *query*; queries are numbered through all classes in order.
    """

    classes: tuple[VocabularyClass, ...]
    background_id: int | None = None

    @classmethod
    def from_names(cls, names: Sequence[str], background: str | None = None) -> Vocabulary:
        """A vocabulary whose ids are 0 … n-1 in the order of `names`.

        Args:
            names: one entry a class; commas separate aliases, the first of which names the class
                (`"car, automobile"`).
            background: name of the class that pixels without a clear winner become; None: they stay unlabelled.

        Raises:
            VocabularyError: no names, a blank name or alias, two classes with the same prompt (case, spaces and
                punctuation aside), too many classes, or a background that is not in the list.
        """
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise VocabularyError(
                f"a vocabulary is a list of names, but got {names!r}; write each class as an entry of a list"
            )
        classes = tuple(_parse(index, entry) for index, entry in enumerate(names))
        if not classes:
            raise VocabularyError("the vocabulary is empty; give at least one class name")
        if len(classes) > MAX_CLASSES:
            raise VocabularyError(
                f"the vocabulary has {len(classes)} classes; a label image holds at most {MAX_CLASSES}"
            )
        _refuse_duplicates(classes)
        return cls(classes, _background_id(classes, background))

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Display names, in class order."""
        return tuple(entry.name for entry in self.classes)

    @property
    def class_ids(self) -> tuple[int, ...]:
        """Class ids, in class order."""
        return tuple(entry.class_id for entry in self.classes)

    @property
    def queries(self) -> tuple[str, ...]:
        """The prompts of all classes as the user wrote them, in query order."""
        return tuple(prompt for entry in self.classes for prompt in entry.prompts)

    @property
    def query_classes(self) -> tuple[int, ...]:
        """For each query the index of its class in `classes`."""
        return tuple(index for index, entry in enumerate(self.classes) for _ in entry.prompts)

    @property
    def label_dtype(self) -> np.dtype:
        """uint8 while every id is at most 254, else uint16."""
        return np.dtype(np.uint8 if max(self.class_ids) <= 254 else np.uint16)

    @property
    def unlabeled_id(self) -> int:
        """The value of pixels without a class: 255 in uint8, 65535 in uint16 label images."""
        return int(np.iinfo(self.label_dtype).max)


def _parse(index: int, entry: object) -> VocabularyClass:
    if not isinstance(entry, str):
        raise VocabularyError(f"class {index} is {entry!r}; expected a name (a string)")
    prompts = tuple(" ".join(prompt.split()) for prompt in entry.split(","))
    if not any(prompts):
        raise VocabularyError(f"class {index} has a blank name; give it a name or remove it")
    for prompt in prompts:
        if not match_key(prompt):
            raise VocabularyError(
                f"class {index} ({entry!r}) has {'a blank alias' if not prompt else f'the alias {prompt!r}'} without "
                "a letter or digit; remove the stray comma or name it"
            )
    return VocabularyClass(index, prompts[0], prompts)


def _refuse_duplicates(classes: Sequence[VocabularyClass]) -> None:
    owners: dict[str, VocabularyClass] = {}
    for entry in classes:
        for prompt in entry.prompts:
            canonical = canonical_name(prompt)
            owner = owners.setdefault(match_key(canonical), entry)
            if owner is not entry:
                raise VocabularyError(
                    f"classes {owner.class_id} ({owner.name!r}) and {entry.class_id} ({entry.name!r}) both ask for "
                    f"{canonical!r}; merge them with a comma or remove one"
                )


def _background_id(classes: Sequence[VocabularyClass], background: str | None) -> int | None:
    if background is None:
        return None
    wanted = background.split(",")[0].strip()
    for entry in classes:
        if entry.name == wanted:
            return entry.class_id
    raise VocabularyError(
        f"the background class {background!r} is not in the vocabulary; expected the first name of one of its "
        f"{len(classes)} classes, or none"
    )
