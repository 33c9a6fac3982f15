"""A size that shrinks when memory runs out, and recovers."""

import logging
import weakref

import pytest
import torch

from activesam_ros.errors import ModelError, OutOfMemoryError
from activesam_ros.stages.batch_size import PATIENCE, AdaptiveBatchSize


class Machine:
    """Has room for so many at once, and says what was tried."""

    def __init__(self, room):
        self.room = room
        self.tried = []
        self.released = 0
        self.size = AdaptiveBatchSize("prompt", self.release)

    def release(self):
        self.released += 1

    def work(self, size):
        self.tried.append(size)
        if size > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")
        return f"done with {size}"

    def image(self, most=32):
        answer = self.size.run(most, self.work)
        self.size.image_done()
        return answer


def test_it_is_halved_until_it_fits(caplog):
    machine = Machine(5)
    assert machine.size.within(32) == 32
    with caplog.at_level(logging.WARNING):
        assert machine.image() == "done with 4"
    assert machine.tried == [32, 16, 8, 4] and machine.released == 3
    assert (
        caplog.messages[0]
        == "out of memory with 32 prompts at a time (tried to allocate 2.00 GiB); trying 16"
    )
    assert machine.image() == "done with 4"
    assert machine.tried[4:] == [4]
    assert (machine.size.within(32), machine.size.within(2)) == (4, 2)


def test_it_recovers_step_by_step():
    machine = Machine(1)
    machine.image()
    machine.room = 1000
    seen = [machine.size.within(20)]
    for _ in range(5 * PATIENCE):
        machine.image(20)
        if machine.size.within(20) != seen[-1]:
            seen.append(machine.size.within(20))
    assert seen == [1, 2, 4, 8, 16, 20]
    assert machine.size.within(64) == 64


def test_trouble_starts_the_count_again():
    machine = Machine(4)
    machine.image()
    for _ in range(PATIENCE - 1):
        machine.image()
    # Twice as much is tried with the next image, and still does not fit.
    assert machine.size.within(32) == 8
    machine.image()
    assert machine.tried[-2:] == [8, 4]
    machine.tried.clear()
    for _ in range(PATIENCE - 1):
        machine.image()
    assert set(machine.tried) == {4}


def test_when_nothing_fits():
    machine = Machine(0)
    with pytest.raises(
        OutOfMemoryError, match=r"even one prompt at a time \(tried to allocate 2.00 GiB\); free"
    ) as caught:
        machine.image(4)
    assert machine.tried == [4, 2, 1] and machine.released == 3
    assert "\n" not in str(caught.value)
    machine.room = 100
    assert machine.image(4) == "done with 1"


def test_the_sentence_of_a_step_inside_stays():
    outer, inner = AdaptiveBatchSize("image", lambda: None), Machine(0)
    with pytest.raises(OutOfMemoryError, match="even one prompt"):
        outer.run(2, lambda size: inner.image(1))
    assert outer.within(2) == 1


def test_other_errors_are_not_tried_again():
    tried = []

    def work(size):
        tried.append(size)
        raise ModelError("damaged")

    with pytest.raises(ModelError, match="damaged"):
        AdaptiveBatchSize("prompt").run(8, work)
    assert tried == [8]


class Large:
    """Stands for a tensor."""


def test_what_a_failed_try_held_is_gone_before_the_next():
    held = []
    gone = []

    def work(size):
        large = Large()
        held.append(weakref.ref(large))
        if size > 1:
            raise MemoryError
        return size

    assert AdaptiveBatchSize("prompt", lambda: gone.append(held[-1]() is None)).run(4, work) == 1
    assert gone == [True, True]


def test_items_are_worked_on_as_many_at_a_time_as_fit():
    machine = Machine(3)

    def double(items):
        machine.work(len(items))
        return [2 * one for one in items]

    assert machine.size.map(range(8), double) == list(range(0, 16, 2))
    assert machine.tried == [8, 4, 2, 2, 2, 2]
    assert machine.size.map([], double) == []
