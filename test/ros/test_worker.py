import threading
import time
from dataclasses import replace

import pytest

from activesam_ros.errors import ImageError, ModelError, describe
from activesam_ros.ros.calls import Answer, Asked, CallQueue, Outcome
from activesam_ros.ros.inbox import Inbox
from activesam_ros.ros.vocabulary_loader import VocabularyLoader
from activesam_ros.ros.worker import Worker

from .fakes import PATIENCE, FakeSegmenter, eventually, request


class Owner:
    """Plays the engine: keeps what the worker tells, and answers."""

    def __init__(self):
        self.inbox = Inbox(["front", "rear"], None)
        self.inbox.open()
        self.calls = CallQueue(time.monotonic)
        self.calls.open()
        self.order = []
        self.events = []
        self.begun = []
        self.answers = []
        self.idled = []
        self.tasks = []
        self.worker = None
        self.answering = threading.Event()
        self.answering.set()
        self.happened = threading.Condition()

    def tell(self, event):
        with self.happened:
            self.events.append(event)
            self.happened.notify_all()

    def until(self, condition):
        with self.happened:
            assert self.happened.wait_for(condition, PATIENCE), self.events

    def note_task(self):
        self.tasks.append((self.worker.task.name, self.worker.task.bounded))

    def loaded(self, segmenter, seconds):
        self.note_task()
        self.tell("loaded")

    def change_failed(self, request, error, last):
        self.tell(f"change failed: {error}; revision {last.revision} stays")

    def in_force(self, served):
        self.tell(f"revision {served.revision} {','.join(served.vocabulary.names)}")

    def answer(self, batch, served):
        self.note_task()
        with self.happened:
            self.begun.append([frame for _, frame in batch])
            self.order += [frame for _, frame in batch]
            self.happened.notify_all()
        assert self.answering.wait(PATIENCE)
        for camera, _ in batch:
            self.inbox.answered(camera)
        with self.happened:
            frames = [frame for _, frame in batch]
            self.answers.append((*frames, served.revision, served.segmenter.prompts.vocabulary.names))
            self.happened.notify_all()

    def idle(self, served):
        with self.happened:
            self.idled.append(served.revision)
            self.happened.notify_all()

    def answer_call(self, call, prompts, served):
        self.note_task()
        with self.happened:
            self.order.append(call.asked.image)
            self.happened.notify_all()
        self.calls.end(call, Answer(Outcome.LABELLED))

    def call(self, name):
        self.calls.put(
            Asked(name, None, {}, 1000.0), lambda answer: self.tell(f"{name} {answer.outcome.name}")
        )
        self.inbox.wake()

    def failed(self, sentence):
        self.tell(f"failed: {sentence}")


@pytest.fixture
def run():
    running = []

    def start(load):
        owner = Owner()
        loader = VocabularyLoader(owner.change_failed, owner.inbox.wake)
        worker = owner.worker = Worker(owner.inbox, owner.calls, loader, load, owner)
        running.append((worker, loader))
        worker.start()
        return owner, loader, worker

    yield start
    for worker, loader in running:
        worker.end()
        loader.close()
        assert worker.join(PATIENCE) and loader.join(PATIENCE)


def segmenter(**kwargs):
    return FakeSegmenter(request("road").settings, **kwargs)


def test_frames_wait_for_the_first_words_and_are_answered_with_them(run):
    owner, loader, _ = run(segmenter)
    owner.inbox.put("front", "early")
    owner.until(lambda: "loaded" in owner.events)
    loader.submit(request("road"))
    owner.until(lambda: owner.answers)
    assert owner.answers == [("early", 1, ("road",))]
    assert owner.events == ["loaded", "revision 1 road"]
    assert owner.inbox.counts("front").answered == 1


def test_frames_of_several_cameras_are_answered_together(run):
    owner, loader, _ = run(segmenter)
    owner.inbox.put("rear", "behind")
    owner.inbox.put("front", "ahead")
    loader.submit(request("road"))
    owner.until(lambda: owner.answers)
    assert owner.answers == [("ahead", "behind", 1, ("road",))]


