import numpy as np
import pytest

from activesam_ros.vocabulary.palette import CITYSCAPES, class_colours, colour_table, name_colour


def test_cityscapes_words_have_the_colours_everybody_knows():
    assert name_colour("road") == (128, 64, 128)
    assert [tuple(colour) for colour in class_colours(list(CITYSCAPES)).tolist()] == list(CITYSCAPES.values())


@pytest.mark.parametrize(
    "spelling",
    [
        "Traffic Light",
        "traffic_light",
        "traffic-light",
        " traffic  light ",
        "traffic light, stoplight",
        "traffic signal",
    ],
)
def test_spelling_and_usual_synonyms_do_not_change_the_colour(spelling):
    assert name_colour(spelling) == CITYSCAPES["traffic light"]


def test_the_same_name_has_the_same_colour_in_any_process_and_vocabulary():
    # Written down, since Python's own hash differs from process to process.
    assert name_colour("zebra") == (241, 106, 205)
    assert tuple(class_colours(["road", "zebra"])[1]) == name_colour("zebra")
    assert tuple(class_colours(["zebra", "sky", "cup"])[0]) == name_colour("zebra")


def test_a_synonym_beside_its_word_gets_a_colour_of_its_own():
    road, street = class_colours(["street", "road"])[::-1].tolist()
    assert tuple(road) == CITYSCAPES["road"]
    assert street != road


def test_sixty_classes_are_distinct_and_none_is_black():
    names = [*CITYSCAPES, *(f"thing {index}" for index in range(41))]
    colours = class_colours(names).astype(int)
    distance = np.abs(colours[:, None] - colours[None]).max(axis=2)
    np.fill_diagonal(distance, 255)
    assert distance.min() >= 12
    assert colours.max(axis=1).min() >= 35


def test_a_huge_vocabulary_has_a_colour_for_every_class():
    assert class_colours([f"thing {index}" for index in range(700)]).shape == (700, 3)


def test_the_table_maps_ids_that_are_not_consecutive_and_leaves_the_rest_black():
    table = colour_table([3, 7], class_colours(["road", "sky"]), unlabeled_id=255)
    assert table.shape == (256, 3) and table.dtype == np.uint8
    assert tuple(table[3]) == CITYSCAPES["road"] and tuple(table[7]) == CITYSCAPES["sky"]
    assert not table[[0, 4, 255]].any()


def test_given_colours_stay_and_others_keep_clear_of_them():
    free = class_colours(["zebra", "giraffe"])
    given = class_colours(["zebra", "giraffe"], {1: tuple(free[0])})
    assert tuple(given[1]) == tuple(free[0])
    assert np.abs(given[0].astype(int) - given[1]).max() >= 12


def test_an_empty_list_is_an_empty_palette():
    assert class_colours([]).shape == (0, 3)
    assert not colour_table([], [], 65535).any()
