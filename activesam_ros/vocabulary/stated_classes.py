"""Classes as a vocabulary file states them: each with its line, so that a complaint can say where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from activesam_ros.errors import VocabularyError
from activesam_ros.vocabulary.canonical import canonical_name, match_key
from activesam_ros.vocabulary.vocabulary import ClassSpec, parse_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class StatedClass:
    """An entry, and the line of the file that states it."""

    entry: ClassSpec
    line: int

    def __str__(self) -> str:
        return f"{self.entry.name!r} (line {self.line})"


@dataclass(frozen=True)
class Complaints:
    """Makes the errors of one file.

    Attributes:
        source: the preset's name or the path, as it was asked for.
    """

    source: str

    def at(self, line: int, reason: str) -> VocabularyError:
        """The error to raise for what stands in a line, counted from 1."""
        return VocabularyError(f"{self.source}, line {line}: {reason}")


def state(text: str, line: int, complaints: Complaints) -> StatedClass:
    """The class that `"car, automobile"` stands for.

    Raises:
        VocabularyError: a name or alias is blank or has no letter or digit.
    """
    if not text.strip(" \t\r\n,"):
        raise complaints.at(line, "the class has a blank name; give it a name or remove it")
    entry = parse_class(text)
    for prompt in entry.prompts:
        if not prompt:
            raise complaints.at(line, f"{text.strip()!r} has a blank alias; remove the stray comma")
        check_phrase(prompt, line, complaints)
    return StatedClass(entry, line)


def check_phrase(phrase: str, line: int, complaints: Complaints) -> None:
    """Raises VocabularyError for a phrase without a letter or digit."""
    if not match_key(phrase):
        raise complaints.at(line, f"{phrase!r} has no letter or digit; expected a word or a short phrase")


def refuse_same_names(classes: Sequence[StatedClass], complaints: Complaints) -> None:
    """Raises VocabularyError for two classes of one name (case, spaces and punctuation aside)."""
    owners: dict[str, StatedClass] = {}
    for one in classes:
        owner = owners.setdefault(match_key(one.entry.name), one)
        if owner is not one:
            first, second = sorted((owner, one), key=lambda each: each.line)
            raise complaints.at(
                second.line,
                f"{second.entry.name!r} has the same name as {first}; merge the two or rename one",
            )


def refuse_same_prompts(
    classes: Sequence[StatedClass], complaints: Complaints, groups: Mapping[str, StatedClass] | None = None
) -> None:
    """Raises VocabularyError for two classes that ask for the same canonical phrase.

    Args:
        classes: as stated, before they are united.
        complaints: makes the error.
        groups: the group of each grouped class, by the match key of the class's name; members of one group
            may share a phrase.
    """
    group_of = groups or {}
    owners: dict[str, StatedClass] = {}
    for one in classes:
        for prompt in one.entry.prompts:
            canonical = canonical_name(prompt)
            owner = owners.setdefault(match_key(canonical), one)
            united = group_of.get(match_key(owner.entry.name)), group_of.get(match_key(one.entry.name))
            if owner is not one and (united[0] is None or united[0] is not united[1]):
                first, second = sorted((owner, one), key=lambda each: each.line)
                raise complaints.at(
                    second.line,
                    f"{second.entry.name!r} and {first} both ask for {canonical!r}; merge the two or remove "
                    "one of the prompts",
                )
