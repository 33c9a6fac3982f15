"""Names and colours of labels, shared by truth and prediction."""

from types import SimpleNamespace

import numpy as np

from activesam_ros.evaluation.report.class_key import NOT_COUNTED, ClassKey
from activesam_ros.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_names(["road", "car", "van", "sky"])


def test_classes_that_count_as_one_have_one_colour():
    matching = SimpleNamespace(classes=("vehicle", "sky"), label_index={1: 0, 2: 0, 3: 1})
    key = ClassKey.of(VOCABULARY, matching)
    assert key.colours[1] == key.colours[2] == key.class_colours[0] == VOCABULARY.colours[1]
    assert key.colours[0] == VOCABULARY.colours[0] and key.class_colours[1] == VOCABULARY.colours[3]
    labels = np.array([[0, 1, 2, 3, 255]], np.uint8)
    assert key.evaluated(labels).tolist() == [[2, 0, 0, 1, 2]]
    assert key.label_table()[labels][0].tolist() == [
        list(VOCABULARY.colours[0]),
        list(VOCABULARY.colours[1]),
        list(VOCABULARY.colours[1]),
        list(VOCABULARY.colours[3]),
        [0, 0, 0],
    ]
    # -1, a pixel that does not count, is the last row.
    assert key.truth_table()[np.array([1, -1])].tolist() == [list(VOCABULARY.colours[3]), list(NOT_COUNTED)]


def test_without_truth_every_class_keeps_its_own_colour():
    key = ClassKey.of(VOCABULARY)
    assert key.classes == () and tuple(key.colours.values()) == VOCABULARY.colours
