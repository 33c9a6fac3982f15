"""The word lists."""

from __future__ import annotations

from activesam_ros.toytown import (
    CLASSES,
    DEMO_CLASSES,
    FOREIGN,
    HYPERNYMS,
    SUPERCLASSES,
    SYNONYMS,
    UNSEEN_FOREIGN,
)
from activesam_ros.vocabulary import Vocabulary


def test_nineteen_classes_each_first_among_its_own_synonyms():
    assert len(CLASSES) == 19
    assert all(synonyms[0] == name and len(synonyms) >= 4 for name, synonyms in SYNONYMS.items())
    assert set(HYPERNYMS) == set(CLASSES)
    assert all(set(parts) < set(CLASSES) for parts in SUPERCLASSES.values())


def test_foreign_words_name_nothing_in_the_world():
    street = {word for synonyms in SYNONYMS.values() for word in synonyms}
    assert not street & {*FOREIGN, *UNSEEN_FOREIGN}
    assert not set(FOREIGN) & set(UNSEEN_FOREIGN)
    assert len(set(FOREIGN)) == len(FOREIGN) and len(set(UNSEEN_FOREIGN)) == len(UNSEEN_FOREIGN)


def test_the_demo_vocabulary_has_sixty_words_some_never_trained_on():
    assert len(set(DEMO_CLASSES)) == 60
    assert DEMO_CLASSES[:19] == CLASSES
    assert set(DEMO_CLASSES[19:]) <= {*FOREIGN, *UNSEEN_FOREIGN}
    assert sum(word in UNSEEN_FOREIGN for word in DEMO_CLASSES) == 10
    assert len(Vocabulary.from_names(list(DEMO_CLASSES))) == 60
