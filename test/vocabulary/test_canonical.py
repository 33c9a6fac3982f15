"""The table of canonical names, word for word."""

import pytest

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
    "name", ["car", "Golden Retriever", "wall-other", "floor-other-wood", "brick wall", "ties", "道路"]
)
def test_other_names_stay(name):
    assert canonical_name(name) == name


def test_spaces_are_tidied():
    assert canonical_name("  red   car ") == "red car"
    assert match_key(" Red-Car!") == "redcar"
