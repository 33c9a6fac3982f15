"""Pictures of one frame."""

from types import SimpleNamespace

import numpy as np
import pytest

from activesam_ros.evaluation.report.class_key import NOT_COUNTED, ClassKey
from activesam_ros.evaluation.report.panels import (
    VERDICT_COLOURS,
    Verdict,
    reference_panels,
    sheet,
    shrunk,
    truth_panels,
    verdicts,
)
from activesam_ros.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_names(["road", "car", "sky", "dragon"])
KEY = ClassKey.of(VOCABULARY, SimpleNamespace(classes=("road", "car", "sky"), label_index={0: 0, 1: 1, 2: 2}))


def test_verdicts_of_a_hand_made_frame():
    truth = np.array([[0, 0, 0, 1, 1, 2, -1, -1]])
    labels = np.array([[0, 1, 255, 0, 255, 3, 0, 255]], np.uint8)
    # The car was not decoded: that is why its pixels are wrong, whatever they got.
    assert verdicts(truth, labels, KEY, missed=(1,)).tolist() == [
        [
            Verdict.RIGHT,
            Verdict.WRONG,
            Verdict.UNLABELED,
            Verdict.MISSED,
            Verdict.MISSED,
            Verdict.WRONG,
            Verdict.NOT_COUNTED,
            Verdict.NOT_COUNTED,
        ]
    ]
    decoded = verdicts(truth, labels, KEY)
    assert decoded[0, 3:5].tolist() == [Verdict.WRONG, Verdict.UNLABELED]
    with pytest.raises(ValueError, match="one size"):
        verdicts(truth, labels[:, :4], KEY)


def test_four_panels_say_the_same_thing():
    truth = np.zeros((40, 60), np.int32)
    truth[:10], truth[30:, :30] = 2, -1
    labels = np.zeros((40, 60), np.uint8)
    labels[:10, :20], labels[:10, 20:40], labels[:10, 40:] = 2, 3, 255
    rgb = np.full((40, 60, 3), 200, np.uint8)
    panels = truth_panels(rgb, truth, labels, KEY, missed=(1,))
    pictures = dict(panels.pictures)
    assert list(pictures) == ["input", "truth", "prediction", "error"]
    assert all(picture.shape == (40, 60, 3) for picture in pictures.values())
    assert tuple(pictures["truth"][0, 0]) == VOCABULARY.colours[2]
    assert tuple(pictures["truth"][35, 0]) == NOT_COUNTED == tuple(pictures["error"][35, 0])
    assert tuple(pictures["prediction"][0, 30]) == VOCABULARY.colours[3]
    assert tuple(pictures["error"][0, 30]) == VERDICT_COLOURS[Verdict.WRONG]
    assert tuple(pictures["error"][0, 50]) == VERDICT_COLOURS[Verdict.UNLABELED]
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
    panels = reference_panels(rgb, labels, ClassKey.of(VOCABULARY), reference, "full-vocabulary")
    assert [title for title, _ in panels.pictures] == ["input", "full-vocabulary", "prediction", "difference"]
    assert [entry.labels for entry in panels.errors] == [0.75, 0.25]
    alone = reference_panels(rgb, labels, ClassKey.of(VOCABULARY))
    assert [title for title, _ in alone.pictures] == ["input", "prediction"] and alone.errors == ()


def test_shrinking_makes_up_no_colours():
    picture = np.zeros((90, 100, 3), np.uint8)
    picture[:, 50:] = 255
    assert shrunk(picture, 33, sharp=True).shape == (30, 33, 3)
    assert set(np.unique(shrunk(picture, 33, sharp=True))) == {0, 255}
    assert shrunk(picture, 200) is picture


def test_the_sheet_has_all_pictures_and_a_legend():
    truth = np.zeros((60, 80), np.int32)
    panels = truth_panels(np.zeros((60, 80, 3), np.uint8), truth, np.ones((60, 80), np.uint8), KEY)
    whole = sheet(panels)
    assert whole.shape[0] > 60 and whole.shape[1] > 4 * 80
    for entry in (*panels.classes, *panels.errors):
        assert (whole == entry.colour).all(axis=2).any(), entry.name
