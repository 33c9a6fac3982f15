"""A model from its load to its end; the model is a stand-in, the threads are real."""

import gc
import threading
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from activesam_ros.configuration import ModelChoice, group_of
from activesam_ros.errors import ModelError, SettingsError, VocabularyError
from activesam_ros.ros.calls import Asked, CallQueue, Outcome
from activesam_ros.ros.engine import Engine, load_segmenter, prompt_cache_folder
from activesam_ros.ros.inbox import Inbox
from activesam_ros.ros.parameters import DEFAULTS
from activesam_ros.vocabulary import Vocabulary

from .fakes import PATIENCE, FakeSegmenter, eventually, request

CHOICE = replace(group_of(ModelChoice, DEFAULTS), model="street", prompt_cache="off")


class Owner:
    """Plays the node: keeps what the engine tells."""

    def __init__(self):
        self.events = []
        self.answers = []
        self.answering = threading.Event()
        self.answering.set()

    def loaded(self, segmenter, seconds):
        self.events.append("loaded")

    def in_force(self, served):
        self.events.append(f"revision {served.revision}")

    def change_failed(self, request, sentence, standing, again):
        self.failure = (request, sentence, standing, again)
        self.events.append("change failed")

    def call_failed(self, sentence):
        self.events.append(sentence)

    def engine_settled(self, engine):
        self.events.append("settled")

    def answer(self, batch, served, abandoned):
        self.answers.append(([frame for _, frame in batch], served.revision))
        assert self.answering.wait(PATIENCE)
        self.abandoned = abandoned()
        for camera, _ in batch:
            self.inbox.answered(camera)

    def idle(self, served):
        self.idled = served.revision


@pytest.fixture
def start():
    engines = []

    def make(segmenter=None, error=None, first=None, gate=None, choice=CHOICE):
        """`gate`: loading ends once it is set."""

        def load(given, wanted):
            owner.loaded_with = (given, wanted)
            if gate is not None:
                assert gate.wait(PATIENCE)
            if error:
                raise error
            return segmenter or FakeSegmenter(wanted.settings)

        owner = Owner()
        owner.inbox = Inbox([""], None)
        owner.inbox.open()
        owner.calls = CallQueue(lambda: 0.0)
        owner.calls.open()
        engine = Engine(
            choice, first or request("road"), owner.inbox, owner.calls, owner.answer, owner.idle, owner, load
        )
        engines.append(weakref.ref(engine))
        engine.start()
        return owner, engine

    yield make
    for engine in filter(None, [one() for one in engines]):
        engine.end()
        assert engine.join(PATIENCE)


def test_it_settles_once_the_first_words_are_in_force(start):
    gate = threading.Event()
    owner, engine = start(gate=gate)
    assert not engine.wait(0) and not engine.is_loaded and not engine.serves
    assert engine.served is None and engine.error is None and engine.prompt_cache is None
    assert engine.task.name == "loading the model"
    gate.set()
    assert engine.wait(PATIENCE)
    assert engine.is_loaded and engine.serves and engine.error is None and engine.prompt_cache == "off"
    eventually(lambda: owner.events == ["loaded", "revision 1", "settled"])
    assert owner.loaded_with == (CHOICE, request("road")) and engine.choice is CHOICE
    assert engine.served.vocabulary.names == ("road",)


def test_it_answers_frames_and_settles_only_once(start):
    owner, engine = start()
    owner.inbox.put("", "frame")
    eventually(lambda: owner.answers == [(["frame"], 1)])
    engine.submit(replace(request("sky"), revision=2))
    eventually(lambda: engine.served.revision == 2)
    owner.inbox.put("", "next")
    eventually(lambda: len(owner.answers) == 2)
    assert owner.answers[1] == (["next"], 2)
    eventually(lambda: owner.idled == 2)
    assert owner.events == ["loaded", "revision 1", "settled", "revision 2"]
    assert owner.abandoned is False


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModelError("there is no folder 'x'"), "there is no folder 'x'"),
        (MemoryError("1 TB"), "loading the model failed unexpectedly: MemoryError: 1 TB"),
    ],
)
def test_without_a_model_it_settles_with_an_error(start, error, said):
    owner, engine = start(error=error)
    assert engine.wait(PATIENCE)
    assert engine.error == said and not engine.serves and not engine.is_loaded
    eventually(lambda: owner.events == ["settled"])
    assert engine.join(PATIENCE) and engine.task is None


def test_first_words_that_do_not_fit_are_an_error_that_ends_it(start):
    owner, engine = start(first=request("unspeakable"))
    assert engine.wait(PATIENCE)
    assert engine.error == "the parameters do not fit the model: 'unspeakable' has no tokens"
    assert not engine.serves
    eventually(lambda: owner.events == ["loaded", "settled"])
    eventually(lambda: engine.join(0.01))


def test_a_change_that_fails_leaves_what_is_in_force(start):
    first = request("road")
    owner, engine = start(first=first)
    assert engine.wait(PATIENCE)
    bad = replace(request("unspeakable"), revision=2)
    engine.submit(bad)
    eventually(lambda: "change failed" in owner.events)
    assert owner.failure == (bad, "'unspeakable' has no tokens", first, False)
    assert owner.failure[2] is first
    assert engine.serves and engine.served.revision == 1


