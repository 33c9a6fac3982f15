import threading

import pytest

from activesam_ros.ros.frame_queue import (
    Drop,
    Frame,
    FrameCounts,
    FrameQueue,
    Latency,
    Percentiles,
    Recent,
    RecentCounts,
)

from .fakes import PATIENCE


def frame(message, camera=""):
    return Frame(camera, message, 0.0)


def opened(*cameras, size=None):
    queue = FrameQueue(cameras or ("",), size)
    queue.open()
    return queue


def messages(frames):
    return [one.message for one in frames]


def difference(counts: FrameCounts) -> int:
    return counts.received - counts.answered - counts.total_dropped - counts.waiting - counts.in_work


def in_thread(function):
    """Start `function`; the thread, and the list that will hold what it returned."""
    returned = []
    thread = threading.Thread(target=lambda: returned.append(function()), daemon=True)
    thread.start()
    return thread, returned


def test_the_newest_frame_wins_and_the_others_are_counted():
    queue = opened()
    assert [queue.put(frame(name)) for name in "abc"] == [None] * 3
    assert queue.counts("") == FrameCounts(received=3, waiting=1, dropped=((Drop.SUPERSEDED, 2),))
    (taken,) = queue.take()
    assert taken.message == "c"
    assert queue.counts("") == FrameCounts(received=3, in_work=1, dropped=((Drop.SUPERSEDED, 2),))
    queue.answered(taken)
    assert queue.counts("") == FrameCounts(received=3, answered=1, dropped=((Drop.SUPERSEDED, 2),))


def test_a_queue_keeps_the_order_and_drops_what_comes_when_it_is_full():
    queue = opened(size=2)
    assert [queue.put(frame(name)) for name in "abc"] == [None, None, Drop.QUEUE_FULL]
    assert messages(queue.take()) == ["a"]
    assert queue.put(frame("d")) is None
    assert [messages(queue.take()), messages(queue.take())] == [["b"], ["d"]]
    assert queue.counts("") == FrameCounts(received=4, in_work=3, dropped=((Drop.QUEUE_FULL, 1),))


def test_one_frame_of_every_camera_is_taken_and_the_first_camera_changes():
    queue = opened("front", "rear", "left", size=5)
    for number in range(3):
        queue.put(frame(f"f{number}", "front"))
        queue.put(frame(f"r{number}", "rear"))
    queue.put(frame("l0", "left"))
    taken = [messages(queue.take()) for _ in range(3)]
    assert taken == [["f0", "r0", "l0"], ["r1", "f1"], ["f2", "r2"]]
    assert [queue.counts(name).in_work for name in ("front", "rear", "left")] == [3, 3, 1]


def test_cameras_that_are_taken_singly_take_turns():
    queue = opened("front", "rear", "left")
    turns = []
    for number in range(7):
        for name in ("front", "rear") if number < 4 else ("front", "rear", "left"):
            queue.put(frame(number, name))
        (taken,) = queue.take(1)
        turns.append(taken.camera)
        assert taken.message == number
        queue.answered(taken)
    assert turns == ["front", "rear", "front", "rear", "left", "front", "rear"]


def test_a_camera_that_floods_does_not_starve_another():
    queue = opened("front", "rear")
    for _ in range(20):
        for number in range(50):
            queue.put(frame(number, "front"))
        queue.put(frame("the only one", "rear"))
        taken = queue.take()
        assert {one.camera: one.message for one in taken} == {"front": 49, "rear": "the only one"}
        for one in taken:
            queue.answered(one)
    assert queue.counts("front").answered == queue.counts("rear").answered == 20
    assert queue.counts("rear").total_dropped == 0


def test_frames_in_work_end_in_any_order_and_every_reason_is_counted():
    queue = opened("front", "rear", size=9)
    for _ in Drop:
        queue.put(frame("frame", "front"))
    queue.put(frame("frame", "rear"))
    taken = []
    while queue.counts("front").waiting:
        taken += queue.take()
    queue.answered(next(one for one in taken if one.camera == "rear"))
    for reason, one in zip(reversed(Drop), [one for one in taken if one.camera == "front"], strict=True):
        queue.dropped(one, reason)
    assert queue.counts("front").dropped == tuple((reason, 1) for reason in Drop)
    assert queue.counts("front").total_dropped == len(Drop)
    assert queue.counts("rear") == FrameCounts(received=1, answered=1)


def test_a_frame_refused_on_arrival_is_received_and_dropped():
    queue = opened("front", "rear")
    queue.refuse("rear", Drop.OVER_RATE)
    assert queue.counts("rear") == FrameCounts(received=1, dropped=((Drop.OVER_RATE, 1),))
    assert queue.counts("front") == FrameCounts()


def test_it_starts_shut_and_shutting_drops_what_waits_but_not_what_is_in_work():
    queue = FrameQueue(["", "rear"], 5)
    assert not queue.is_open and queue.put(frame("early")) is Drop.DEACTIVATED
    queue.open()
    for name in "abc":
        assert queue.put(frame(name)) is None
    taken = queue.take()
    assert messages(taken) == ["a"]
    queue.shut()
    assert queue.put(frame("late")) is Drop.DEACTIVATED
    assert queue.counts("") == FrameCounts(received=5, in_work=1, dropped=((Drop.DEACTIVATED, 4),))
    queue.answered(*taken)
    queue.open()
    assert queue.put(frame("again")) is None and messages(queue.take()) == ["again"]


