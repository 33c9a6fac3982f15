"""Which depth belongs to which labels, and what becomes of labels without any."""

import random

import pytest

from activesam_ros.ros.point_matcher import LABELS, MOST_BYTES, PENDING, Lack, PointMatcher


@pytest.fixture
def matcher():
    found = PointMatcher()
    found.queue_size, found.has_camera_info = 4, True
    return found


def depth(matcher, *stamps):
    for stamp in stamps:
        matcher.add_depth(stamp, f"depth {stamp}", 1)


def labels(matcher, *stamps):
    for stamp in stamps:
        matcher.add(LABELS, stamp, f"labels {stamp}")


def taken(matcher):
    frame = matcher.take()
    return frame and (frame.stamp, frame.depth)


def test_labels_get_the_depth_of_their_stamp_whichever_comes_first(matcher):
    depth(matcher, 1, 2, 3)
    labels(matcher, 2)
    assert taken(matcher) == (2, "depth 2") and matcher.take() is None
    # That before is of no use any more.
    assert matcher.depths == 2
    labels(matcher, 4)
    assert matcher.take() is None and matcher.waiting == 1
    depth(matcher, 4)
    assert taken(matcher) == (4, "depth 4")
    assert (matcher.received, sum(matcher.dropped.values()), matcher.waiting) == (2, 0, 0)


def test_the_nearest_depth_is_taken_once_no_nearer_one_can_come(matcher):
    matcher.slop = 10
    depth(matcher, 92)
    labels(matcher, 100)
    assert matcher.take() is None
    depth(matcher, 103)
    assert taken(matcher) == (100, "depth 103")
    labels(matcher, 120)
    depth(matcher, 131)
    assert matcher.take() is None


def test_a_frame_waits_for_what_others_publish_and_passes_over_what_never_came(matcher):
    matcher.expected = ("confidence", "instances")
    depth(matcher, 1, 2, 3)
    labels(matcher, 1, 2, 3)
    matcher.add("instances", 2, "ids")
    matcher.add("instances", 3, "ids")
    matcher.add("confidence", 3, "sure")
    frame = matcher.take()
    assert frame.parts == {LABELS: "labels 3", "instances": "ids", "confidence": "sure"}
    assert matcher.dropped == {Lack.CONFIDENCE: 2} and matcher.waiting == 0
    # What came without labels is no label image.
    for stamp in range(10, 20):
        matcher.add("confidence", stamp, "sure")
    assert (matcher.received, matcher.dropped.total()) == (3, 2)


def test_nothing_is_taken_without_a_camera_info(matcher):
    matcher.has_camera_info = False
    depth(matcher, 1)
    labels(matcher, 1)
    assert matcher.take() is None
    matcher.has_camera_info = True
    assert taken(matcher) == (1, "depth 1")


def test_what_waits_is_bounded_and_what_is_dropped_is_counted_with_what_it_lacked(matcher):
    depth(matcher, 1, 2, 3, 4, 5, 6)
    assert matcher.depths == 4
    labels(matcher, 1)
    labels(matcher, *range(103, 103 + PENDING))
    assert matcher.waiting == PENDING and matcher.dropped == {Lack.DEPTH: 1}
    assert matcher.last_lack is Lack.DEPTH and matcher.late and matcher.apart == 2
    labels(matcher, 200)
    assert not matcher.late and matcher.apart == 97
    matcher.add_depth(7, "huge", MOST_BYTES)
    assert matcher.depths == 1
    matcher.add_depth(8, "too large", MOST_BYTES + 1)
    assert matcher.depths == 0
    matcher.clear()
    assert matcher.dropped == {Lack.DEPTH: 2, Lack.NOBODY: PENDING} and matcher.waiting == 0


def test_stamps_may_jump_back_and_come_twice(matcher):
    depth(matcher, 100, 101)
    labels(matcher, 101)
    assert taken(matcher) == (101, "depth 101")
    depth(matcher, 1)
    labels(matcher, 1)
    assert taken(matcher) == (1, "depth 1")
    labels(matcher, 0, 0)
    assert matcher.dropped == {Lack.DEPTH: 1}
    depth(matcher, 0)
    assert taken(matcher) == (0, "depth 0")


def test_every_label_image_is_accounted_for_whatever_comes(matcher):
    chance = random.Random(3)
    taken_ones = 0
    for _ in range(5_000):
        matcher.slop = chance.choice((0, 2))
        matcher.expected = chance.choice(((), ("confidence",), ("confidence", "instances")))
        matcher.has_camera_info = chance.random() < 0.9
        stamp = chance.randrange(-5, 12)
        if chance.random() < 0.4:
            matcher.add_depth(stamp, stamp, chance.choice((1, MOST_BYTES // 2)))
        else:
            matcher.add(chance.choice((LABELS, LABELS, "confidence", "instances")), stamp, stamp)
        while frame := matcher.take():
            taken_ones += 1
            assert abs(frame.depth - frame.stamp) <= matcher.slop
        assert matcher.received == taken_ones + matcher.dropped.total() + matcher.waiting
        assert matcher.waiting <= PENDING and matcher.depths <= 4
    assert taken_ones > 100
