"""The words of the vocabulary benchmark."""

from activesam_ros.benchmarks.words import NEW_WORDS, base_names, other_names, with_one_changed
from activesam_ros.vocabulary.canonical import canonical_name, match_key
from activesam_ros.vocabulary.files import load_vocabulary_file, preset_names


def keys(names):
    return {match_key(canonical_name(name)) for name in names}


def test_171_and_171_others():
    names = base_names()
    others = other_names(names)
    assert len(keys(names)) == len(keys(others)) == len(others) == 171
    assert not keys(names) & keys(others)


def test_new_words_are_in_no_preset():
    known = set()
    # But in the demo model's, which takes its words from everywhere, and which nothing is measured with.
    for preset in set(preset_names()) - {"toytown"}:
        known |= keys(load_vocabulary_file(preset).vocabulary().prompts)
    assert len(keys(NEW_WORDS)) == len(NEW_WORDS)
    assert not keys(NEW_WORDS) & known


def test_one_word_changes():
    names = base_names(5)
    assert with_one_changed(names, "anvil").names == (*names[:2], "anvil", *names[3:])