def test_take_waits_for_a_frame_or_a_wake_even_one_that_came_before():
    queue = opened()
    thread, taken = in_thread(queue.take)
    queue.put(frame("late"))
    thread.join(PATIENCE)
    assert messages(taken[0]) == ["late"]
    queue.wake()
    assert queue.take() == []
    thread, taken = in_thread(queue.take)
    queue.wake()
    thread.join(PATIENCE)
    assert taken == [[]]
    queue.put(frame("frame"))
    queue.wake()
    assert messages(queue.take()) == ["frame"]
    thread, taken = in_thread(queue.take)
    queue.put(frame("the wake is used up"))
    thread.join(PATIENCE)
    assert messages(taken[0]) == ["the wake is used up"]


def test_close_wakes_a_waiting_worker_and_ignores_later_frames():
    queue = opened()
    thread, taken = in_thread(queue.take)
    queue.close()
    thread.join(PATIENCE)
    assert taken == [[]] and not queue.is_open
    assert queue.put(frame("too late")) is Drop.DEACTIVATED
    queue.refuse("", Drop.OVER_RATE)
    assert queue.take() == [] and queue.counts("") == FrameCounts()


def test_a_frame_that_still_waits_at_the_end_stays_counted():
    queue = opened()
    queue.put(frame("waiting"))
    queue.close()
    assert queue.take() == [] and queue.counts("") == FrameCounts(received=1, waiting=1)


def test_idle_is_when_no_camera_has_a_frame_in_work():
    queue = opened("front", "rear")
    assert queue.wait_idle(0)
    queue.put(frame("frame", "front"))
    queue.put(frame("frame", "rear"))
    assert queue.wait_idle(0), "a frame that waits is not in work"
    front, rear = queue.take()
    queue.answered(front)
    assert not queue.wait_idle(0)
    thread, idle = in_thread(lambda: queue.wait_idle(PATIENCE))
    queue.dropped(rear, Drop.FAILED)
    thread.join(PATIENCE)
    assert idle == [True]


def test_wrong_use_is_a_mistake():
    with pytest.raises(KeyError):
        opened("front").put(frame("frame", "roof"))
    for cameras, size, said in (
        ((), None, "cameras"),
        (("a", "a"), None, "different"),
        (("a",), 0, "at least 1"),
    ):
        with pytest.raises(ValueError, match=said):
            FrameQueue(cameras, size)


def test_frames_of_a_worker_that_hangs_are_given_up_and_its_late_answers_ignored():
    queue = opened("front", "rear")
    queue.put(frame("hanging", "front"))
    (hanging,) = queue.take()
    queue.give_up()
    assert queue.wait_idle(0)
    assert queue.counts("front") == FrameCounts(received=1, dropped=((Drop.FAILED, 1),))
    # The next worker has a frame of the same camera in work when the other one comes back.
    queue.put(frame("next", "front"))
    (following,) = queue.take()
    queue.answered(hanging)
    queue.dropped(hanging, Drop.BAD_IMAGE)
    assert not queue.wait_idle(0)
    for _ in range(2):  # it ends once
        queue.answered(following)
    assert queue.wait_idle(0)
    assert queue.counts("front") == FrameCounts(received=2, answered=1, dropped=((Drop.FAILED, 1),))


@pytest.mark.parametrize("size", [None, 7])
def test_counts_add_up_at_every_moment_while_threads_race(size):
    cameras = ("front", "rear")
    queue = opened(*cameras, size=size)
    frames = 3000
    differences = set()
    done, fed = threading.Event(), threading.Event()
    order = {name: [] for name in cameras}

    def work():
        while not fed.is_set():
            for one in reversed(queue.take()):
                order[one.camera].append(one.message)
                if one.message % 3:
                    queue.answered(one)
                else:
                    queue.dropped(one, Drop.FAILED)

    def feed(camera):
        for number in range(frames):
            if number % 10:
                queue.put(frame(number, camera))
            else:
                queue.refuse(camera, Drop.OVER_RATE)
            if number % 500 == 250:
                queue.shut()
                queue.open()
            if number % 100 == 50:
                queue.wake()

    def watch():
        while not done.is_set():
            differences.update(difference(queue.counts(camera)) for camera in cameras)

    worker, watcher = threading.Thread(target=work), threading.Thread(target=watch)
    feeders = [threading.Thread(target=feed, args=(camera,)) for camera in cameras]
    for thread in (worker, watcher, *feeders):
        thread.start()
    for thread in feeders:
        thread.join(PATIENCE)
    fed.set()
    queue.close()
    worker.join(PATIENCE)
    done.set()
    watcher.join(PATIENCE)
    assert differences <= {0}
    for camera in cameras:
        counts = queue.counts(camera)
        assert counts.received == frames and difference(counts) == 0 and counts.in_work == 0
        assert order[camera] == sorted(order[camera])


