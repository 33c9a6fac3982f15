import threading

import pytest

from activesam_ros.ros.inbox import Drop, FrameCounts, Inbox

from .fakes import PATIENCE, eventually

# Long enough for a loaded machine; reached only by a failure.


def opened(*cameras, queue_size=None):
    inbox = Inbox(cameras or ("",), queue_size)
    inbox.open()
    return inbox


def difference(counts: FrameCounts) -> int:
    return counts.received - counts.answered - counts.total_dropped - counts.waiting - counts.in_work


def in_thread(function):
    """Start `function`; the thread, and the list that will hold what it returned."""
    returned = []
    thread = threading.Thread(target=lambda: returned.append(function()), daemon=True)
    thread.start()
    return thread, returned


def test_the_newest_frame_wins_and_the_others_are_counted():
    inbox = opened()
    assert [inbox.put("", frame) for frame in ("a", "b", "c")] == [None] * 3
    assert inbox.counts("") == FrameCounts(received=3, waiting=1, dropped=((Drop.SUPERSEDED, 2),))
    assert inbox.take() == [("", "c")]
    assert inbox.counts("") == FrameCounts(received=3, in_work=1, dropped=((Drop.SUPERSEDED, 2),))
    inbox.answered("")
    assert inbox.counts("") == FrameCounts(received=3, answered=1, dropped=((Drop.SUPERSEDED, 2),))


def test_a_queue_keeps_the_order_and_drops_what_comes_when_it_is_full():
    inbox = opened(queue_size=2)
    assert [inbox.put("", frame) for frame in ("a", "b", "c")] == [None, None, Drop.QUEUE_FULL]
    assert inbox.take() == [("", "a")]
    assert inbox.put("", "d") is None
    assert [inbox.take(), inbox.take()] == [[("", "b")], [("", "d")]]
    assert inbox.counts("") == FrameCounts(received=4, in_work=3, dropped=((Drop.QUEUE_FULL, 1),))


def test_one_frame_of_every_camera_is_taken_and_the_first_camera_changes():
    inbox = opened("front", "rear", "left", queue_size=5)
    for number in range(3):
        inbox.put("front", f"f{number}")
        inbox.put("rear", f"r{number}")
    inbox.put("left", "l0")
    assert inbox.take() == [("front", "f0"), ("rear", "r0"), ("left", "l0")]
    assert inbox.take() == [("rear", "r1"), ("front", "f1")]
    assert inbox.take() == [("front", "f2"), ("rear", "r2")]
    assert [inbox.counts(name).in_work for name in ("front", "rear", "left")] == [3, 3, 1]


def test_a_camera_that_floods_does_not_starve_another():
    inbox = opened("front", "rear")
    for _ in range(20):
        for number in range(50):
            inbox.put("front", number)
        inbox.put("rear", "the only one")
        assert dict(inbox.take()) == {"front": 49, "rear": "the only one"}
        inbox.answered("rear")
        inbox.answered("front")
    assert inbox.counts("front").answered == inbox.counts("rear").answered == 20
    assert inbox.counts("rear").total_dropped == 0


def test_frames_in_work_end_in_any_order_and_every_reason_is_counted():
    inbox = opened("front", "rear", queue_size=9)
    for _ in Drop:
        inbox.put("front", "frame")
    inbox.put("rear", "frame")
    while inbox.counts("front").waiting:
        inbox.take()
    inbox.answered("rear")
    for reason in reversed(Drop):
        inbox.dropped("front", reason)
    assert inbox.counts("front").dropped == tuple((reason, 1) for reason in Drop)
    assert inbox.counts("front").total_dropped == len(Drop)
    assert inbox.counts("rear") == FrameCounts(received=1, answered=1)


def test_a_frame_refused_on_arrival_is_received_and_dropped():
    inbox = opened("front", "rear")
    inbox.refuse("rear", Drop.OVER_RATE)
    assert inbox.counts("rear") == FrameCounts(received=1, dropped=((Drop.OVER_RATE, 1),))
    assert inbox.counts("front") == FrameCounts()


def test_it_starts_shut_and_shutting_drops_what_waits_but_not_what_is_in_work():
    inbox = Inbox(["", "rear"], 5)
    assert inbox.put("", "early") is Drop.DEACTIVATED
    inbox.open()
    for frame in ("a", "b", "c"):
        assert inbox.put("", frame) is None
    assert inbox.take() == [("", "a")]
    inbox.shut()
    assert inbox.put("", "late") is Drop.DEACTIVATED
    assert inbox.counts("") == FrameCounts(received=5, in_work=1, dropped=((Drop.DEACTIVATED, 4),))
    inbox.answered("")
    inbox.open()
    assert inbox.put("", "again") is None and inbox.take() == [("", "again")]


def test_take_waits_for_a_frame():
    inbox = opened()
    thread, taken = in_thread(inbox.take)
    inbox.put("", "late")
    thread.join(PATIENCE)
    assert taken == [[("", "late")]]


