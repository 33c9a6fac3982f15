"""The configuration loader: which requests are loaded, in which order, and what is reused."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from activesam_ros.errors import SettingsError, VocabularyError
from activesam_ros.ros import configuration_loader
from activesam_ros.ros.configuration_loader import ConfigurationLoader, load_configuration

from .fakes import PATIENCE, FakeSegmenter, eventually, in_force, no_thread, request


class SlowSegmenter(FakeSegmenter):
    """Waits for permission before it encodes, so that a test decides what overtakes what."""

    def __init__(self, *given, **fields):
        super().__init__(*given, **fields)
        self.begun = threading.Semaphore(0)
        self.allowed = threading.Semaphore(0)

    def encode(self, vocabulary):
        self.begun.release()
        assert self.allowed.acquire(timeout=PATIENCE)
        return super().encode(vocabulary)


class Bench:
    def __init__(self):
        self.failures = []
        self.segmenter = SlowSegmenter(request("road").settings)
        self.loader = ConfigurationLoader(self.failed)

    def failed(self, request, error, last):
        self.failures.append((request.vocabulary.names, str(error), last and last.vocabulary.names))

    def open(self, allowed=0):
        for _ in range(allowed):
            self.segmenter.allowed.release()
        self.loader.open(self.segmenter)

    def submit(self, *names):
        self.loader.submit(request(*names))

    def begun(self):
        assert self.segmenter.begun.acquire(timeout=PATIENCE)

    def waited(self):
        return self.loader.wait().vocabulary.names

    def collected(self):
        loaded = self.loader.collect()
        return loaded and loaded.vocabulary.names


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.loader.close()
    made.segmenter.allowed.release(100)
    assert made.loader.join(PATIENCE)


def test_nothing_is_loaded_before_there_is_a_model_and_then_the_newest(bench):
    bench.submit("one")
    bench.submit("two")
    bench.loader.check(request("word " * 40))  # nothing is known of the model yet
    assert bench.collected() is None
    bench.open(allowed=1)
    assert bench.waited() == ("two",)
    assert bench.segmenter.encoded == [("two",)] and bench.collected() is None


def test_the_heap_is_trimmed_once_nothing_is_left_to_load(bench, monkeypatch):
    trimmed = threading.Event()
    monkeypatch.setattr(configuration_loader, "trim_heap", trimmed.set)
    bench.open()
    bench.submit("one")
    bench.begun()
    bench.submit("two")
    bench.segmenter.allowed.release()
    bench.begun()
    assert not trimmed.is_set()
    bench.segmenter.allowed.release()
    assert trimmed.wait(PATIENCE) and bench.waited() == ("two",)


def test_collect_never_waits_and_the_newest_of_several_requests_wins(bench):
    bench.open()
    bench.submit("one")
    bench.begun()
    for name in ("two", "three", "four"):
        bench.submit(name)
    assert bench.loader.since is not None and bench.collected() is None
    bench.segmenter.allowed.release(2)
    assert bench.loader.join(PATIENCE) and bench.collected() == ("four",) and bench.collected() is None
    assert bench.segmenter.encoded == [("one",), ("four",)] and not bench.failures


def test_what_was_ready_but_not_collected_stays_until_the_next_is_ready(bench):
    bench.open(allowed=2)
    for name in ("one", "two"):
        bench.submit(name)
        assert bench.loader.join(PATIENCE)
    assert bench.collected() == ("two",) and bench.collected() is None


def test_what_was_loaded_before_a_failure_comes_into_force(bench):
    bench.open()
    bench.submit("one")
    bench.begun()
    bench.submit("unspeakable")
    bench.segmenter.allowed.release(2)
    assert bench.loader.join(PATIENCE)
    assert bench.failures == [(("unspeakable",), "'unspeakable' has no tokens", ("one",))]
    assert bench.collected() == ("one",)


def test_a_failure_is_reported_and_the_next_request_is_served(bench):
    bench.open(allowed=2)
    bench.submit("unspeakable")
    assert bench.loader.join(PATIENCE)
    assert bench.failures == [(("unspeakable",), "'unspeakable' has no tokens", None)]
    bench.submit("good")
    assert bench.waited() == ("good",)


def test_a_failure_that_was_overtaken_is_not_reported(bench):
    bench.open()
    bench.submit("unspeakable")
    bench.begun()
    bench.submit("good")
    bench.segmenter.allowed.release(2)
    assert bench.waited() == ("good",) and not bench.failures


def test_close_wakes_who_waits_and_forgets_the_request_in_work(bench):
    bench.open()
    bench.submit("unspeakable")
    bench.begun()
    outcome = []
    waiting = threading.Thread(target=lambda: outcome.append(bench.loader.wait()))
    waiting.start()
    bench.loader.close()
    waiting.join(PATIENCE)
    assert outcome == [None]
    bench.segmenter.allowed.release()
    assert bench.loader.join(PATIENCE) and not bench.failures
    bench.submit("late")
    assert bench.loader.join(PATIENCE) and bench.segmenter.asked == [("unspeakable",)]


def test_a_report_that_raises_does_not_stop_later_requests(bench, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    bench.failures = None  # so that the report fails
    bench.open(allowed=2)
    bench.submit("unspeakable")
    assert bench.loader.join(PATIENCE)
    bench.submit("good")
    assert bench.waited() == ("good",) and bench.loader.join(PATIENCE)


def test_the_beginning_of_each_request_is_known_while_it_is_in_work(bench, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(configuration_loader, "time", SimpleNamespace(monotonic=lambda: now[0]))
    bench.open()
    assert bench.loader.since is None
    bench.submit("unspeakable")
    bench.begun()
    now[0] = 130.0
    bench.submit("good")
    assert bench.loader.since == 100.0, "one that waits does not make the other any younger"
    bench.segmenter.allowed.release()
    bench.begun()
    assert bench.loader.since == 130.0
    bench.loader.close()
    assert bench.loader.since == 130.0, "it cannot be interrupted"
    bench.segmenter.allowed.release()
    assert bench.loader.join(PATIENCE) and bench.loader.since is None


def test_the_model_is_let_go_when_the_loader_is_closed(bench):
    bench.open(allowed=1)
    bench.submit("road")
    assert bench.waited() == ("road",)
    bench.loader.close()
    assert bench.loader.join(PATIENCE)
    holders = [name for name, value in vars(bench.loader).items() if isinstance(value, FakeSegmenter)]
    assert holders == [] and bench.collected() is None


# What loading reuses.


@pytest.fixture
def segmenter():
    return FakeSegmenter(request("road").settings)


def test_prompts_are_encoded_once_however_the_settings_change(segmenter):
    first = load_configuration(request("road", "sky"), segmenter, None)
    other = load_configuration(request("road", "sky", confidence_threshold=0.5), segmenter, first)
    assert segmenter.encoded == [("road", "sky")]
    assert other.prompts is first.prompts
    assert other.segmenter.settings.confidence_threshold == 0.5


def test_new_prompts_are_encoded_without_touching_those_in_force(segmenter):
    served = in_force(segmenter, request("road"))
    loaded = load_configuration(request("sky"), segmenter, served)
    assert served.segmenter.prompts.vocabulary.names == ("road",)
    loaded.put_in_force()
    assert loaded.segmenter.prompts.vocabulary.names == ("sky",)


def test_another_number_of_context_tokens_encodes_again(segmenter):
    served = in_force(segmenter, request("road"))
    loaded = load_configuration(request("road", neighbor_tokens=1), segmenter, served)
    assert loaded.prompts.context == (1, 2) and loaded.segmenter.fits(loaded.prompts)
    assert segmenter.encoded == [("road",), ("road",)]
    loaded.put_in_force()
    assert loaded.segmenter.prompts is loaded.prompts


def test_other_classes_with_other_context_tokens_encode_the_new_classes_alone(segmenter):
    served = in_force(segmenter, request("road"))
    loaded = load_configuration(request("sky", neighbor_tokens=1, hypernym_tokens=0), segmenter, served)
    assert segmenter.encoded == [("road",), ("sky",)] and loaded.prompts.context == (1, 0)


def test_what_is_in_force_has_the_revision_and_the_report_of_its_vocabulary(segmenter):
    served = in_force(segmenter, replace(request("road", "sky"), revision=7))
    assert served.revision == 7 and served.vocabulary.names == ("road", "sky")
    assert (served.report.hits, served.report.misses) == (0, 2)


def test_a_compiled_model_is_warmed_up_once(segmenter):
    segmenter.compiled = True
    last = None
    for configuration in (request("road", "sky"), request("road", "tree"), request("road", max_active=3)):
        last = load_configuration(configuration, segmenter, last)
    assert segmenter.done == ["warm up for road, sky"]


def test_what_the_model_refuses_is_known_without_encoding_and_only_changes_are_checked(segmenter):
    loader = ConfigurationLoader(lambda *_: None)
    loader.open(segmenter)
    with pytest.raises(SettingsError, match="preview_resolution"):
        loader.check(request("road", preview_resolution=671))
    with pytest.raises(VocabularyError, match="too long"):
        loader.check(request("road", "word " * 40))
    loader.check(request("road", preview_resolution=664))
    assert segmenter.encoded == segmenter.made == []
    loader.submit(request("road"))
    eventually(lambda: loader.collect())
    segmenter.checked.clear()
    loader.check(request("road", max_active=3))
    assert segmenter.checked == []
    loader.check(request("road", "sky"))
    assert segmenter.checked == [("road", "sky")]
    loader.close()


def test_without_a_thread_a_request_fails_and_the_next_does_not(bench):
    bench.open(allowed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        bench.submit("one")
    ((names, sentence, last),) = bench.failures
    assert (names, last) == (("one",), None) and "no thread could be started" in sentence
    bench.submit("two")
    assert bench.waited() == ("two",)


def test_who_is_told_of_a_failure_may_wait_for_another_thread_that_asks_the_loader():
    def told(*_):
        asking.start()
        asking.join(PATIENCE)
        answered.append(not asking.is_alive())

    answered = []
    asking = threading.Thread(target=lambda: loader.collect(), daemon=True)
    start, loader = threading.Thread.start, ConfigurationLoader(told)
    loader.open(FakeSegmenter())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda one: start(one) if one is asking else no_thread(one))
        loader.submit(request("road"))
    assert answered == [True]