def test_a_change_during_loading_that_fails_makes_room_for_the_first_words(start):
    gate, first = threading.Event(), request("road")
    owner, engine = start(first=first, gate=gate)
    bad = replace(request("unspeakable"), revision=2)
    engine.submit(bad)
    gate.set()
    eventually(lambda: "change failed" in owner.events)
    assert owner.failure == (bad, "'unspeakable' has no tokens", first, True)
    assert not engine.wait(0) and engine.error is None
    # The owner asks for them again, and now they come first.
    engine.submit(first)
    assert engine.wait(PATIENCE) and engine.served.vocabulary.names == ("road",)


def test_what_is_asked_for_is_checked_as_soon_as_there_is_a_model(start):
    gate = threading.Event()
    _, engine = start(gate=gate)
    bad = request("road", preview_resolution=67)
    engine.check(bad)
    gate.set()
    assert engine.wait(PATIENCE)
    with pytest.raises(SettingsError, match="multiple of 8"):
        engine.check(bad)
    with pytest.raises(VocabularyError, match="too long"):
        engine.check(request("x" * 101))
    engine.check(request("sky"))


@pytest.mark.parametrize("error", [None, MemoryError("no room")])
def test_one_that_ends_while_it_loads_has_not_failed(start, error):
    gate = threading.Event()
    owner, engine = start(error=error, gate=gate)
    engine.end()
    assert not engine.join(0)
    gate.set()
    assert engine.join(PATIENCE)
    assert owner.events == [] and engine.error is None


def test_words_that_fail_while_it_ends_are_no_failure(start):
    gate, segmenter = threading.Event(), FakeSegmenter()
    segmenter.gate = gate
    owner, engine = start(segmenter, first=request("unspeakable"))
    eventually(lambda: segmenter.asked)
    engine.end()
    gate.set()
    assert engine.join(PATIENCE)
    assert owner.events == ["loaded"] and engine.error is None


def test_a_bug_beside_the_frames_is_an_error_of_its_own(start):
    owner, engine = start()
    assert engine.wait(PATIENCE)

    def surprise(batch, served, abandoned):
        raise KeyError("surprise")

    engine._answer = surprise
    owner.inbox.put("", "frame")
    eventually(lambda: engine.error)
    assert engine.error == "the worker failed: KeyError: 'surprise'"
    assert not engine.serves and engine.task is None
    eventually(lambda: owner.events.count("settled") == 2)


def test_who_answers_is_told_that_it_was_left_behind(start):
    owner, engine = start()
    owner.answering.clear()
    owner.inbox.put("", "frame")
    eventually(lambda: owner.answers)
    assert engine.task.bounded
    engine.end()
    assert not engine.join(0)
    engine.abandon()
    owner.answering.set()
    assert engine.join(PATIENCE)
    assert owner.abandoned is True


def test_nothing_holds_the_model_once_the_engine_is_gone(start):
    owner, engine = start()
    assert engine.wait(PATIENCE)
    model = weakref.ref(engine.served.segmenter)
    owner.inbox.put("", "frame")
    eventually(lambda: owner.answers)
    engine.end()
    assert engine.join(PATIENCE)
    assert not engine.is_loaded and engine.served is None
    del engine
    gc.collect()
    assert model() is None


def test_the_prompt_cache_is_where_the_parameter_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert prompt_cache_folder(CHOICE) is None
    own = prompt_cache_folder(replace(CHOICE, prompt_cache=""))
    assert own.is_relative_to(tmp_path / "cache")
    assert prompt_cache_folder(replace(CHOICE, prompt_cache=str(tmp_path / "mine"))) == tmp_path / "mine"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert prompt_cache_folder(replace(CHOICE, prompt_cache="~/words")) == tmp_path / "words"


def test_the_model_is_loaded_as_the_parameters_say(tmp_path, monkeypatch):
    from activesam_ros.segmenter import ActiveSegmenter

    monkeypatch.setattr(ActiveSegmenter, "from_pretrained", lambda *args, **given: (args, given))
    choice = ModelChoice("street", "cpu", "float32", False, "keep", str(tmp_path))
    assert load_segmenter(choice, request("road", max_active=7)) == (
        ("street",),
        {
            "device": "cpu",
            "dtype": "float32",
            "settings": request("road", max_active=7).settings,
            "text_encoder": "keep",
            "prompt_cache": tmp_path,
            "compiler": None,
        },
    )
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/chosen")
    _, given = load_segmenter(replace(choice, compile=True), request("road"))
    assert callable(given["compiler"])


def test_calls_are_answered_with_words_of_their_own_or_those_in_force(start):
    owner, engine = start()
    assert engine.wait(PATIENCE)
    ended = []
    for words in (None, Vocabulary.from_names(["cup"])):
        owner.calls.put(Asked(image(), words, {}, 1.0), ended.append)
        engine.see_to_calls()
    eventually(lambda: len(ended) == 2)
    assert [answer.outcome for answer in ended] == [Outcome.LABELLED] * 2
    assert [(answer.revision, answer.result.vocabulary.names) for answer in ended] == [
        (1, ("road",)),
        (0, ("cup",)),
    ]
    assert engine.served.vocabulary.names == ("road",) and owner.answers == []


def test_words_of_a_call_that_the_model_cannot_read_are_refused_at_once(start):
    _, engine = start()
    assert engine.wait(PATIENCE)
    engine.check_words(Vocabulary.from_names(["cup"]))
    with pytest.raises(VocabularyError, match="too long"):
        engine.check_words(Vocabulary.from_names(["c" * 101]))


def image():
    return SimpleNamespace(height=2, width=2, encoding="mono8", is_bigendian=0, step=2, data=bytes(4))
