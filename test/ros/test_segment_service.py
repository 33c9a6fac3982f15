"""Calls of `~/segment`: requests as they are read, the queue, responses as they are filled."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.srv", reason="the messages are not built; run make setup")

from activesam_ros.srv import Segment
from std_msgs.msg import Header

from activesam_ros.errors import ActiveSamError
from activesam_ros.ros.segment_service import (
    MAX_ENCODING,
    MAX_WAITING,
    CallAnswer,
    CallCounts,
    CallQueue,
    CallRequest,
    Outcome,
    answer_to_msg,
    request_from_msg,
)
from activesam_ros.settings import SegmenterSettings
from activesam_ros.vocabulary import MAX_PROMPTS, Vocabulary

from .fakes import FakeEncoded, FakeSegmenter


def asked(**fields):
    return request_from_msg(Segment.Request(**fields), SegmenterSettings())


def test_outcomes_are_those_of_the_interface():
    for outcome in Outcome:
        assert getattr(Segment.Response, outcome.name) == outcome


def test_an_image_alone_is_asked_as_the_stream_is():
    found = asked()
    assert (found.vocabulary, found.thresholds, found.timeout) == (None, {}, 30.0)


def test_classes_and_thresholds_of_its_own():
    found = asked(
        vocabulary=["cup, mug", "table"],
        background_class="table",
        confidence_threshold=0.3,
        background_threshold=0.0,
        timeout=1.5,
    )
    assert found.vocabulary == Vocabulary.from_names(["cup, mug", "table"], "table")
    # As they were meant, not as single precision has them.
    assert found.thresholds == {"confidence_threshold": 0.3, "background_threshold": 0.0}
    assert found.timeout == 1.5


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"vocabulary": ["cup", "cup"]}, "both ask for 'cup'"),
        ({"vocabulary": [""]}, "class 0 has a blank name"),
        ({"vocabulary": ["cup"], "background_class": "table"}, "'table' is not in the vocabulary"),
        ({"vocabulary": [f"thing {n}" for n in range(MAX_PROMPTS + 1)]}, f"at most {MAX_PROMPTS}"),
        ({"background_class": "table"}, "no vocabulary of its own"),
        ({"confidence_threshold": 1.5}, "confidence_threshold is 1.5"),
        ({"background_threshold": math.nan}, "background_threshold is nan"),
        ({"timeout": 0.0}, "timeout is 0; expected seconds above 0"),
        ({"timeout": math.inf}, "timeout is inf"),
        ({"timeout": math.nan}, "timeout is nan"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(fields, said):
    with pytest.raises(ActiveSamError, match=said):
        asked(**fields)


def test_an_answer_has_the_header_of_the_image_and_all_that_its_ids_mean():
    request = Segment.Request()
    request.image.header = Header(frame_id="gripper camera")
    request.image.header.stamp.nanosec = 77
    vocabulary = Vocabulary.from_names(["cup, mug", "table"], "table")
    result = FakeSegmenter().decode(FakeEncoded(np.zeros((4, 6, 3), np.uint8), vocabulary))
    response = answer_to_msg(
        CallAnswer(Outcome.LABELLED, result=result, revision=5), request, Segment.Response()
    )
    assert response.success and (response.outcome, response.message) == (0, "")
    images = (response.labels, response.confidence, response.instances, response.panoptic)
    for part in (*images, response.detections, response.vocabulary, response.active_classes):
        assert part.header == request.image.header
    assert (response.labels.encoding, response.labels.height, response.labels.step) == ("mono8", 4, 6)
    assert bytes(response.labels.data) == bytes([0, 0, 0, 255, 255, 255] * 4)
    assert bytes(response.confidence.data) == bytes([204, 204, 204, 0, 0, 0] * 4)
    assert [one.name for one in response.vocabulary.classes] == ["cup", "table"]
    assert (response.vocabulary.revision, response.vocabulary.background_id) == (5, 1)
    assert response.active_classes.vocabulary_revision == 5
    (thing,) = response.detections.detections
    assert (thing.id, thing.results[0].hypothesis.class_id) == ("1", "cup")
    assert list(np.frombuffer(response.instances.data, np.uint16)) == [1, 1, 1, 0, 0, 0] * 4
    (only,) = response.active_classes.classes
    assert (only.name, only.area) == ("cup", 0.5)


def test_an_answer_has_no_instances_that_nobody_asked_for():
    vocabulary = Vocabulary.from_names(["cup"])
    result = FakeSegmenter().decode(FakeEncoded(np.zeros((4, 6, 3), np.uint8), vocabulary), False)
    response = answer_to_msg(
        CallAnswer(Outcome.LABELLED, result=result), Segment.Request(), Segment.Response()
    )
    assert response.success and response.labels.data
    assert not (response.instances.data or response.panoptic.data or response.detections.detections)


def test_a_refusal_has_nothing_but_its_reason():
    response = answer_to_msg(CallAnswer(Outcome.BUSY, "too many"), Segment.Request(), Segment.Response())
    assert response == Segment.Response(success=False, outcome=Segment.Response.BUSY, message="too many")


CLASSES = Vocabulary.from_names(["cup"])


class Bench:
    """A queue, what came of its calls, and a clock that stands still."""

    def __init__(self):
        self.now = 100.0
        self.failures = []
        self.errors = SimpleNamespace(failed=self.failures.append)
        self.queue = CallQueue(self.errors, lambda: self.now)
        self.queue.open()
        self.ended = []

    def call(self, name, classes=None, timeout=10.0):
        def done(answer):
            self.ended.append((name, answer.outcome, answer.sentence))

        self.queue.put(CallRequest(name, classes, {}, timeout), done)

    def take(self):
        return self.queue.take()

    def end(self, call, outcome=Outcome.LABELLED):
        self.queue.end(call, CallAnswer(outcome))

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
    assert (first.request.image, second.request.image, bench.take()) == ("one", "two", None)
    assert not bench.queue.has_ready and not bench.queue.wait_idle(0.0)
    assert bench.queue.counts() == CallCounts(received=2, in_work=2)
    for call in (second, first, first):
        bench.end(call)
    assert bench.outcomes() == [("two", Outcome.LABELLED), ("one", Outcome.LABELLED)]
    assert bench.queue.counts() == CallCounts(received=2, answered=2) and bench.queue.wait_idle(0.0)


def test_only_so_many_may_wait(bench):
    for number in range(MAX_WAITING + 1):
        bench.call(number)
    ((name, outcome, sentence),) = bench.ended
    assert (name, outcome) == (MAX_WAITING, Outcome.BUSY) and sentence.startswith(
        f"{MAX_WAITING} calls are waiting"
    )
    assert bench.take().request.image == 0
    bench.call("one more")
    assert len(bench.ended) == 1
    assert bench.queue.counts() == CallCounts(
        received=MAX_WAITING + 2, refused=1, waiting=MAX_WAITING, in_work=1
    )


def test_calls_that_wait_for_their_classes_take_no_room_from_others(bench):
    for number in range(MAX_ENCODING + 1):
        bench.call(f"classes {number}", CLASSES)
    ((name, outcome, sentence),) = bench.ended
    assert (name, outcome) == (f"classes {MAX_ENCODING}", Outcome.BUSY)
    assert sentence.startswith(f"the classes of {MAX_ENCODING} calls are waiting to be encoded")
    for number in range(MAX_WAITING):
        bench.call(number)
    assert len(bench.ended) == 1 and bench.queue.counts().waiting == MAX_WAITING + MAX_ENCODING
    # Once its classes are encoded a call waits like any other, so that no more images are kept than these.
    bench.queue.encoded(bench.queue.take_to_encode(), "prompts")
    for late in (None, CLASSES):
        bench.call("late", late)
        assert bench.ended[-1][:2] == ("late", Outcome.BUSY)
    assert [bench.take().request.image for _ in range(2)] == ["classes 0", 0]
    bench.call("in between", CLASSES)
    assert len(bench.ended) == 3


def test_a_call_that_is_put_back_is_encoded_anew_ahead_of_the_others(bench):
    bench.call("cup", CLASSES)
    cup = bench.queue.take_to_encode()
    bench.queue.encoded(cup, "stale")
    assert bench.take() is cup and cup.prompts == "stale"
    bench.call("spoon", CLASSES)
    bench.queue.put_back(cup)
    assert bench.queue.counts() == CallCounts(received=2, waiting=2)
    assert bench.take() is None and bench.queue.take_to_encode() is cup
    bench.queue.encoded(cup, "fresh")
    assert bench.take() is cup and cup.prompts == "fresh"
    # While it is in work the queue may have been shut, or its worker given up.
    bench.queue.shut("the node sleeps")
    bench.queue.put_back(cup)
    assert bench.outcomes() == [("spoon", Outcome.NOT_SERVING), ("cup", Outcome.NOT_SERVING)]
    bench.queue.put_back(cup)
    assert bench.queue.counts() == CallCounts(received=2, refused=2)


def test_calls_with_classes_of_their_own_wait_for_them_while_others_pass(bench):
    bench.call("cup", CLASSES)
    bench.call("another cup", CLASSES)
    bench.call("stream")
    cup = bench.queue.take_to_encode()
    assert cup.request.image == "cup" and bench.queue.take_to_encode().request.image == "another cup"
    assert bench.queue.take_to_encode() is None
    assert bench.take().request.image == "stream" and bench.take() is None and not bench.queue.has_ready
    bench.queue.encoded(cup, "prompts")
    assert bench.queue.has_ready and bench.take() is cup and cup.prompts == "prompts"


def test_classes_that_cannot_be_encoded_end_a_call_that_waits(bench):
    bench.call("cup", CLASSES)
    call = bench.queue.take_to_encode()
    bench.end(call, Outcome.REFUSED)
    assert bench.outcomes() == [("cup", Outcome.REFUSED)]
    # What comes of it later is nobody's any more.
    bench.queue.encoded(call, "prompts")
    assert bench.take() is None
    assert bench.queue.counts() == CallCounts(received=1, refused=1)


def test_what_waits_for_too_long_times_out(bench):
    bench.call("short", timeout=1.0)
    bench.call("classes", CLASSES, timeout=2.0)
    bench.call("long", timeout=50.0)
    bench.queue.expire()
    assert bench.ended == []
    bench.now += 1.0
    assert bench.take().request.image == "long"
    bench.now += 1.0
    bench.queue.expire()
    # Its turn has come: how long it is in work is no matter of its timeout.
    bench.now += 1000.0
    bench.queue.expire()
    assert bench.outcomes() == [("short", Outcome.TIMED_OUT), ("classes", Outcome.TIMED_OUT)]
    assert "the turn did not come within 1 s" in bench.ended[0][2]
    assert "the classes were not encoded within 2 s" in bench.ended[1][2]
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
    bench.end(call)
    bench.queue.open()
    bench.call("again")
    assert bench.take().request.image == "again"


def test_it_starts_shut():
    ended = []
    CallQueue(None).put(CallRequest("image", None, {}, 1.0), ended.append)
    assert ended == [CallAnswer(Outcome.NOT_SERVING, "the node is not active")]


def test_what_a_worker_leaves_behind_failed(bench):
    bench.call("in work")
    call = bench.take()
    bench.call("waiting")
    bench.queue.give_up("the worker hangs")
    assert bench.ended == [("in work", Outcome.FAILED, "the worker hangs")]
    bench.end(call)
    assert len(bench.ended) == 1
    assert bench.queue.counts() == CallCounts(received=2, failed=1, waiting=1)


def test_while_the_worker_hangs_calls_fail_at_once(bench):
    bench.call("in work")
    bench.take()
    bench.call("waiting")
    bench.call("classes", CLASSES)
    bench.queue.hang("the worker hangs")
    bench.call("late")
    assert bench.ended == [
        (name, Outcome.FAILED, "the worker hangs") for name in ("in work", "waiting", "classes", "late")
    ]
    assert bench.queue.take_to_encode() is None and bench.queue.wait_idle(0.0)
    assert bench.queue.counts() == CallCounts(received=4, failed=4)
    bench.queue.recover()
    bench.call("again")
    assert bench.take().request.image == "again"


def test_who_is_told_may_call_again_at_once(bench):
    def again(_):
        bench.call("again")

    bench.queue.put(CallRequest("first", None, {}, 1.0), again)
    bench.end(bench.take())
    assert bench.take().request.image == "again"


def test_what_is_refused_as_it_comes_counts(bench):
    bench.queue.refuse(Outcome.REFUSED)
    bench.queue.refuse(Outcome.FAILED)
    assert bench.queue.counts() == CallCounts(received=2, refused=1, failed=1)