def test_frames_keep_the_old_words_while_new_ones_are_encoded(run):
    gate = threading.Event()
    gate.set()
    owner, loader, _ = run(lambda: segmenter(gate=gate))
    loader.submit(request("road"))
    owner.until(lambda: "revision 1 road" in owner.events)
    gate.clear()
    loader.submit(replace(request("sky"), revision=2))
    owner.inbox.put("front", "during")
    owner.until(lambda: len(owner.answers) == 1)
    gate.set()
    # New words come into force without a frame, too.
    owner.until(lambda: "revision 2 sky" in owner.events)
    owner.inbox.put("front", "after")
    owner.until(lambda: len(owner.answers) == 2)
    assert owner.answers == [("during", 1, ("road",)), ("after", 2, ("sky",))]


def test_words_are_not_swapped_while_a_frame_is_in_work(run):
    owner, loader, _ = run(segmenter)
    loader.submit(request("road"))
    owner.until(lambda: owner.idled)
    owner.answering.clear()
    owner.inbox.put("front", "first")
    owner.until(lambda: owner.begun)
    loader.submit(replace(request("sky"), revision=2))
    assert loader.join(PATIENCE)
    owner.inbox.put("front", "second")
    assert owner.events[-1] == "revision 1 road"
    owner.answering.set()
    owner.until(lambda: len(owner.answers) == 2)
    assert owner.answers == [("first", 1, ("road",)), ("second", 2, ("sky",))]


def test_words_that_cannot_be_encoded_leave_the_old_in_force(run):
    owner, loader, _ = run(segmenter)
    loader.submit(request("road"))
    owner.until(lambda: "revision 1 road" in owner.events)
    loader.submit(request("unspeakable"))
    owner.until(lambda: any(event.startswith("change failed") for event in owner.events))
    owner.inbox.put("front", "frame")
    owner.until(lambda: owner.answers)
    assert owner.answers == [("frame", 1, ("road",))]
    assert owner.events[-1].endswith("; revision 1 stays")


def test_without_a_frame_it_is_told_that_there_is_nothing_to_do(run):
    owner, loader, _ = run(segmenter)
    loader.submit(request("road"))
    owner.until(lambda: 1 in owner.idled)
    loader.submit(replace(request("sky"), revision=2))
    owner.until(lambda: 2 in owner.idled)
    idled = len(owner.idled)
    owner.inbox.wake()
    owner.until(lambda: len(owner.idled) > idled)
    assert owner.idled == sorted(owner.idled) and owner.answers == []


def test_one_call_at_most_is_answered_between_two_batches_of_frames(run):
    owner, loader, _ = run(segmenter)
    loader.submit(request("road"))
    owner.until(lambda: owner.idled)
    owner.answering.clear()
    owner.inbox.put("front", "frame 1")
    owner.until(lambda: owner.begun)
    for name in ("call 1", "call 2", "call 3"):
        owner.call(name)
    owner.inbox.put("front", "frame 2")
    owner.answering.set()
    owner.until(lambda: len(owner.order) == 5)
    assert owner.order == ["frame 1", "call 1", "frame 2", "call 2", "call 3"]
    assert ("answering a call", True) in owner.tasks
    assert [event for event in owner.events if "call" in event] == [f"call {n} LABELLED" for n in (1, 2, 3)]


def test_a_call_is_answered_without_any_frame(run):
    owner, loader, _ = run(segmenter)
    owner.call("early")
    loader.submit(request("road"))
    owner.until(lambda: "early LABELLED" in owner.events)
    assert owner.begun == []
    owner.call("late")
    owner.until(lambda: "late LABELLED" in owner.events)


def test_a_call_in_work_when_it_fails_is_ended(run, monkeypatch):
    def surprise(*_):
        raise KeyError("surprise")

    monkeypatch.setattr(Owner, "answer_call", surprise)
    owner, loader, worker = run(segmenter)
    loader.submit(request("road"))
    owner.call("one")
    assert worker.join(PATIENCE)
    assert owner.events[-2:] == ["one FAILED", "failed: the worker failed: KeyError: 'surprise'"]


