"""The words of the vocabulary benchmark."""

from __future__ import annotations

from activesam_ros.vocabulary import Vocabulary
from activesam_ros.vocabulary.canonical import canonical_name, match_key
from activesam_ros.vocabulary.files import load_vocabulary_file, preset_names

BASE = "coco_stuff"
"""The preset with 171 classes."""

NEW_WORDS = (
    "hydraulic excavator",
    "garden gnome",
    "paper lantern",
    "snow globe",
    "wind turbine",
    "bagpipe",
    "accordion",
    "watering can",
    "rubber duck",
    "sundial",
    "anvil",
    "hammock",
)
"""Words of no preset, so that no cache has them."""


def base_names(classes: int | None = None) -> list[str]:
    """Display names of the benchmark's vocabulary, or of its first `classes`."""
    return list(load_vocabulary_file(BASE).vocabulary().names)[:classes]


def with_one_changed(names: list[str], word: str) -> Vocabulary:
    """The vocabulary of `names` with `word` in the place of the one in the middle."""
    middle = len(names) // 2
    return Vocabulary.from_names([*names[:middle], word, *names[middle + 1 :]])


def other_names(names: list[str]) -> list[str]:
    """As many prompts of other presets, none of which is in `names`."""
    taken = {match_key(canonical_name(name)) for name in names}
    found: list[str] = []
    for preset in preset_names():
        for prompt in load_vocabulary_file(preset).vocabulary().prompts:
            key = match_key(canonical_name(prompt))
            if key not in taken:
                taken.add(key)
                found.append(prompt)
    return found[: len(names)]
