"""Lexical canonicalisation: dataset labels turned into prompts that a person would say.

The replacements are in `canonical_names.json` beside this module.
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cache
from importlib import resources

AS_WRITTEN = "="
"""Before a prompt: it is asked for as it is written, without a replacement."""

# Of labels that unite others or leave some out: COCO-Stuff's and COCO-Panoptic's "floor-other-merged", "door-stuff".
_REMAINDER = re.compile(r"(?<=\w)(-(other|merged|stuff))+$", re.IGNORECASE)
# LVIS's "bow_(weapon)" and "iron_(for_clothing)".
_SENSE = re.compile(r"^([^()]+) \(([^()]+)\)$")
_PREPOSITIONS = ("for", "on", "in", "of", "with", "to", "from", "at")
# Turn the direction of the text that follows, and so show a name as another.
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def match_key(name: str) -> str:
    """Drop what does not tell names apart, case, spaces and punctuation: how names are compared.

    Vowel signs and other marks stay with their letters, and so do the plus and hash of "C++" and "C#"; numbers that
    punctuation parts stay apart ("1.5" is not "15"). Both ways to compose an accented letter are one.
    """
    plain = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    if plain.isalnum():  # most names, and fast
        return plain
    key, parted = "", False
    for character in plain:
        if character.isalnum():
            key += f" {character}" if parted and character.isdecimal() and key[-1:].isdecimal() else character
        elif not parted and key and (character in "+#" or unicodedata.category(character).startswith("M")):
            key += character
            continue
        parted = not character.isalnum()
    return key


def canonical_name(prompt: str) -> str:
    """Return what is asked of the model for `prompt`: its replacement in the table, or itself as words.

    Words have tidy spaces, without the underscores and remainders of data sets' labels. A prompt that begins with
    `AS_WRITTEN` stays as it is but for its spaces.
    """
    tidy = unicodedata.normalize("NFC", " ".join(prompt.split()))
    if tidy.startswith(AS_WRITTEN):
        return tidy.removeprefix(AS_WRITTEN).strip()
    return _table().get(match_key(tidy)) or _as_words(tidy)


def display_name(prompt: str) -> str:
    """Return the name of a class whose first prompt is `prompt`: without the mark `AS_WRITTEN`."""
    return prompt.strip().removeprefix(AS_WRITTEN).strip()


def control_character(name: str) -> str | None:
    """Return the code of the first character that a name must not have ("U+0000"), which no one can see or type."""
    for character in name:
        hidden = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") and character not in "\t\n\r"
        if hidden or character in _DIRECTIONS:
            return f"U+{ord(character):04X}"
    return None


def _as_words(name: str) -> str:
    words = " ".join(_REMAINDER.sub("", name).replace("_", " ").split())
    sense = _SENSE.match(words)
    if sense:
        noun, kind = sense.groups()
        words = f"{noun} {kind}" if kind.split()[0] in _PREPOSITIONS else f"{kind} {noun}"
    return words or name


@cache
def _table() -> dict[str, str]:
    source = resources.files("activesam_ros.vocabulary").joinpath("canonical_names.json")
    groups = json.loads(source.read_text(encoding="utf-8"))
    table: dict[str, str] = {}
    for prompt in groups["split"]:
        table[match_key(prompt)] = prompt
    for group in ("spelled", "inverted", "plain"):
        for name, prompt in groups[group].items():
            table[match_key(name)] = prompt
    return table
