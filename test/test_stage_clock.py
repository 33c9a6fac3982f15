"""Seconds per stage."""

import itertools

import pytest
import torch

from activesam_ros.stages.timing import StageTimer, added


@pytest.fixture
def ticks(monkeypatch):
    """A clock that goes on by one second each time it is read."""
    counter = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: float(next(counter)))


def test_a_stage_inside_another_counts_for_itself_only(ticks):
    clock = StageTimer(torch.device("cpu"))
    with clock.timed("fuse"):
        with clock.timed("decode"):
            pass
        with clock.timed("decode"):
            pass
    assert clock.seconds() == {"fuse": 3.0, "decode": 2.0, "total": 7.0}


def test_shared_out_among_images(ticks):
    clock = StageTimer(torch.device("cpu"))
    with clock.timed("encode"):
        pass
    assert clock.seconds(images=2) == {"encode": 0.5, "total": 1.5}


def test_a_stage_that_fails_is_charged_too(ticks):
    clock = StageTimer(torch.device("cpu"))
    with pytest.raises(ValueError), clock.timed("encode"):
        raise ValueError
    with clock.timed("encode"):
        pass
    assert clock.seconds()["encode"] == 2.0


def test_two_pieces_of_work():
    both = added({"encode": 1.0, "total": 2.0}, {"fuse": 0.5, "total": 1.0})
    assert both == {"encode": 1.0, "fuse": 0.5, "total": 3.0}
    assert list(both)[-1] == "total"
