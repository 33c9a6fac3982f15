"""What becomes of a call; the model is a stand-in, the encoding thread is real."""

import threading

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from sensor_msgs.msg import Image

from activesam_ros.errors import ModelError, OutOfMemoryError
from activesam_ros.ros.call_answering import CallAnswering
from activesam_ros.ros.calls import Asked, CallQueue, Outcome
from activesam_ros.vocabulary import Vocabulary

from .fakes import PATIENCE, FakeSegmenter, eventually, in_force, request


class Bench:
    """Plays the service and the worker."""

    def __init__(self):
        self.now = 0.0
        self.calls = CallQueue(lambda: self.now)
        self.calls.open()
        self.answers = []
        self.failures = []
        self.ready = []
        self.segmenter = FakeSegmenter(request("road").settings)
        self.served = in_force(self.segmenter, request("road"))
        self.segmenter.done.clear()
        self.segmenter.encoded.clear()
        self.segmenter.asked.clear()
        self.answering = CallAnswering(
            self.calls, lambda: self.served.segmenter, lambda: self.ready.append(1), self.failures.append
        )

    def call(self, *words, number=1, thresholds=None, **fields):
        given = {
            "height": 4,
            "width": 6,
            "encoding": "mono8",
            "step": 6,
            "data": bytes([number] * 24),
            **fields,
        }
        own = Vocabulary.from_names(list(words)) if words else None
        self.calls.put(Asked(Image(**given), own, thresholds or {}, 1.0), self.answers.append)
        self.answering.prepare()

    def work(self):
        """Answer a call, whose turn has to be there: the answer."""
        self.answering(*self.calls.take(), self.served)
        return self.answers[-1]

    def change(self, **settings):
        """Have other settings in force, with the same words."""
        changed = request("road", **settings)
        self.served = in_force(self.segmenter.with_settings(changed.settings), changed)
        self.segmenter.asked.clear()

    def encoded(self, number=1):
        eventually(lambda: len(self.ready) == number)


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.answering.close()
    assert bench.answering.join(PATIENCE)


def test_without_words_of_its_own_it_has_those_of_the_stream(bench):
    bench.call(number=7)
    answer = bench.work()
    assert (answer.outcome, answer.sentence, answer.revision) == (Outcome.LABELLED, "", bench.served.revision)
    assert answer.result.vocabulary.names == ("road",) and answer.result.labels.shape == (4, 6)
    assert bench.segmenter.done == ["encode 7", "decode 7"] and bench.segmenter.encoded == []
    # It is no frame of a stream.
    assert bench.segmenter.memories == [[None]]


def test_words_of_its_own_leave_those_of_the_stream_in_force(bench):
    bench.call("cup", "spoon")
    bench.encoded()
    answer = bench.work()
    assert answer.outcome == Outcome.LABELLED and answer.revision == 0
    assert answer.result.vocabulary.names == ("cup", "spoon")
    assert bench.segmenter.encoded == [("cup", "spoon")]
    assert bench.segmenter.prompts.vocabulary.names == ("road",)
    bench.call()
    assert bench.work().result.vocabulary.names == ("road",)


def test_thresholds_of_its_own_leave_those_of_the_stream(bench):
    asked = []
    with_settings = bench.segmenter.with_settings

    def remembered(settings):
        asked.append(settings)
        return with_settings(settings)

    bench.segmenter.with_settings = remembered
    before = bench.segmenter.settings
    for _ in range(2):
        bench.call(thresholds={"confidence_threshold": 0.7})
        answer = bench.work()
        assert answer.outcome == Outcome.LABELLED and answer.revision == bench.served.revision
        assert answer.result.vocabulary.names == ("road",)
    # The second segmenter stays, since making it takes time, too.
    assert [one.confidence_threshold for one in asked] == [0.7]
    assert bench.segmenter.settings == before and bench.segmenter.encoded == []


def test_words_of_a_call_that_ended_before_its_turn_are_not_encoded(bench):
    bench.segmenter.gate = threading.Event()
    bench.call("cup")
    bench.call("spoon")
    eventually(lambda: bench.segmenter.asked)
    bench.now += 1.0  # the timeout of both
    bench.segmenter.gate.set()
    eventually(lambda: len(bench.answers) == 2)
    assert [one.outcome for one in bench.answers] == 2 * [Outcome.TIMED_OUT]
    bench.answering.close()
    assert bench.answering.join(PATIENCE)
    assert bench.segmenter.asked == [("cup",)]


