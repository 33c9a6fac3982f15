"""Ids that instances keep on a stream."""

from dataclasses import replace

import numpy as np
import pytest

from activesam_ros.instances import MAX_INSTANCES, Instance, draw_ids
from activesam_ros.stages import association as association_module
from activesam_ros.stages.association import Association, IdCounter

CLASSES = ((0, "car"), (1, "person"))


def thing(left, top=10, side=10, class_id=0, score=0.9, grid=(72, 96)):
    """A square of the grid's cells; the image has four pixels per cell and direction."""
    box = tuple(4.0 * edge for edge in (left, top, left + side, top + side))
    size = (4 * grid[0], 4 * grid[1])
    logits = np.ones((side, side), np.float32)
    return Instance(class_id, CLASSES[class_id][1], score, box, class_id, 0, size, grid, (top, left), logits)


def ids(association, *things, classes=CLASSES, occlusion_frames=10):
    return [one.id for one in association.identify(things, classes, occlusion_frames)]


def test_ids_follow_places_not_scores_or_order_and_new_things_have_new_ids():
    association = Association(IdCounter())
    assert ids(association, thing(10), thing(40)) == [1, 2]
    assert ids(association, thing(42), thing(12), thing(70)) == [2, 1, 3]
    assert ids(association, thing(70)) == [3]


def test_a_thing_that_outruns_its_own_width_keeps_the_id_that_moved_with_it():
    association = Association(IdCounter())
    assert ids(association, thing(10), thing(80)) == [1, 2]
    association.carry([replace(thing(40), id=1)])
    assert ids(association, thing(42), thing(80)) == [1, 2]


def test_the_pairs_are_the_best_together():
    # The first thing overlaps most with what is the only choice of the second.
    association = Association(IdCounter())
    assert ids(association, thing(10), thing(17)) == [1, 2]
    assert ids(association, thing(13), thing(5)) == [2, 1]


def test_crossing_things_keep_their_ids():
    association = Association(IdCounter())
    for step in range(16):
        given = [thing(10 + 4 * step), thing(70 - 4 * step, top=18)]
        assert ids(association, *given) == [1, 2], step


def test_of_several_instances_on_one_thing_the_strongest_stays_the_same():
    association = Association(IdCounter())
    assert ids(association, thing(10, score=0.9), thing(12, score=0.3)) == [1, 2]
    assert ids(association, thing(12, score=0.9), thing(10, score=0.3)) == [1, 2]


def test_classes_are_never_mixed():
    association = Association(IdCounter())
    assert ids(association, thing(10)) == [1]
    assert ids(association, thing(10, class_id=1)) == [2]
    assert ids(association, thing(10, class_id=1), thing(10)) == [2, 1]


@pytest.mark.parametrize("hidden", [0, 3, 4])
def test_a_short_occlusion_is_bridged(hidden):
    association = Association(IdCounter())
    ids(association, thing(10), occlusion_frames=3)
    for _ in range(hidden):
        assert ids(association, occlusion_frames=3) == []
    assert ids(association, thing(12), occlusion_frames=3) == [1 if hidden <= 3 else 2]


def test_a_class_that_was_away_comes_back_with_new_ids_and_others_stay():
    association = Association(IdCounter())
    assert ids(association, thing(10), thing(40, class_id=1)) == [1, 2]
    assert ids(association, thing(40, class_id=1), classes=CLASSES[1:]) == [2]
    assert ids(association, thing(10), thing(40, class_id=1)) == [3, 2]


def test_another_size_of_image_begins_anew():
    association = Association(IdCounter())
    assert ids(association, thing(10)) == [1]
    assert ids(association, thing(10, grid=(60, 80))) == [2]


def test_ids_go_on_beyond_what_an_id_image_can_hold():
    association = Association(IdCounter(MAX_INSTANCES - 1))
    assert ids(association, thing(10), thing(40)) == [MAX_INSTANCES, MAX_INSTANCES + 1]
    found = association.identify((thing(40), thing(11)), CLASSES, 10)
    assert [one.id for one in found] == [MAX_INSTANCES + 1, MAX_INSTANCES]
    assert set(np.unique(draw_ids(found, np.zeros((288, 384), np.uint8)))) == {0, MAX_INSTANCES}


def test_associations_of_one_counter_give_no_id_twice_and_a_copy_knows_the_same_things():
    first = Association(IdCounter())
    assert ids(first, thing(10)) == [1]
    second = first.copy()
    assert ids(second, thing(12), thing(40)) == [1, 2]
    assert ids(first, thing(40), thing(11)) == [3, 1]
    second.forget()
    assert ids(second, thing(12)) == [4]


def test_of_very_many_things_of_a_class_the_first_are_compared(monkeypatch):
    monkeypatch.setattr(association_module, "_MOST_COMPARED", 2)
    association = Association(IdCounter())
    assert ids(association, thing(10), thing(30), thing(50)) == [1, 2, 3]
    assert ids(association, thing(10), thing(50), thing(30)) == [1, 3, 4]


def test_what_is_remembered_is_bounded():
    association = Association(IdCounter())
    few = [replace(thing(10), class_id=0) for _ in range(300)]
    for step in range(8):
        ids(association, *[replace(one, corner=(20 * (step % 3), 0)) for one in few], occlusion_frames=1000)
    assert len(association._tracks) <= 1300
