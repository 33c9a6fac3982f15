"""Names to classes, ids and queries, and refusals that say why."""

import random

import numpy as np
import pytest

from activesam_ros.errors import VocabularyError
from activesam_ros.vocabulary import ClassSpec, Vocabulary, check_size


def test_ids_follow_the_order_and_aliases_become_queries():
    vocabulary = Vocabulary.from_names(["road", " car ,  motor   car", "sky"], background="car")
    assert vocabulary.names == ("road", "car", "sky")
    assert vocabulary.class_ids == (0, 1, 2)
    assert vocabulary.prompts == ("road", "car", "motor car", "sky")
    assert vocabulary.prompt_classes == (0, 1, 1, 2)
    assert vocabulary.background_id == 1
    assert len(vocabulary) == 3


def test_aliases_of_one_class_may_share_a_canonical_form():
    vocabulary = Vocabulary.from_names(["tv monitor, tvmonitor", "plaything, toy"])
    assert len(vocabulary.prompts) == 4


@pytest.mark.parametrize(
    ("classes", "dtype", "unlabeled"), [(1, "uint8", 255), (255, "uint8", 255), (256, "uint16", 65535)]
)
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
    with pytest.raises(VocabularyError, match=r"background class .* is not in the vocabulary"):
        Vocabulary.from_names(["road", "car, automobile"], background=background)


def test_the_first_alias_names_the_background():
    assert Vocabulary.from_names(["road", "car, automobile"], background="car, automobile").background_id == 1


def test_too_many_classes():
    with pytest.raises(VocabularyError, match=r"65536 classes"):
        Vocabulary.from_names([f"c{index}" for index in range(65_536)])


def test_more_prompts_than_a_model_is_asked():
    check_size(Vocabulary.from_names([f"c{index}" for index in range(10_000)]))
    with pytest.raises(VocabularyError, match=r"10001 prompts; at most 10000"):
        check_size(Vocabulary.from_names([f"c{index}" for index in range(10_001)]))


def test_entries_may_be_shown_by_another_name():
    vocabulary = Vocabulary.from_specs(
        [
            ClassSpec("vegetation", ("tree", "hedge"), (1, 2, 3)),
            ClassSpec("sky"),
            ClassSpec("vehicle", ("car", "bus"), members=("car", "bus")),
        ],
        background="sky",
    )
    assert vocabulary.names == ("vegetation", "sky", "vehicle")
    assert vocabulary.prompts == ("tree", "hedge", "sky", "car", "bus")
    assert vocabulary.colours[0] == (1, 2, 3)
    assert vocabulary.classes[2].members == ("car", "bus")
    assert vocabulary.background_id == 1


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([ClassSpec("a", ("x",)), ClassSpec("A", ("y",))], "have the same name"),
        ([ClassSpec("a", ("x",)), ClassSpec("b", ("X",))], "both ask for 'X'"),
        ([ClassSpec(" ", ("x",))], "blank name"),
        ([ClassSpec("a", ("x", ""))], "blank alias"),
    ],
)
def test_entries_are_refused_with_reasons(entries, reason):
    with pytest.raises(VocabularyError, match=reason):
        Vocabulary.from_specs(entries)


def test_names_that_stay_keep_id_and_colour():
    first = Vocabulary.from_names(["road", "car", "sky"], background="sky")
    second = first.updated(["sky", "zebra", "Road, street"], background="zebra")
    assert dict(zip(second.names, second.class_ids, strict=True)) == {"sky": 2, "zebra": 3, "Road": 0}
    assert second.colours[0] == first.colours[2] and second.colours[2] == first.colours[0]
    assert second.prompts == ("sky", "zebra", "Road", "street")
    assert second.background_id == 3
    assert second.freed_ids == (1,) and second.next_id == 4


def test_a_name_that_comes_back_is_new():
    vocabulary = Vocabulary.from_names(["road", "car"]).updated(["road"]).updated(["road", "car"])
    assert vocabulary.class_ids == (0, 2)


def test_freed_ids_come_back_oldest_first_when_none_is_left():
    vocabulary = Vocabulary.from_names([f"a{index}" for index in range(253)])
    vocabulary = vocabulary.updated(vocabulary.names[:250])
    vocabulary = vocabulary.updated([*vocabulary.names[1:], "b0", "b1"])
    assert vocabulary.class_ids[-2:] == (253, 254)
    # 250, 251, 252 were freed by the first edit, 0 by the second.
    vocabulary = vocabulary.updated([*vocabulary.names, "c0", "c1", "c2", "c3"])
    assert vocabulary.class_ids[-4:] == (250, 251, 252, 0)
    assert len(vocabulary) == 255 and vocabulary.label_dtype == np.uint8
    assert vocabulary.updated([*vocabulary.names, "d"]).class_ids[-1] == 255


def test_a_vocabulary_that_shrinks_returns_to_small_ids():
    large = Vocabulary.from_names([f"a{index}" for index in range(300)])
    small = large.updated([*large.names[200:250], "new"])
    assert small.class_ids[-1] == 0
    assert small.label_dtype == np.uint8


@pytest.mark.parametrize("seed", range(8))
def test_random_edits(seed):
    choice = random.Random(seed)
    words = [f"word {index}" for index in range(400)]
    vocabulary = Vocabulary.from_names(choice.sample(words, 5))
    used = set(vocabulary.class_ids)
    for _ in range(60):
        before = {entry.name: entry for entry in vocabulary.classes}
        most = choice.choice([3, 20, 100, 290])
        stay = [name for name in vocabulary.names if choice.random() < 0.6][:most]
        new = [
            word for word in choice.sample(words, choice.randint(0, most - len(stay))) if word not in before
        ]
        names = choice.sample([*stay, *new], len(stay) + len(new)) or ["word 0"]
        vocabulary = vocabulary.updated(names)
        ids = vocabulary.class_ids
        assert vocabulary.names == tuple(names)
        assert len(set(ids)) == len(ids)
        assert not set(ids) & set(vocabulary.freed_ids)
        added = [entry for entry in vocabulary.classes if entry.name not in before]
        for entry in vocabulary.classes:
            if entry.name in before:
                assert (entry.class_id, entry.colour) == (
                    before[entry.name].class_id,
                    before[entry.name].colour,
                )
        unused = max(0, (255 if len(names) <= 255 else 65_535) - len(used))
        assert not {entry.class_id for entry in added[:unused]} & used
        if len(names) <= 255 and all(before[name].class_id < 255 for name in names if name in before):
            assert vocabulary.label_dtype == np.uint8
        used |= set(ids)
        assert used == set(range(vocabulary.next_id))
