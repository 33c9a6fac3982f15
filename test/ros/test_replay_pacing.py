"""How many images of a replay are on their way."""

import threading

from activesam_ros.ros.replay_pacing import Pacing, Stillness

from .fakes import PATIENCE

SECOND = 1_000_000_000


def sent(pacing, *stamps):
    for stamp in stamps:
        pacing.send(stamp)


def test_no_more_images_than_allowed_are_on_their_way():
    pacing = Pacing(["labels"], most=2)
    sent(pacing, 10)
    assert pacing.wait_for_room(0)
    sent(pacing, 20)
    assert not pacing.wait_for_room(0)
    pacing.answered("labels", 10)
    assert pacing.wait_for_room(0)
    assert not pacing.wait_for_all(0)
    pacing.answered("labels", 20)
    assert pacing.wait_for_all(0)
    assert pacing.sent == 2


def test_the_slowest_listener_sets_the_pace():
    pacing = Pacing(["labels", "/evaluator"], most=1)
    sent(pacing, 10)
    pacing.answered("labels", 10)
    assert not pacing.wait_for_room(0)
    assert pacing.unanswered("labels") == 0
    assert pacing.unanswered("/evaluator") == 1
    pacing.answered("/evaluator", 10)
    assert pacing.wait_for_room(0)


def test_an_answer_to_a_later_image_is_one_to_those_before():
    pacing = Pacing(["labels"], most=3)
    sent(pacing, 10, 20, 30)
    pacing.answered("labels", 20)
    assert pacing.unanswered("labels") == 1
    pacing.answered("labels", 10)
    assert pacing.unanswered("labels") == 1


def test_an_answer_to_what_was_not_sent_is_none():
    pacing = Pacing(["labels"], most=3)
    sent(pacing, 10, 20)
    pacing.answered("labels", 15)
    assert pacing.unanswered("labels") == 2


def test_images_with_one_stamp_are_answered_one_by_one():
    pacing = Pacing(["labels"], most=3)
    sent(pacing, 0, 0)
    pacing.answered("labels", 0)
    assert pacing.unanswered("labels") == 1


def test_images_are_given_up():
    pacing = Pacing(["labels", "/evaluator"], most=2)
    sent(pacing, 10, 20)
    assert pacing.abandon("labels") == 2
    assert pacing.abandoned == 2
    assert pacing.unanswered("/evaluator") == 2
    assert pacing.abandon("labels") == 0


def test_who_waits_for_room_is_woken():
    pacing = Pacing(["labels"], most=1)
    sent(pacing, 10)
    waited = []
    thread = threading.Thread(target=lambda: waited.append(pacing.wait_for_room(PATIENCE)))
    thread.start()
    pacing.answered("labels", 10)
    thread.join()
    assert waited == [True]


def test_two_equal_counts_without_work_are_stillness():
    stillness = Stillness()
    stillness.sent(10 * SECOND)
    assert not stillness.counted(11 * SECOND, received=5, pending=0)
    assert stillness.counted(12 * SECOND, received=5, pending=0)


def test_what_comes_or_is_in_work_is_no_stillness():
    stillness = Stillness()
    stillness.sent(10 * SECOND)
    assert not stillness.counted(11 * SECOND, received=5, pending=0)
    assert not stillness.counted(12 * SECOND, received=6, pending=0)
    assert not stillness.counted(13 * SECOND, received=6, pending=1)
    assert not stillness.counted(14 * SECOND, received=6, pending=0)
    assert stillness.counted(15 * SECOND, received=6, pending=0)


def test_counts_from_before_the_last_image_do_not_count():
    stillness = Stillness()
    assert not stillness.counted(9 * SECOND, received=5, pending=0)
    stillness.sent(10 * SECOND)
    assert not stillness.counted(10 * SECOND, received=5, pending=0)
    assert not stillness.counted(11 * SECOND, received=5, pending=0)
    assert stillness.counted(12 * SECOND, received=5, pending=0)
