import threading

import pytest

from activesam_ros.ros.main import spin


def broken():
    raise TypeError("'NoneType' object is not an iterator")


def test_an_executor_that_is_taken_apart_while_it_spins_is_no_failure():
    failures, stopping = [], threading.Event()
    stopping.set()
    spin(broken, stopping, failures.append)
    assert failures == []


def test_a_bug_in_a_callback_is_told_in_one_sentence():
    failures = []
    with pytest.raises(TypeError):
        spin(broken, threading.Event(), failures.append)
    assert failures == ["a callback failed: TypeError: 'NoneType' object is not an iterator"]