def counts(received, answered=0, **dropped) -> FrameCounts:
    return FrameCounts(
        received=received,
        answered=answered,
        dropped=tuple((Drop[name.upper()], number) for name, number in dropped.items()),
    )


def test_the_first_look_has_nothing_to_compare_with():
    first = RecentCounts().look(100.0, counts(50, 40, failed=10))
    assert first == Recent() and first.rate(5) == 0.0


def test_it_is_the_difference_to_the_oldest_look_of_the_span():
    recent = RecentCounts(span=10.0)
    recent.look(100.0, counts(0))
    recent.look(104.0, counts(40, 30, failed=4, superseded=6))
    seen = recent.look(108.0, counts(80, 62, failed=4, superseded=9, bad_image=5))
    assert seen == Recent(8.0, 80, 62, {Drop.FAILED: 4, Drop.SUPERSEDED: 9, Drop.BAD_IMAGE: 5})
    assert seen.rate(seen.received) == 10.0
    seen = recent.look(113.0, counts(120, 100, failed=4, superseded=11, bad_image=5))
    assert seen == Recent(9.0, 80, 70, {Drop.SUPERSEDED: 5, Drop.BAD_IMAGE: 5})
    assert seen.lost(Drop.BAD_IMAGE, Drop.SUPERSEDED) == 10 and seen.lost(Drop.FAILED) == 0


def test_after_a_long_time_without_looking_it_starts_anew():
    recent = RecentCounts(span=10.0)
    recent.look(100.0, counts(0))
    assert recent.look(200.0, counts(1000)) == Recent()


def test_memory_is_bounded_by_the_span():
    recent = RecentCounts(span=10.0)
    for second in range(1000):
        seen = recent.look(float(second), counts(second))
    assert seen.seconds == 10.0 and seen.received == 10
    assert len(recent._looks) == 11


def test_the_report_adds_up_and_gives_medians_since_the_last_one():
    latency = Latency()
    for milliseconds in (1, 2, 9):
        latency.add({"decode": milliseconds / 1000, "latency": 0.5}, active=3, classes=60)
    counts = FrameCounts(
        received=10,
        answered=3,
        waiting=1,
        in_work=1,
        dropped=((Drop.SUPERSEDED, 4), (Drop.BAD_IMAGE, 1)),
    )
    assert latency.report(counts) == (
        "frames: 10 in = 3 out + 5 dropped + 2 pending; dropped: superseded 4, bad image 1; "
        "median ms: decode 2.0, latency 500.0; active classes: 3 of 60"
    )
    latency.add({"decode": 0.1, "latency": 0.5}, active=2, classes=60)
    assert "decode 100.0, latency 500.0; active classes: 2 of 60" in latency.report(counts)
    assert "decode 2.0" in latency.summary(counts)
    assert "median" not in latency.report(counts)


def test_a_report_before_the_first_frame_has_counts_only():
    assert Latency().report(FrameCounts()) == "frames: 0 in = 0 out + 0 dropped + 0 pending"


def test_percentiles_are_of_the_recent_frames_stage_by_stage():
    latency = Latency(keep=1000, recent=100)
    assert latency.percentiles() == {}
    for _ in range(50):
        latency.add({"decode": 99.0}, 1, 2)
    for number in range(100, 0, -1):
        latency.add({"decode": number / 1000, "latency": 2 * number / 1000}, 1, 2)
    assert latency.percentiles() == {"decode": Percentiles(0.050, 0.095), "latency": Percentiles(0.1, 0.19)}
    assert list(latency.percentiles()) == ["decode", "latency"]


def test_one_frame_is_its_own_percentiles():
    latency = Latency()
    latency.add({"decode": 0.25}, 1, 2)
    assert latency.percentiles() == {"decode": Percentiles(0.25, 0.25)}


def test_a_stage_that_some_frames_skip_counts_where_it_ran():
    latency = Latency()
    latency.add({"preview": 0.010, "decode": 0.002}, 1, 2)
    latency.add({"decode": 0.004}, 1, 2)
    latency.add({"decode": 0.004}, 1, 2)
    assert latency.percentiles()["preview"] == Percentiles(0.010, 0.010)
    assert "preview 10.0, decode 4.0" in latency.summary(FrameCounts())


def test_it_knows_when_and_how_the_last_frame_was_answered():
    now = [100.0]
    latency = Latency(clock=lambda: now[0])
    assert latency.since_answer is None and latency.active is None
    latency.add({"decode": 0.1}, 3, 60)
    now[0] = 107.5
    assert latency.since_answer == 7.5 and latency.active == (3, 60)


def test_memory_of_latencies_is_bounded():
    latency = Latency(keep=3)
    for seconds in (9.0, 9.0, 9.0, 9.0, 0.001, 0.001):
        latency.add({"decode": seconds}, 1, 2)
    assert "decode 1.0" in latency.summary(FrameCounts()) and "decode 1.0" in latency.report(FrameCounts())
