import pytest

from activesam_ros.ros.calls import ENCODING_ROOM, ROOM, Answer, Asked, CallCounts, CallQueue, Outcome
from activesam_ros.vocabulary import Vocabulary

WORDS = Vocabulary.from_names(["cup"])


class Bench:
    """A queue, what came of its calls, and a clock that stands still."""

    def __init__(self):
        self.now = 100.0
        self.queue = CallQueue(lambda: self.now)
        self.queue.open()
        self.ended = []

    def call(self, name, words=None, timeout=10.0):
        def done(answer):
            self.ended.append((name, answer.outcome, answer.sentence))

        self.queue.put(Asked(name, words, {}, timeout), done)

    def take(self):
        taken = self.queue.take()
        return None if taken is None else taken[0]

    def end(self, call, outcome=Outcome.LABELLED):
        return self.queue.end(call, Answer(outcome))

    def outcomes(self):
        return [(name, outcome) for name, outcome, _ in self.ended]


@pytest.fixture
def bench():
    return Bench()


def test_calls_are_taken_in_order_and_end_once(bench):
    bench.call("one")
    bench.call("two")
    assert bench.queue.has_ready
    first, second = bench.take(), bench.take()
    assert (first.asked.image, second.asked.image, bench.take()) == ("one", "two", None)
    assert not bench.queue.has_ready and not bench.queue.wait_idle(0.0)
    assert bench.queue.counts() == CallCounts(received=2, in_work=2)
    assert bench.end(second) and bench.end(first) and not bench.end(first)
    assert bench.outcomes() == [("two", Outcome.LABELLED), ("one", Outcome.LABELLED)]
    assert bench.queue.counts() == CallCounts(received=2, answered=2) and bench.queue.wait_idle(0.0)


def test_only_so_many_may_wait(bench):
    for number in range(ROOM + 1):
        bench.call(number)
    ((name, outcome, sentence),) = bench.ended
    assert (name, outcome) == (ROOM, Outcome.BUSY) and sentence.startswith(f"{ROOM} calls are waiting")
    assert bench.take().asked.image == 0
    bench.call("one more")
    assert len(bench.ended) == 1
    assert bench.queue.counts() == CallCounts(received=ROOM + 2, refused=1, waiting=ROOM, in_work=1)


def test_calls_that_wait_for_their_words_take_no_room_from_others(bench):
    for number in range(ENCODING_ROOM + 1):
        bench.call(f"words {number}", WORDS)
    ((name, outcome, sentence),) = bench.ended
    assert (name, outcome) == (f"words {ENCODING_ROOM}", Outcome.BUSY)
    assert sentence.startswith(f"the words of {ENCODING_ROOM} calls are waiting to be encoded")
    for number in range(ROOM):
        bench.call(number)
    assert len(bench.ended) == 1 and bench.queue.counts().waiting == ROOM + ENCODING_ROOM
    # Once its words are encoded a call waits like any other, so that no more images are kept than these.
    bench.queue.prepared(bench.queue.unprepared(), "prompts")
    for late in (None, WORDS):
        bench.call("late", late)
        assert bench.ended[-1][:2] == ("late", Outcome.BUSY)
    assert [bench.take().asked.image for _ in range(2)] == ["words 0", 0]
    bench.call("in between", WORDS)
    assert len(bench.ended) == 3


def test_a_call_that_is_put_back_is_encoded_anew_ahead_of_the_others(bench):
    bench.call("cup", WORDS)
    cup = bench.queue.unprepared()
    bench.queue.prepared(cup, "stale")
    assert bench.queue.take() == (cup, "stale")
    bench.call("spoon", WORDS)
    bench.queue.put_back(cup)
    assert bench.queue.counts() == CallCounts(received=2, waiting=2)
    assert bench.take() is None and bench.queue.unprepared() is cup
    bench.queue.prepared(cup, "fresh")
    assert bench.queue.take() == (cup, "fresh")
    # While it is in work the queue may have been shut, or its worker given up.
    bench.queue.shut("the node sleeps")
    bench.queue.put_back(cup)
    assert bench.outcomes() == [("spoon", Outcome.NOT_SERVING), ("cup", Outcome.NOT_SERVING)]
    bench.queue.put_back(cup)
    assert bench.queue.counts() == CallCounts(received=2, refused=2)


