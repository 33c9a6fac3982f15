"""Classes: what they mean, their ids and colours, and the files and presets that list them."""

from activesam_ros.vocabulary.vocabulary import (
    MAX_CLASSES,
    MAX_PROMPTS,
    SMALL_IDS,
    ClassSpec,
    Vocabulary,
    VocabularyClass,
    check_size,
    parse_class,
)

__all__ = [
    "MAX_CLASSES",
    "MAX_PROMPTS",
    "SMALL_IDS",
    "ClassSpec",
    "Vocabulary",
    "VocabularyClass",
    "check_size",
    "parse_class",
]
