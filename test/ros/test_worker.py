import threading
from dataclasses import replace

import pytest

from activesam_ros.errors import ImageError, ModelError
from activesam_ros.ros.changes import ChangeDesk
from activesam_ros.ros.frame_slot import FrameSlot
from activesam_ros.ros.worker import Worker, describe

from .fakes import PATIENCE, FakeSegmenter
from .test_preparation import request


class Owner:
    """Plays the node: keeps what the worker tells and answers, one frame at a time."""

    def __init__(self):
        self.events = []
        self.answers = []
        self.answered = 0
        self.happened = threading.Condition()

    def tell(self, event):
        with self.happened:
            self.events.append(event)
            self.happened.notify_all()

    def until(self, condition):
        with self.happened:
            assert self.happened.wait_for(condition, PATIENCE), self.events

    def loaded(self, segmenter, preparer, seconds):
        self.preparer = preparer
        self.tell("loaded")

    def in_force(self, served, prepared):
        self.tell(f"revision {served.revision} {','.join(served.vocabulary.names)}")

    def frame_answered(self):
        with self.happened:
            self.answered += 1
            self.happened.notify_all()

    def frame_failed(self, sentence):
        self.tell(sentence)

    def fatal(self, sentence):
        self.tell(f"fatal {sentence}")

    def answer(self, frame, served):
        if isinstance(frame, Exception):
            raise frame
        with self.happened:
            self.answers.append((frame, served.revision, served.segmenter.prompts.vocabulary.names))
            self.happened.notify_all()


@pytest.fixture
def run():
    running = []

    def start(load):
        owner, slot = Owner(), FrameSlot()
        desk = ChangeDesk(lambda request, error: owner.tell(f"change failed: {error}"))
        worker = Worker(slot, desk, load, owner.answer, owner)
        running.append((worker, slot, desk))
        worker.start()
        return owner, slot, desk, worker

    yield start
    for worker, slot, desk in running:
        slot.close()
        desk.close()
        assert worker.join(PATIENCE) and desk.join(PATIENCE)


def segmenter(**kwargs):
    return FakeSegmenter(request("road").settings, **kwargs)


def test_frames_wait_for_the_first_words_and_are_answered_with_them(run):
    owner, slot, desk, _ = run(segmenter)
    slot.put("early")
    owner.until(lambda: "loaded" in owner.events)
    desk.submit(request("road"))
    owner.until(lambda: owner.answers)
    assert owner.answers == [("early", 1, ("road",))]
    assert owner.events == ["loaded", "revision 1 road"]


def test_a_bad_frame_and_a_raising_model_do_not_end_it(run):
    owner, slot, desk, _ = run(segmenter)
    desk.submit(request("road"))
    for frame, said in (
        (ImageError("no pixels"), "frame refused: no pixels"),
        (RuntimeError("out of\nmemory"), "frame failed: RuntimeError: out of memory"),
    ):
        slot.put(frame)
        owner.until(lambda said=said: said in owner.events)
    slot.put("good")
    owner.until(lambda: owner.answered)
    counts = slot.counts
    assert counts.answered == owner.answered == len(owner.answers) == 1
    assert dict(counts.by_reason) == {"bad image": 1, "RuntimeError": 1}
    assert counts.received == 3


def test_frames_keep_the_old_words_while_new_ones_are_encoded(run):
    gate = threading.Event()
    gate.set()
    owner, slot, desk, _ = run(lambda: segmenter(gate=gate))
    desk.submit(request("road"))
    owner.until(lambda: "revision 1 road" in owner.events)
    gate.clear()
    desk.submit(replace(request("sky"), revision=2))
    slot.put("during")
    owner.until(lambda: len(owner.answers) == 1)
    gate.set()
    assert desk.join(PATIENCE)
    slot.put("after")
    owner.until(lambda: len(owner.answers) == 2)
    assert owner.answers == [("during", 1, ("road",)), ("after", 2, ("sky",))]


def test_words_that_cannot_be_encoded_leave_the_old_in_force(run):
    owner, slot, desk, _ = run(segmenter)
    desk.submit(request("road"))
    owner.until(lambda: "revision 1 road" in owner.events)
    desk.submit(request("unspeakable"))
    owner.until(lambda: any(event.startswith("change failed") for event in owner.events))
    slot.put("frame")
    owner.until(lambda: owner.answers)
    assert owner.answers == [("frame", 1, ("road",))]
    assert owner.preparer.last.wanted == request("road")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModelError("there is no folder 'x'"), "fatal there is no folder 'x'"),
        (MemoryError("1 TB"), "fatal loading the model failed unexpectedly: MemoryError: 1 TB"),
    ],
)
def test_without_a_model_it_ends_with_one_sentence(run, error, said):
    def load():
        raise error

    owner, _, _, worker = run(load)
    assert worker.join(PATIENCE)
    assert owner.events == [said]


@pytest.mark.parametrize("method", ["loaded", "in_force", "frame_answered", "frame_failed"])
def test_an_owner_that_raises_ends_it_with_one_sentence(run, monkeypatch, method):
    def surprise(*_):
        raise KeyError("surprise")

    monkeypatch.setattr(Owner, method, surprise)
    owner, slot, desk, worker = run(segmenter)
    desk.submit(request("road"))
    slot.put(RuntimeError("no memory") if method == "frame_failed" else "frame")
    assert worker.join(PATIENCE)
    assert owner.events[-1] == "fatal the worker failed: KeyError: 'surprise'"


def test_it_ends_while_it_waits_for_frames_and_while_it_waits_for_words(run):
    for submit in (False, True):
        owner, slot, desk, worker = run(segmenter)
        if submit:
            desk.submit(request("road"))
        owner.until(lambda submit=submit, owner=owner: len(owner.events) == 1 + submit)
        slot.close()
        desk.close()
        assert worker.join(PATIENCE)


def test_an_error_becomes_one_line():
    assert describe(ImageError("a\n  b")) == "a b"
    assert describe(KeyError("x")) == "KeyError: 'x'"