def test_words_are_encoded_one_call_after_the_other(bench):
    bench.segmenter.gate = threading.Event()
    bench.call("cup")
    bench.call("spoon")
    eventually(lambda: bench.segmenter.asked)
    assert bench.calls.take() is None
    bench.segmenter.gate.set()
    bench.encoded(2)
    assert bench.segmenter.encoded == [("cup",), ("spoon",)]
    assert [bench.work().result.vocabulary.names for _ in range(2)] == [("cup",), ("spoon",)]


def test_context_tokens_that_changed_meanwhile_have_the_words_encoded_again(bench):
    gate = bench.segmenter.gate = threading.Event()
    gate.set()
    bench.call("cup")
    bench.encoded()
    bench.change(neighbor_tokens=0)
    gate.clear()
    # Its turn has come, but who labels the stream does not encode: it goes back, and others pass it.
    bench.answering(*bench.calls.take(), bench.served)
    eventually(lambda: bench.segmenter.asked == [("cup",)])
    assert bench.answers == [] and bench.calls.counts().waiting == 1 and bench.calls.take() is None
    bench.call(number=9)
    assert bench.work().result.vocabulary.names == ("road",)
    gate.set()
    bench.encoded(2)
    answer = bench.work()
    assert (answer.outcome, answer.result.vocabulary.names) == (Outcome.LABELLED, ("cup",))
    assert bench.calls.counts().answered == 2


def test_each_call_is_encoded_with_the_settings_of_its_turn(bench):
    bench.segmenter.gate = threading.Event()
    bench.call("cup")
    bench.call("spoon")
    eventually(lambda: bench.segmenter.asked)
    gate, bench.segmenter.gate = bench.segmenter.gate, None
    bench.change(neighbor_tokens=0)
    gate.set()
    bench.encoded(2)
    found = [bench.calls.take() for _ in range(2)]
    assert [bench.served.segmenter.fits(prompts) for _, prompts in found] == [False, True]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"step": 5}, "step is 5 bytes"),
        ({"encoding": "nonsense"}, "nonsense"),
        ({"height": 0}, "the image is empty"),
        ({"height": 100_000, "width": 100_000, "data": b""}, "at most"),
    ],
)
def test_a_bad_image_is_refused_with_a_sentence_and_is_no_fault_of_the_node(bench, fields, said):
    bench.call(**fields)
    answer = bench.work()
    assert answer.outcome == Outcome.REFUSED and said in answer.sentence and answer.result is None
    assert bench.failures == [] and bench.segmenter.done == []
    assert bench.calls.counts().refused == 1


def test_words_that_cannot_be_encoded_are_refused_and_the_next_call_is_not(bench):
    bench.call("unspeakable")
    bench.call("cup")
    bench.encoded()
    (refused,) = bench.answers
    assert (refused.outcome, refused.sentence) == (Outcome.REFUSED, "'unspeakable' has no tokens")
    assert bench.work().outcome == Outcome.LABELLED


@pytest.mark.parametrize(
    ("error", "said"),
    [(OutOfMemoryError("no room for it"), "no room for it"), (KeyError("x"), "KeyError: 'x'")],
)
def test_a_fault_fails_the_call_and_is_told(bench, error, said):
    bench.segmenter.troubles["decode", 3] = error
    bench.call(number=3)
    answer = bench.work()
    assert (answer.outcome, answer.sentence) == (Outcome.FAILED, said)
    assert bench.failures == [f"a call failed: {said}"]
    bench.call(number=4)
    assert bench.work().outcome == Outcome.LABELLED


def test_a_text_encoder_that_cannot_be_loaded_fails_the_call(bench, monkeypatch):
    def encode(_):
        raise ModelError("the hub does not answer")

    monkeypatch.setattr(bench.segmenter, "encode", encode)
    bench.call("cup")
    eventually(lambda: bench.answers)
    assert (bench.answers[0].outcome, bench.answers[0].sentence) == (
        Outcome.FAILED,
        "the hub does not answer",
    )
    assert bench.failures == ["a call failed: the hub does not answer"]


def test_once_closed_nothing_is_encoded_any_more(bench):
    bench.segmenter.gate = threading.Event()
    bench.call("cup")
    bench.call("spoon")
    eventually(lambda: bench.segmenter.asked)
    bench.answering.close()
    assert not bench.answering.join(0.0)
    bench.segmenter.gate.set()
    assert bench.answering.join(PATIENCE)
    bench.call("fork")
    assert bench.segmenter.asked == [("cup",)]
