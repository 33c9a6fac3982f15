"""Classes: what they mean, their ids and colours, and the files and presets that list them."""

from activesam_ros.vocabulary.vocabulary import (
    MAX_CLASSES,
    MAX_QUERIES,
    SMALL_IDS,
    Entry,
    Vocabulary,
    VocabularyClass,
    check_size,
    entry_of,
)

__all__ = [
    "MAX_CLASSES",
    "MAX_QUERIES",
    "SMALL_IDS",
    "Entry",
    "Vocabulary",
    "VocabularyClass",
    "check_size",
    "entry_of",
]
