"""Lexical canonicalisation: dataset labels turned into prompts that a person would say.

The replacements are in `canonical_names.json` beside this module.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources


def match_key(name: str) -> str:
    """Drop case, spaces and punctuation from `name`: how names are compared."""
    return "".join(character for character in name.casefold() if character.isalnum())


def canonical_name(name: str) -> str:
    """Return the prompt for `name`: its replacement in the table, or `name` itself with tidy spaces."""
    return _table().get(match_key(name), " ".join(name.split()))


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