def test_wake_lets_one_take_return_without_a_frame_even_if_it_comes_later():
    inbox = opened()
    inbox.wake()
    assert inbox.take() == []
    thread, taken = in_thread(inbox.take)
    inbox.wake()
    thread.join(PATIENCE)
    assert taken == [[]]
    inbox.put("", "frame")
    inbox.wake()
    assert inbox.take() == [("", "frame")]
    thread, taken = in_thread(inbox.take)
    inbox.put("", "the wake is used up")
    thread.join(PATIENCE)
    assert taken == [[("", "the wake is used up")]]


def test_close_wakes_a_waiting_worker_and_ignores_later_frames():
    inbox = opened()
    thread, taken = in_thread(inbox.take)
    inbox.close()
    thread.join(PATIENCE)
    assert taken == [[]] and inbox.closed
    assert inbox.put("", "too late") is Drop.DEACTIVATED
    inbox.refuse("", Drop.OVER_RATE)
    assert inbox.take() == [] and inbox.counts("") == FrameCounts()


def test_a_frame_that_still_waits_at_the_end_stays_counted():
    inbox = opened()
    inbox.put("", "waiting")
    inbox.close()
    assert inbox.take() == [] and inbox.counts("") == FrameCounts(received=1, waiting=1)


def test_idle_is_when_no_camera_has_a_frame_in_work():
    inbox = opened("front", "rear")
    assert inbox.wait_idle(0)
    inbox.put("front", "frame")
    inbox.put("rear", "frame")
    assert inbox.wait_idle(0), "a frame that waits is not in work"
    inbox.take()
    inbox.answered("front")
    assert not inbox.wait_idle(0)
    thread, idle = in_thread(lambda: inbox.wait_idle(PATIENCE))
    inbox.dropped("rear", Drop.FAILED)
    thread.join(PATIENCE)
    assert idle == [True]


def test_wrong_use_is_a_mistake():
    inbox = opened("front", "rear")
    inbox.put("front", "frame")
    inbox.take()
    for end in (lambda: inbox.answered("rear"), lambda: inbox.dropped("rear", Drop.FAILED)):
        with pytest.raises(RuntimeError, match="take"):
            end()
    assert inbox.counts("rear") == FrameCounts()
    with pytest.raises(KeyError):
        inbox.put("roof", "frame")
    for cameras, size, said in (
        ((), None, "cameras"),
        (("a", "a"), None, "different"),
        (("a",), 0, "at least 1"),
    ):
        with pytest.raises(ValueError, match=said):
            Inbox(cameras, size)


@pytest.mark.parametrize("queue_size", [None, 7])
def test_counts_add_up_at_every_moment_while_threads_race(queue_size):
    cameras = ("front", "rear")
    inbox = opened(*cameras, queue_size=queue_size)
    frames = 3000
    differences = set()
    done = threading.Event()
    order = {name: [] for name in cameras}

    def work():
        while not inbox.closed:
            for camera, number in reversed(inbox.take()):
                order[camera].append(number)
                if number % 3:
                    inbox.answered(camera)
                else:
                    inbox.dropped(camera, Drop.FAILED)

    def feed(camera):
        for number in range(frames):
            if number % 10:
                inbox.put(camera, number)
            else:
                inbox.refuse(camera, Drop.OVER_RATE)
            if number % 500 == 250:
                inbox.shut()
                inbox.open()
            if number % 100 == 50:
                inbox.wake()

    def watch():
        while not done.is_set():
            differences.update(difference(inbox.counts(camera)) for camera in cameras)

    worker, watcher = threading.Thread(target=work), threading.Thread(target=watch)
    feeders = [threading.Thread(target=feed, args=(camera,)) for camera in cameras]
    for thread in (worker, watcher, *feeders):
        thread.start()
    for thread in feeders:
        thread.join(PATIENCE)
    inbox.close()
    worker.join(PATIENCE)
    done.set()
    watcher.join(PATIENCE)
    assert differences <= {0}
    for camera in cameras:
        counts = inbox.counts(camera)
        assert counts.received == frames and difference(counts) == 0 and counts.in_work == 0
        assert order[camera] == sorted(order[camera])


def test_frames_of_a_worker_that_hangs_are_given_up_and_its_late_answers_ignored():
    inbox = Inbox(["front", "rear"], None)
    inbox.open()
    inbox.put("front", "hanging")
    late = threading.Event()

    def hang():
        inbox.take()
        assert late.wait(PATIENCE)
        inbox.answered("front")

    worker = threading.Thread(target=hang, daemon=True)
    worker.start()
    eventually(lambda: inbox.counts("front").in_work)
    assert not inbox.wait_idle(0)
    inbox.give_up()
    assert inbox.wait_idle(0)
    assert inbox.counts("front") == FrameCounts(received=1, dropped=((Drop.FAILED, 1),))
    # The worker that follows has a frame of the same camera in work when the other one comes back.
    inbox.put("front", "next")
    assert inbox.take() == [("front", "next")]
    late.set()
    worker.join(PATIENCE)
    assert not inbox.wait_idle(0)
    inbox.answered("front")
    assert inbox.wait_idle(0)
    assert inbox.counts("front") == FrameCounts(received=2, answered=1, dropped=((Drop.FAILED, 1),))
    with pytest.raises(RuntimeError, match="no frame of this camera in work"):
        inbox.answered("front")
