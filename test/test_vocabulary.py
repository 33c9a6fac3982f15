"""Names to classes, ids and queries, and refusals that say why."""

import numpy as np
import pytest

from activesam_ros.errors import VocabularyError
from activesam_ros.vocabulary import Vocabulary


def test_ids_follow_the_order_and_aliases_become_queries():
    vocabulary = Vocabulary.from_names(["road", " car ,  motor   car", "sky"], background="car")
    assert vocabulary.names == ("road", "car", "sky")
    assert vocabulary.class_ids == (0, 1, 2)
    assert vocabulary.queries == ("road", "car", "motor car", "sky")
    assert vocabulary.query_classes == (0, 1, 1, 2)
    assert vocabulary.background_id == 1
    assert len(vocabulary) == 3


def test_aliases_of_one_class_may_share_a_canonical_form():
    vocabulary = Vocabulary.from_names(["tv monitor, tvmonitor", "plaything, toy"])
    assert len(vocabulary.queries) == 4


@pytest.mark.parametrize(("classes", "dtype", "unlabeled"), [(1, "uint8", 255), (255, "uint8", 255), (256, "uint16", 65535)])
def test_label_type_grows_with_the_ids(classes, dtype, unlabeled):
    vocabulary = Vocabulary.from_names([f"thing {index}" for index in range(classes)])
    assert vocabulary.label_dtype == np.dtype(dtype)
    assert vocabulary.unlabeled_id == unlabeled


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "empty"),
        ("road", "list of names"),
        (None, "list of names"),
        (["road", ""], "class 1 has a blank name"),
        (["road", "  ,"], "class 1 has a blank name"),
        (["car,, auto"], "blank alias"),
        (["car, !?"], "without a letter or digit"),
        (["road", 7], "class 1 is 7"),
        (["road", "Road"], r"classes 0 \('road'\) and 1 \('Road'\)"),
        (["toy", "car", "plaything"], "both ask for 'toy'"),
        (["traffic light", "trafficlight"], "both ask for 'traffic light'"),
    ],
)
def test_refusals(names, reason):
    with pytest.raises(VocabularyError, match=reason):
        Vocabulary.from_names(names)


@pytest.mark.parametrize("background", ["tree", "", "automobile"])
def test_background_must_name_a_class(background):
    with pytest.raises(VocabularyError, match="background class .* is not in the vocabulary"):
        Vocabulary.from_names(["road", "car, automobile"], background=background)


def test_the_first_alias_names_the_background():
    assert Vocabulary.from_names(["road", "car, automobile"], background="car, automobile").background_id == 1


def test_too_many_classes():
    with pytest.raises(VocabularyError, match="65536 classes"):
        Vocabulary.from_names([f"c{index}" for index in range(65_536)])
