"""Messages that belong to one image are matched, in whatever order they come."""

import pytest

from activesam_ros.cli.frame_sync import MOST_KEPT, MOST_LATER, FrameSync


@pytest.fixture
def sync():
    return FrameSync(tolerance=5, truth_expected=True)


@pytest.fixture
def without_truth():
    return FrameSync(tolerance=5, truth_expected=False)


def parts(frames):
    return [(one.index, one.image, one.labels, one.active, one.truth) for one in frames]


def answered(sync, *stamps):
    for stamp in stamps:
        sync.add_image(stamp, stamp)
        sync.add_labels(stamp, "labels")
        sync.add_active(stamp, "active")


def test_an_image_is_ready_once_all_that_has_its_stamp_is_there(sync):
    sync.add_image(100, "image")
    sync.add_truth(100, "truth")
    sync.add_labels(100, "labels")
    assert sync.ready() == [] and sync.unanswered == 1
    sync.add_active(100, "active")
    assert sync.unanswered == 0
    assert parts(sync.ready()) == [(0, "image", "labels", "active", "truth")]
    assert sync.ready() == [] and sync.images == 1


def test_answers_may_come_before_their_image_and_are_kept_for_a_while(without_truth):
    for stamp in range(MOST_KEPT + 1):
        without_truth.add_active(stamp, "active")
        without_truth.add_labels(stamp, "labels")
    without_truth.add_image(0, "forgotten")
    without_truth.add_image(1, "kept")
    assert parts(without_truth.ready()) == [
        (0, "forgotten", None, None, None),
        (1, "kept", "labels", "active", None),
    ]


def test_images_come_in_their_order_and_one_is_passed_over_by_the_answer_to_a_later_one(without_truth):
    for stamp in (100, 200, 300):
        without_truth.add_image(stamp, stamp)
    without_truth.add_labels(200, "labels")
    assert parts(without_truth.ready()) == [(0, 100, None, None, None)]
    without_truth.add_active(200, "active")
    assert parts(without_truth.ready()) == [(1, 200, "labels", "active", None)]
    assert without_truth.unanswered == 1


def test_active_classes_that_were_lost_are_not_waited_for(without_truth):
    for stamp in (100, 200):
        without_truth.add_image(stamp, stamp)
        without_truth.add_labels(stamp, "labels")
    without_truth.add_active(200, "active")
    assert [one.active for one in without_truth.ready()] == [None, "active"]


def test_images_with_one_stamp_get_an_answer_each(without_truth):
    for image in ("first", "second"):
        without_truth.add_image(0, image)
    for number in (1, 2):
        without_truth.add_labels(0, number)
        without_truth.add_active(0, number)
    assert parts(without_truth.ready()) == [(0, "first", 1, 1, None), (1, "second", 2, 2, None)]


def test_truth_is_waited_for_until_a_later_one_has_come(sync):
    answered(sync, 100, 200)
    sync.add_truth(104, "truth of 100")
    assert sync.ready() == []
    sync.add_truth(203, "truth of 200")
    assert [one.truth for one in sync.ready()] == ["truth of 100"]
    sync.add_truth(303, "truth of nothing")
    assert [one.truth for one in sync.ready()] == ["truth of 200"]


def test_the_nearest_truth_within_the_tolerance_is_taken_and_each_once(sync):
    answered(sync, 100, 104, 200)
    for stamp in (103, 104, 206):
        sync.add_truth(stamp, stamp)
    assert [(one.stamp, one.truth) for one in sync.ready()] == [(100, 103), (104, 104), (200, None)]


def test_an_image_does_not_wait_for_ever_for_a_truth(sync):
    answered(sync, *range(100, 100 * (MOST_LATER + 2), 100))
    assert [one.stamp for one in sync.ready()] == [100]


@pytest.mark.parametrize("answered_alone", [False, True])
def test_the_rest_comes_with_what_there_is(sync, answered_alone):
    answered(sync, 100)
    sync.add_image(200, 200)
    sync.add_truth(102, "truth")
    rest = [(0, 100, "labels", "active", "truth"), (1, 200, None, None, None)]
    take = sync.answered_rest if answered_alone else sync.rest
    assert parts(take()) == rest[: 1 if answered_alone else 2]
    assert take() == []
