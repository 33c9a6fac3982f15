"""Pictures of one frame, and the names and colours of their labels."""

from types import SimpleNamespace

import numpy as np
import pytest

from activesam_ros.evaluation.report.panels import (
    NOT_COUNTED,
    OUTCOME_COLOURS,
    ClassColours,
    Outcome,
    contact_sheet,
    outcomes,
    reference_panels,
    shrunk,
    truth_panels,
)
from activesam_ros.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_names(["road", "car", "sky", "dragon"])
COLOURS = ClassColours.of(
    VOCABULARY, SimpleNamespace(classes=("road", "car", "sky"), label_index={0: 0, 1: 1, 2: 2})
)
VEHICLES = Vocabulary.from_names(["road", "car", "van", "sky"])


def test_classes_that_count_as_one_have_one_colour():
    matching = SimpleNamespace(classes=("vehicle", "sky"), label_index={1: 0, 2: 0, 3: 1})
    key = ClassColours.of(VEHICLES, matching)
    assert key.colours[1] == key.colours[2] == key.class_colours[0] == VEHICLES.colours[1]
    assert key.colours[0] == VEHICLES.colours[0] and key.class_colours[1] == VEHICLES.colours[3]
    labels = np.array([[0, 1, 2, 3, 255]], np.uint8)
    assert key.evaluated(labels).tolist() == [[2, 0, 0, 1, 2]]
    assert key.label_table()[labels][0].tolist() == [
        list(VEHICLES.colours[0]),
        list(VEHICLES.colours[1]),
        list(VEHICLES.colours[1]),
        list(VEHICLES.colours[3]),
        [0, 0, 0],
    ]
    # -1, a pixel that does not count, is the last row.
    assert key.truth_table()[np.array([1, -1])].tolist() == [list(VEHICLES.colours[3]), list(NOT_COUNTED)]


def test_without_truth_every_class_keeps_its_own_colour():
    key = ClassColours.of(VEHICLES)
    assert key.classes == () and tuple(key.colours.values()) == VEHICLES.colours


def test_outcomes_of_a_hand_made_frame():
    truth = np.array([[0, 0, 0, 1, 1, 2, -1, -1]])
    labels = np.array([[0, 1, 255, 0, 255, 3, 0, 255]], np.uint8)
    # The car was not decoded: that is why its pixels are wrong, whatever they got.
    assert outcomes(truth, labels, COLOURS, missed=(1,)).tolist() == [
        [
            Outcome.RIGHT,
            Outcome.WRONG,
            Outcome.UNLABELED,
            Outcome.MISSED,
            Outcome.MISSED,
            Outcome.WRONG,
            Outcome.NOT_COUNTED,
            Outcome.NOT_COUNTED,
        ]
    ]
    decoded = outcomes(truth, labels, COLOURS)
    assert decoded[0, 3:5].tolist() == [Outcome.WRONG, Outcome.UNLABELED]
    with pytest.raises(ValueError, match="one size"):
        outcomes(truth, labels[:, :4], COLOURS)


def test_four_panels_say_the_same_thing():
    truth = np.zeros((40, 60), np.int32)
    truth[:10], truth[30:, :30] = 2, -1
    labels = np.zeros((40, 60), np.uint8)
    labels[:10, :20], labels[:10, 20:40], labels[:10, 40:] = 2, 3, 255
    rgb = np.full((40, 60, 3), 200, np.uint8)
    panels = truth_panels(rgb, truth, labels, COLOURS, missed=(1,))
    pictures = dict(panels.pictures)
    assert list(pictures) == ["input", "truth", "prediction", "error"]
    assert all(picture.shape == (40, 60, 3) for picture in pictures.values())
    assert tuple(pictures["truth"][0, 0]) == VOCABULARY.colours[2]
    assert tuple(pictures["truth"][35, 0]) == NOT_COUNTED == tuple(pictures["error"][35, 0])
    assert tuple(pictures["prediction"][0, 30]) == VOCABULARY.colours[3]
    assert tuple(pictures["error"][0, 30]) == OUTCOME_COLOURS[Outcome.WRONG]
    assert tuple(pictures["error"][0, 50]) == OUTCOME_COLOURS[Outcome.UNLABELED]
    assert len(set(pictures["error"][0, 0])) == 1, "what is right is grey"
    shares = {entry.name: entry.labels for entry in panels.errors}
    counted = 40 * 60 - 300
    assert shares == {
        "right": pytest.approx((counted - 400) / counted),
        "wrong class": pytest.approx(200 / counted),
        "no label": pytest.approx(200 / counted),
        "truth does not count": None,
    }
    named = {entry.name: entry for entry in panels.classes}
    assert set(named) == {"road", "sky", "dragon (not in the truth)", "no label"}, "the car is not to be seen"
    assert named["sky"].truth == pytest.approx(600 / counted)
    assert named["sky"].labels == pytest.approx(200 / counted), "of the same pixels"
    assert named["road"].labels == pytest.approx((counted - 600) / counted)
    assert panels.classes[0].name == "road", "the largest first"


def test_without_truth_another_method_is_compared_with():
    labels = np.zeros((20, 20), np.uint8)
    reference = labels.copy()
    reference[:5] = 2
    rgb = np.zeros((20, 20, 3), np.uint8)
    panels = reference_panels(rgb, labels, ClassColours.of(VOCABULARY), reference, "full-vocabulary")
    assert [title for title, _ in panels.pictures] == ["input", "full-vocabulary", "prediction", "difference"]
    assert [entry.labels for entry in panels.errors] == [0.75, 0.25]
    alone = reference_panels(rgb, labels, ClassColours.of(VOCABULARY))
    assert [title for title, _ in alone.pictures] == ["input", "prediction"] and alone.errors == ()


def test_shrinking_makes_up_no_colours():
    picture = np.zeros((90, 100, 3), np.uint8)
    picture[:, 50:] = 255
    assert shrunk(picture, 33, nearest=True).shape == (30, 33, 3)
    assert set(np.unique(shrunk(picture, 33, nearest=True))) == {0, 255}
    assert shrunk(picture, 200) is picture


def test_the_sheet_has_all_pictures_and_a_legend():
    truth = np.zeros((60, 80), np.int32)
    panels = truth_panels(np.zeros((60, 80, 3), np.uint8), truth, np.ones((60, 80), np.uint8), COLOURS)
    whole = contact_sheet(panels)
    assert whole.shape[0] > 60 and whole.shape[1] > 4 * 80
    for entry in (*panels.classes, *panels.errors):
        assert (whole == entry.colour).all(axis=2).any(), entry.name
