import threading

import pytest

from activesam_ros.ros.frame_slot import FrameCounts, FrameSlot

# Long enough for a loaded machine; reached only by a failure.
PATIENCE = 30


def total(counts: FrameCounts) -> int:
    return counts.answered + counts.superseded + counts.failed + counts.waiting + counts.in_work


def test_the_newest_frame_wins_and_the_others_are_counted():
    slot = FrameSlot()
    for frame in ("a", "b", "c"):
        slot.put(frame)
    assert slot.take() == "c"
    assert slot.counts == FrameCounts(received=3, superseded=2, in_work=1)
    slot.answered()
    assert slot.counts == FrameCounts(received=3, superseded=2, answered=1)


def test_failed_frames_are_counted_by_reason():
    slot = FrameSlot()
    for reason in ("bad image", "bad image", "RuntimeError"):
        slot.put("frame")
        slot.take()
        slot.failed(reason)
    assert slot.counts.failed == 3
    assert dict(slot.counts.by_reason) == {"bad image": 2, "RuntimeError": 1}


def test_take_waits_for_a_frame():
    slot = FrameSlot()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(slot.take()))
    thread.start()
    slot.put("late")
    thread.join(PATIENCE)
    assert taken == ["late"]


def test_close_wakes_a_waiting_worker_and_refuses_later_frames():
    slot = FrameSlot()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(slot.take()))
    thread.start()
    slot.close()
    thread.join(PATIENCE)
    assert taken == [None] and slot.closed
    slot.put("too late")
    assert slot.take() is None
    assert slot.counts == FrameCounts()


def test_a_frame_that_still_waits_at_the_end_stays_counted():
    slot = FrameSlot()
    slot.put("waiting")
    slot.close()
    assert slot.take() is None
    assert slot.counts == FrameCounts(received=1, waiting=1)


def test_an_end_of_work_without_work_is_a_mistake():
    slot = FrameSlot()
    with pytest.raises(RuntimeError, match="take"):
        slot.answered()
    with pytest.raises(RuntimeError, match="take"):
        slot.failed("reason")
    with pytest.raises(ValueError, match="None"):
        slot.put(None)


def test_counts_add_up_at_every_moment_while_threads_race():
    slot = FrameSlot()
    frames = 3000
    sums = []
    done = threading.Event()

    def work():
        number = 0
        while slot.take() is not None:
            number += 1
            if number % 3:
                slot.answered()
            else:
                slot.failed("every third")

    def watch():
        while not done.is_set():
            counts = slot.counts
            sums.append(counts.received - total(counts))

    worker, watcher = threading.Thread(target=work), threading.Thread(target=watch)
    worker.start()
    watcher.start()
    for number in range(frames):
        slot.put(number)
    slot.close()
    worker.join(PATIENCE)
    done.set()
    watcher.join(PATIENCE)
    assert set(sums) <= {0}
    assert slot.counts.received == frames == total(slot.counts)
    assert slot.counts.in_work == 0
