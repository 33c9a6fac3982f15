"""Seconds per stage."""

import itertools

import pytest
import torch

from activesam_ros.stages.timing import StageTimer, add_timings


@pytest.fixture
def ticks(monkeypatch):
    """A timer that goes on by one second each time it is read."""
    counter = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: float(next(counter)))


def test_a_stage_inside_another_counts_for_itself_only(ticks):
    timer = StageTimer(torch.device("cpu"))
    with timer.timed("fuse"):
        with timer.timed("decode"):
            pass
        with timer.timed("decode"):
            pass
    assert timer.seconds() == {"fuse": 3.0, "decode": 2.0, "total": 7.0}


def test_shared_out_among_images(ticks):
    timer = StageTimer(torch.device("cpu"))
    with timer.timed("encode"):
        pass
    assert timer.seconds(images=2) == {"encode": 0.5, "total": 1.5}


def test_a_stage_that_fails_is_charged_too(ticks):
    timer = StageTimer(torch.device("cpu"))
    with pytest.raises(ZeroDivisionError), timer.timed("encode"):
        raise ZeroDivisionError
    with timer.timed("encode"):
        pass
    assert timer.seconds()["encode"] == 2.0


def test_a_gpu_is_not_waited_for_until_the_seconds_are_asked_for(monkeypatch):
    waited = []

    class Event:
        now = 0

        def __init__(self, enable_timing):
            assert enable_timing

        def record(self, stream):
            self.at, Event.now = Event.now, Event.now + 1000

        def synchronize(self):
            waited.append(self.at)

        def elapsed_time(self, end):
            return end.at - self.at

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: device)
    timer = StageTimer(torch.device("cuda"))
    with timer.timed("fuse"), timer.timed("decode"):
        pass
    timer.stop()
    assert not waited
    assert timer.seconds() == {"fuse": 2.0, "decode": 1.0, "total": 5.0} and waited == [5000]


def test_two_pieces_of_work():
    both = add_timings({"encode": 1.0, "total": 2.0}, {"fuse": 0.5, "total": 1.0})
    assert both == {"encode": 1.0, "fuse": 0.5, "total": 3.0}
    assert list(both)[-1] == "total"
