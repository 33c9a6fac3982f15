import threading

from activesam_ros.ros.throttle import ReasonThrottle


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_repeated_text_comes_again_after_the_period_with_its_number():
    clock = Clock()
    throttle = ReasonThrottle(5.0, clock)
    assert throttle("bad step") == "bad step"
    clock.now = 4.9
    assert throttle("bad step") is None
    assert throttle("bad step") is None
    clock.now = 5.0
    assert throttle("bad step") == "bad step (2 more like this)"


def test_another_reason_is_not_hidden_by_the_first():
    throttle = ReasonThrottle(5.0, Clock())
    assert throttle("bad step") and throttle("unknown encoding")
    assert throttle("bad step") is None


def test_memory_is_bounded():
    throttle = ReasonThrottle(5.0, Clock(), remembered=3)
    for number in range(10):
        assert throttle(f"reason {number}")
    assert throttle("reason 9") is None
    assert throttle("reason 0") == "reason 0"


def test_a_reason_is_throttled_whatever_its_numbers_are():
    clock = Clock()
    throttle = ReasonThrottle(5.0, clock)
    assert throttle("9 bytes are missing", key=("front", "bad image")) == "9 bytes are missing"
    assert throttle("7 bytes are missing", key=("front", "bad image")) is None
    assert throttle("7 bytes are missing", key=("rear", "bad image")) == "7 bytes are missing"
    clock.now = 5.0
    told = throttle("3 bytes are missing", key=("front", "bad image"))
    assert told == "3 bytes are missing (1 more like this)"


def test_threads_that_complain_at_once_are_all_counted():
    clock = Clock()
    throttle = ReasonThrottle(5.0, clock)
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
