"""The table of canonical names, word for word."""

import unicodedata

import pytest

from activesam_ros.datasets.class_map import ClassMap, match_classes
from activesam_ros.errors import VocabularyError
from activesam_ros.vocabulary import ClassSpec, Vocabulary
from activesam_ros.vocabulary.canonical import canonical_name, match_key


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("trafficlight", "traffic light"),
        ("Traffic-Sign", "traffic sign"),
        ("TV/Monitor", "tv monitor"),
        ("chestofdrawers", "chest of drawers"),
        ("hairdrier", "hair drier"),
        ("diningtable", "dining table"),
        ("conveyerbelt", "conveyor belt"),
        ("aeroplane", "airplane"),
        ("Motorbike", "motorcycle"),
        ("wall-brick", "brick wall"),
        ("wall-concrete", "concrete wall"),
        ("wall-wood", "wooden wall"),
        ("wall-panel", "wall panel"),
        ("floor-wood", "wooden floor"),
        ("floor-marble", "marble floor"),
        ("ceiling-tile", "tile ceiling"),
        ("window-blind", "window blind"),
        ("tie", "necktie"),
        ("remote", "remote control"),
        ("mouse", "computer mouse"),
        ("monitor", "computer monitor"),
        ("ashcan", "trash can"),
        ("plaything", "toy"),
        ("buffet", "sideboard"),
        ("bedclothes", "bed clothes"),
    ],
)
def test_table(name, canonical):
    assert canonical_name(name) == canonical
    assert canonical_name(canonical) == canonical


@pytest.mark.parametrize(
    "name", ["car", "Golden Retriever", "T-shirt", "brick wall", "ties", "道路", "other"]
)
def test_other_names_stay(name):
    assert canonical_name(name) == name


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("stop_sign", "stop sign"),
        ("traffic_light", "traffic light"),
        ("grass-merged", "grass"),
        ("wall-other", "wall"),
        ("Floor-other-merged", "Floor"),
        ("door-stuff", "door"),
        ("bow_(weapon)", "weapon bow"),
        ("fish_(food)", "food fish"),
        ("iron_(for_clothing)", "iron for clothing"),
        ("mouse_(computer_equipment)", "computer equipment mouse"),
        ("floor-other-wood", "floor-other-wood"),
    ],
)
def test_labels_of_data_sets_become_words(label, words):
    assert canonical_name(label) == words


@pytest.mark.parametrize(
    "name", ["mouse", "tie", "remote", "monitor", "buffet", "wall-brick", "wall-other", "a_b"]
)
def test_a_mark_keeps_a_prompt_as_it_is_written(name):
    assert canonical_name(name) != name
    assert canonical_name(f"={name}") == canonical_name(f" =  {name} ") == name
    assert match_key(f"={name}") == match_key(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("कील", "कल"),
        ("ปู", "ปี"),
        ("C", "C++"),
        ("C", "C#"),
        ("resume", "résumé"),
        ("1.5", "15"),
        ("A1 2", "A12"),
    ],
)
def test_names_that_differ_in_more_than_spaces_and_punctuation_are_two(one, other):
    assert match_key(one) != match_key(other)
    vocabulary = Vocabulary.from_names([one, other])
    matching = match_classes(vocabulary, ClassMap({7: one, 8: other}))
    assert matching.truth_index == {7: 0, 8: 1} and not matching.unmatched_truth


@pytest.mark.parametrize("name", ["café", "Ångström", "한국", "がぎ", "கொ", "İstanbul"])
def test_both_ways_to_compose_a_letter_are_one_name(name):
    composed, apart = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    assert composed != apart and match_key(composed) == match_key(apart)
    assert canonical_name(apart) == canonical_name(composed) == composed
    with pytest.raises(VocabularyError, match=r"same|both ask for"):
        Vocabulary.from_names([composed, apart])


@pytest.mark.parametrize("character", ["\0", "\x07", "\x1c", "\x7f", "\x85", "\u2028", "\u202e", "\ud800"])
def test_control_characters_are_refused(character):
    code = f"U\\+{ord(character):04X}"
    with pytest.raises(VocabularyError, match=f"class 1 has the control character {code}.*; remove it"):
        Vocabulary.from_names(["road", f"c{character}ar"])
    with pytest.raises(VocabularyError, match=code):
        Vocabulary.from_specs([ClassSpec("road"), ClassSpec("car", ("car", f"auto{character}"))])
    assert Vocabulary.from_names(["a\tb\n", "می\u200cخواهم"]).names == ("a b", "می\u200cخواهم")


def test_spaces_are_tidied():
    assert canonical_name("  red   car ") == "red car"
    assert match_key(" Red-Car!") == "redcar"
