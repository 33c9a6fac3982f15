import logging
import threading

import pytest

from activesam_ros.errors import LONGEST, ActiveSamError, describe
from activesam_ros.ros.logs import ErrorLog, PrintableLogger, RosLogHandler, Throttle


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Recorder:
    def __init__(self):
        self.lines = []

    def __getattr__(self, level):
        return lambda text: self.lines.append((level, text))


def test_each_level_of_the_library_has_its_counterpart():
    recorder = Recorder()
    handler = RosLogHandler(recorder)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        handler.emit(logging.LogRecord("activesam_ros.x", level, "", 0, "%d prompts", (3,), None))
    levels = ("debug", "info", "warning", "error", "fatal")
    assert recorder.lines == [(level, "3 prompts") for level in levels]


def test_a_repeated_sentence_comes_again_after_the_period_with_its_number():
    clock = Clock()
    throttle = Throttle(5.0, clock)
    assert throttle("bad step") == "bad step"
    clock.now = 4.9
    assert throttle("bad step") is None and throttle("bad step") is None
    assert throttle("unknown encoding") == "unknown encoding"
    clock.now = 5.0
    assert throttle("bad step") == "bad step (2 more like this)"


def test_a_sentence_is_throttled_whatever_its_numbers_are():
    clock = Clock()
    throttle = Throttle(5.0, clock)
    assert throttle("front: 9 bytes are missing") == "front: 9 bytes are missing"
    assert throttle("front: 17 bytes are missing") is None
    assert throttle("rear: 7 bytes are missing") == "rear: 7 bytes are missing"
    clock.now = 5.0
    assert throttle("front: 3 bytes are missing") == "front: 3 bytes are missing (1 more like this)"


def test_memory_is_bounded():
    throttle = Throttle(5.0, Clock(), remembered=3)
    for reason in "abcdefgh":
        assert throttle(reason)
    assert throttle("h") is None
    assert throttle("a") == "a"


def test_threads_that_complain_at_once_are_all_counted():
    clock = Clock()
    throttle = Throttle(5.0, clock)
    assert throttle("bad step")
    begin = threading.Barrier(4)

    def complain():
        begin.wait()
        for _ in range(2000):
            throttle("bad step")

    threads = [threading.Thread(target=complain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.now = 5.0
    assert throttle("bad step") == "bad step (8000 more like this)"


def test_the_last_error_is_remembered_even_if_it_is_not_logged_again():
    recorder = Recorder()
    errors = ErrorLog(recorder)
    assert errors.last is None
    errors.failed("frame 1 failed")
    errors.failed("frame 2 failed")
    errors.lost("a frame was lost")
    errors.lost("a frame was lost")
    errors.error("the worker hangs")
    errors.error("the worker hangs")
    assert recorder.lines == [
        ("warning", "frame 1 failed"),
        ("error", "a frame was lost"),
        ("error", "the worker hangs"),
        ("error", "the worker hangs"),
    ]
    assert errors.last[0] == "the worker hangs"
    errors.failed("frame 3 failed")
    errors.remember("another")
    assert errors.last[0] == "another" and len(recorder.lines) == 4


HOSTILE = {
    "rgb8\n[FATAL] fake": "rgb8\\n[FATAL] fake",
    "a\r\x1b[2J\x07\x85b": "a\\r\\x1b[2J\\x07\\x85b",
    "\u202egnp\u2066": "\\u202egnp\\u2066",
    "lone \ud800": "lone \\ud800",
    "\u2028next": "\\u2028next",
    "Straße, 道路 é": "Straße, 道路 é",
}


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "fatal"])
def test_what_strangers_send_is_one_printable_line_of_the_log(level, capfd):
    logger = PrintableLogger(f"printable_{level}")
    logger.set_level(10)
    for said in HOSTILE:
        getattr(logger, level)(f"got {said}")
    captured = capfd.readouterr()
    lines = (captured.out + captured.err).splitlines()
    assert [line.partition("]: ")[2] for line in lines] == [f"got {one}" for one in HOSTILE.values()]


def test_what_is_sent_and_remembered_of_an_error_is_printable_and_bounded():
    errors = ErrorLog(Recorder())
    errors.failed("x" * 1_000_000 + "\x1b")
    assert len(errors.last[0]) < LONGEST + 100
    assert describe(ActiveSamError("no \ud800\n\x1b[1m")) == "no \\ud800 \\x1b[1m"
    for number in range(3):
        errors.fault(f"a callback failed {number}")
    assert errors.faults == 3 and len(errors._logger.lines) == 2