def test_calls_with_words_of_their_own_wait_for_them_while_others_pass(bench):
    bench.call("cup", WORDS)
    bench.call("another cup", WORDS)
    bench.call("stream")
    cup = bench.queue.unprepared()
    assert cup.asked.image == "cup" and bench.queue.unprepared().asked.image == "another cup"
    assert bench.queue.unprepared() is None
    assert bench.take().asked.image == "stream" and bench.take() is None and not bench.queue.has_ready
    bench.queue.prepared(cup, "prompts")
    assert bench.queue.has_ready and bench.queue.take() == (cup, "prompts")


def test_words_that_cannot_be_encoded_end_a_call_that_waits(bench):
    bench.call("cup", WORDS)
    call = bench.queue.unprepared()
    assert bench.end(call, Outcome.REFUSED) and bench.outcomes() == [("cup", Outcome.REFUSED)]
    # What comes of it later is nobody's any more.
    bench.queue.prepared(call, "prompts")
    assert bench.take() is None
    assert bench.queue.counts() == CallCounts(received=1, refused=1)


def test_what_waits_for_too_long_times_out(bench):
    bench.call("short", timeout=1.0)
    bench.call("words", WORDS, timeout=2.0)
    bench.call("long", timeout=50.0)
    bench.queue.expire()
    assert bench.ended == []
    bench.now += 1.0
    assert bench.take().asked.image == "long"
    bench.now += 1.0
    bench.queue.expire()
    # Its turn has come: how long it is in work is no matter of its timeout.
    bench.now += 1000.0
    bench.queue.expire()
    assert bench.outcomes() == [("short", Outcome.TIMED_OUT), ("words", Outcome.TIMED_OUT)]
    assert "the turn did not come within 1 s" in bench.ended[0][2]
    assert "the words were not encoded within 2 s" in bench.ended[1][2]
    assert bench.queue.counts() == CallCounts(received=3, refused=2, in_work=1)


def test_who_shuts_it_refuses_what_waits_and_what_comes_but_not_what_is_in_work(bench):
    bench.call("in work")
    call = bench.take()
    bench.call("waiting")
    bench.queue.shut("the node sleeps")
    bench.call("late")
    assert bench.ended == [
        ("waiting", Outcome.NOT_SERVING, "the node sleeps"),
        ("late", Outcome.NOT_SERVING, "the node sleeps"),
    ]
    assert bench.end(call)
    bench.queue.open()
    bench.call("again")
    assert bench.take().asked.image == "again"


def test_it_starts_shut():
    ended = []
    CallQueue(lambda: 0.0).put(Asked("image", None, {}, 1.0), ended.append)
    assert ended == [Answer(Outcome.NOT_SERVING, "the node is not active")]


def test_what_a_worker_leaves_behind_failed(bench):
    bench.call("in work")
    call = bench.take()
    bench.call("waiting")
    bench.queue.give_up("the worker hangs")
    assert bench.ended == [("in work", Outcome.FAILED, "the worker hangs")]
    assert not bench.end(call)
    assert bench.queue.counts() == CallCounts(received=2, failed=1, waiting=1)


def test_while_the_worker_hangs_calls_fail_at_once(bench):
    bench.call("in work")
    bench.take()
    bench.call("waiting")
    bench.call("words", WORDS)
    bench.queue.hang("the worker hangs")
    bench.call("late")
    assert bench.ended == [
        (name, Outcome.FAILED, "the worker hangs") for name in ("in work", "waiting", "words", "late")
    ]
    assert bench.queue.unprepared() is None and bench.queue.wait_idle(0.0)
    assert bench.queue.counts() == CallCounts(received=4, failed=4)
    bench.queue.recover()
    bench.call("again")
    assert bench.take().asked.image == "again"


def test_who_is_told_may_call_again_at_once(bench):
    def again(_):
        bench.call("again")

    bench.queue.put(Asked("first", None, {}, 1.0), again)
    bench.end(bench.take())
    assert bench.take().asked.image == "again"


def test_what_is_refused_as_it_comes_counts(bench):
    bench.queue.refuse(Outcome.REFUSED)
    bench.queue.refuse(Outcome.FAILED)
    assert bench.queue.counts() == CallCounts(received=2, refused=1, failed=1)