def test_what_it_does_has_a_name_and_only_frames_should_be_done_soon(run):
    gate, loading = threading.Event(), threading.Event()
    model = segmenter(gate=gate)

    def load():
        loading.set()
        assert gate.wait(PATIENCE)
        return model

    owner, loader, worker = run(load)
    assert loading.wait(PATIENCE)
    assert (worker.task.name, worker.task.bounded) == ("loading the model", False)
    gate.set()
    owner.until(lambda: "loaded" in owner.events)
    gate.clear()
    loader.submit(request("road"))
    eventually(lambda: model.asked)
    assert (worker.task.name, worker.task.bounded) == ("encoding the first vocabulary", False)
    gate.set()
    owner.inbox.put("front", "frame")
    owner.until(lambda: owner.answers)
    assert owner.tasks == [("loading the model", False), ("labelling frames", True)]
    worker.end()
    assert worker.join(PATIENCE) and worker.task is None and not worker.alive


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModelError("there is no folder 'x'"), "failed: there is no folder 'x'"),
        (MemoryError("1 TB"), "failed: loading the model failed unexpectedly: MemoryError: 1 TB"),
    ],
)
def test_without_a_model_it_ends_with_one_sentence(run, error, said):
    def load():
        raise error

    owner, _, worker = run(load)
    assert worker.join(PATIENCE)
    assert owner.events == [said] and worker.task is None


@pytest.mark.parametrize("method", ["loaded", "in_force", "answer", "idle"])
def test_an_owner_that_raises_ends_it_with_one_sentence(run, monkeypatch, method):
    def surprise(*_):
        raise KeyError("surprise")

    monkeypatch.setattr(Owner, method, surprise)
    owner, loader, worker = run(segmenter)
    loader.submit(request("road"))
    if method == "answer":
        owner.until(lambda: owner.idled)
        owner.inbox.put("front", "frame")
    assert worker.join(PATIENCE)
    assert owner.events[-1] == "failed: the worker failed: KeyError: 'surprise'"
    # The frame that it had in work is accounted for, so that nobody waits for it.
    counts = owner.inbox.counts("front")
    assert owner.inbox.wait_idle(0) and counts.received == counts.total_dropped == (method == "answer")


def test_it_ends_while_it_waits_for_frames_and_while_it_waits_for_words(run):
    for submit in (False, True):
        owner, loader, worker = run(segmenter)
        if submit:
            loader.submit(request("road"))
        owner.until(lambda submit=submit, owner=owner: len(owner.events) == 1 + submit)
        assert not worker.ending
        worker.end()
        loader.close()
        assert worker.ending and worker.join(PATIENCE)
        assert owner.inbox.is_open


def test_it_ends_after_the_frames_in_work(run):
    owner, loader, worker = run(segmenter)
    loader.submit(request("road"))
    owner.until(lambda: owner.idled)
    owner.answering.clear()
    owner.inbox.put("front", "in work")
    owner.until(lambda: owner.begun == [["in work"]])
    owner.inbox.put("front", "waiting")
    worker.end()
    assert not worker.join(0)
    owner.answering.set()
    assert worker.join(PATIENCE)
    assert [answer[0] for answer in owner.answers] == ["in work"]
    # What waits is left to whoever follows.
    counts = owner.inbox.counts("front")
    assert (counts.answered, counts.waiting, counts.in_work) == (1, 1, 0)


def test_one_that_ends_while_it_loads_serves_nothing(run):
    gate = threading.Event()

    def load():
        assert gate.wait(PATIENCE)
        return segmenter()

    owner, loader, worker = run(load)
    loader.submit(request("road"))
    worker.end()
    loader.close()
    gate.set()
    assert worker.join(PATIENCE)
    assert owner.events == [] and owner.answers == []


def test_an_error_becomes_one_line():
    assert describe(ImageError("a\n  b")) == "a b"
    assert describe(KeyError("x")) == "KeyError: 'x'"
