"""The worker from loading a model to its end; the model and the cameras are stand-ins, the threads are real."""

import gc
import re
import threading
import time
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from activesam_ros.configuration.configuration import ModelChoice, group_of
from activesam_ros.errors import ModelError, OutOfMemoryError, SettingsError, VocabularyError
from activesam_ros.ros.frame_queue import Drop, Frame, FrameCounts, FrameQueue, Latency
from activesam_ros.ros.parameters import DEFAULTS, Policy
from activesam_ros.ros.publishers import Demand
from activesam_ros.ros.segment_service import CallQueue, CallRequest, Outcome
from activesam_ros.ros.worker import Task, Worker, load_segmenter, prompt_cache_folder
from activesam_ros.stages.temporal_reuse import StreamMemory
from activesam_ros.vocabulary import Vocabulary

from .fakes import PATIENCE, FakeSegmenter, eventually, in_force, no_thread, request
from .recording import RecordingNode

NAMES = ("front", "rear", "left")
CHOICE = replace(group_of(ModelChoice, DEFAULTS), model="street", prompt_cache="memory")


class RecordingCamera:
    """Keeps what it is given to publish in a list that it shares with others."""

    def __init__(self, name, published):
        self.name = name
        self.prefix = f"{name}: "
        self.demand = Demand.LABELS
        self.latency = Latency()
        self.publishers = self
        self.image = SimpleNamespace(topic=f"/{name}/image")
        self.trouble = None
        self.wants_instances = False
        self.memory = StreamMemory()
        self._published = published

    def note_left_out(self, result):
        assert (result.instances is not None) == self.wants_instances

    def info(self, header):
        return f"camera info {header.stamp.sec}"

    def publish(self, result, rgb, revision, header, info):
        if self.trouble:
            raise self.trouble
        assert result.labels.shape == rgb.shape[:2]
        names = ",".join(result.vocabulary.names)
        self._published.append((self.name, header.stamp.sec, f"{revision} {names}", info))

    def publish_preview(self, result, revision, header):
        if self.trouble:
            raise self.trouble
        self._published.append((self.name, header.stamp.sec, f"{revision} preview"))


class Bench(RecordingNode):
    """The node with all parts that a worker is given, and a worker that has not been started.

    It plays the parameters, the label info publisher, the error log and the guard condition, too.
    """

    def __init__(self, segmenter=None, first=None, choice=CHOICE, load=None):
        super().__init__()
        self.results = []
        self.cameras = {name: RecordingCamera(name, self.results) for name in NAMES}
        self.frames = FrameQueue(NAMES, 9)
        self.frames.open()
        self.calls = CallQueue(self, lambda: self.now)
        self.calls.open()
        self.now = 0.0
        self.answers = []
        self.limits = {"max_age": 0.0, "max_rate": 0.0, "image_timeout": 5.0, "worker_timeout": 30.0}
        self.model, self.requested = choice, first or request("road")
        self.events = []
        self.failures = []
        self.segmenter = segmenter or FakeSegmenter(self.requested.settings)
        self.worker = Worker(
            self,
            self,
            self.frames,
            self.calls,
            self.cameras,
            self,
            self,
            self,
            load or (lambda choice, first: self.segmenter),
        )

    @property
    def policy(self):
        return Policy(**self.limits)

    # The parameters.

    def real(self, choice):
        return choice

    def succeeded(self, configuration):
        self.events.append(f"revision {configuration.revision}")

    def failed(self, *given):
        if len(given) == 1:  # a frame or a call, see `ErrorLog.failed`
            self.failures.append(*given)
        else:
            self.failure = given
            self.events.append("change failed")

    # The error log and the guard condition.

    def remember(self, sentence):
        self.failures.append(sentence)

    def trigger(self):
        self.events.append("settled")

    # The label info publisher.

    def before(self, headers, served):
        self.results.append(("names before", sorted(header.stamp.sec for header in headers)))

    def ahead(self, served):
        self.events.append(f"ahead {served.revision}")

    def note_active(self, class_ids):
        self.active_ids = list(class_ids)

    # What tests do.

    def serve(self):
        """Have the worker run with the first vocabulary in force."""
        self.worker.start()
        assert self.worker.wait(PATIENCE)
        eventually(lambda: self.worker.task is None)
        return self

    def prepare(self):
        """What frames are labelled with, for `answer` without a thread."""
        self.served = in_force(self.segmenter, self.requested)
        self.segmenter.done.clear()
        return self

    def put(self, name, message):
        assert self.frames.put(Frame(name, message, 0.0)) is None

    def answer(self, **messages):
        """Frames of these cameras come and are answered in one batch, in this order."""
        for name, message in messages.items():
            self.put(name, message)
        taken = {frame.camera: frame for frame in self.frames.take()}
        self.worker._answer_frames([taken[name] for name in messages], self.served)

    def reasons(self, name="front"):
        counts = self.frames.counts(name)
        assert counts.received == counts.answered + counts.total_dropped
        return dict(counts.dropped)

    def answered(self, name="front"):
        return self.frames.counts(name).answered

    def call(self, *names, number=1, thresholds=None, **fields):
        own = Vocabulary.from_names(list(names)) if names else None
        self.calls.put(CallRequest(image(number, **fields), own, thresholds or {}, 1.0), self.answers.append)
        self.worker.see_to_calls()

    def ended(self, number=1):
        """The answer of the last call of so many."""
        eventually(lambda: len(self.answers) == number)
        return self.answers[-1]


def image(number=1, **fields):
    """Grey of this number, which its stamp has, too."""
    given = {"height": 4, "width": 6, "encoding": "mono8", "step": 6, "data": bytes([number] * 24), **fields}
    message = Image(**given)
    message.header.stamp.sec = number
    return message


@pytest.fixture
def make():
    """Makes benches, see `Bench`; `gate`: loading ends once it is set, with this `error`."""
    workers = []

    def bench(segmenter=None, gate=None, error=None, **given):
        def load(choice, first):
            made.loaded_with = (choice, first)
            if gate is not None:
                assert gate.wait(PATIENCE)
            if error:
                raise error
            return made.segmenter

        made = Bench(segmenter, load=load, **given)
        workers.append(weakref.ref(made.worker))
        return made

    yield bench
    for worker in filter(None, [one() for one in workers]):
        worker.end()
        if worker._thread.ident is not None:
            assert worker.join(PATIENCE)


@pytest.fixture
def bench(make):
    return make().prepare()


# Loading and ending.


def test_it_settles_once_the_first_vocabulary_is_in_force(make):
    gate = threading.Event()
    bench = make(gate=gate)
    worker = bench.worker
    worker.start()
    assert not worker.wait(0) and not worker.is_loaded and not worker.serves
    assert worker.served is None and worker.error is None and worker.prompt_cache is None
    eventually(lambda: worker.task)
    assert (worker.task.name, worker.task.bounded) == ("loading the model", False)
    gate.set()
    assert worker.wait(PATIENCE)
    assert worker.is_loaded and worker.serves and worker.error is None and worker.prompt_cache == "memory"
    eventually(lambda: bench.events[:3] == ["revision 1", "settled", "ahead 1"])
    assert bench.loaded_with == (CHOICE, request("road")) and worker.choice is CHOICE
    assert worker.served.vocabulary.names == ("road",)
    assert [line.split(" in ")[0] for line in bench.logged] == ["model loaded", "vocabulary revision 1"]
    assert re.fullmatch(r"vocabulary revision 1 in force: 1 classes, prepared in \d\.\d\d s", bench.logged[1])
    # Another line is for another vocabulary only.
    for change in (request("road", max_active=3), replace(request("sky"), revision=2)):
        worker.loader.submit(change)
        eventually(lambda change=change: worker.served.configuration is change)
    assert len(bench.logged) == 3 and bench.logged[2].startswith("vocabulary revision 2 in force: 1 classes")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModelError("there is no folder 'x'"), "there is no folder 'x'"),
        (MemoryError("1 TB"), "loading the model failed unexpectedly: MemoryError: 1 TB"),
    ],
)
def test_without_a_model_it_settles_with_an_error(make, error, said):
    bench = make(error=error)
    bench.worker.start()
    assert bench.worker.wait(PATIENCE)
    assert bench.worker.error == said and not bench.worker.serves and not bench.worker.is_loaded
    assert bench.worker.join(PATIENCE) and bench.worker.task is None and bench.events == ["settled"]


def test_a_first_vocabulary_that_does_not_fit_is_an_error_that_ends_it(make):
    bench = make(first=request("unspeakable"))
    bench.worker.start()
    assert bench.worker.wait(PATIENCE)
    assert bench.worker.error == "the parameters do not fit the model: 'unspeakable' has no tokens"
    eventually(lambda: bench.worker.join(0.01))
    assert bench.events == ["settled"] and not bench.worker.serves


@pytest.mark.parametrize("error", [None, MemoryError("no room")])
def test_one_that_ends_while_it_loads_has_not_failed(make, error):
    gate = threading.Event()
    bench = make(gate=gate, error=error)
    bench.worker.start()
    bench.worker.end()
    assert not bench.worker.join(0)
    gate.set()
    assert bench.worker.join(PATIENCE)
    assert bench.events == [] and bench.worker.error is None


def test_a_vocabulary_that_fails_while_it_ends_is_no_failure(make):
    gate = threading.Event()
    bench = make(FakeSegmenter(gate=gate), first=request("unspeakable"))
    bench.worker.start()
    eventually(lambda: bench.segmenter.asked)
    assert bench.worker.task.name == "encoding the first vocabulary" and not bench.worker.task.bounded
    bench.worker.end()
    gate.set()
    assert bench.worker.join(PATIENCE)
    assert bench.events == [] and bench.worker.error is None


def test_it_ends_after_the_frame_in_work_and_leaves_the_others_waiting(make):
    gate = threading.Event()
    bench = make(FakeSegmenter(decoding=gate)).serve()
    bench.put("front", image(1))
    eventually(lambda: bench.segmenter.done)
    bench.put("front", image(2))
    bench.worker.end()
    assert not bench.worker.join(0)
    gate.set()
    assert bench.worker.join(PATIENCE)
    counts = bench.frames.counts("front")
    assert (counts.answered, counts.waiting, counts.in_work) == (1, 1, 0)


@pytest.mark.parametrize("step", ["ahead", "succeeded"])
def test_a_bug_beside_the_frames_is_an_error(make, monkeypatch, step):
    def surprise(*_):
        raise KeyError("surprise")

    bench = make()
    monkeypatch.setattr(bench, step, surprise)
    bench.worker.start()
    eventually(lambda: bench.worker.error)
    assert bench.worker.error == "the worker failed: KeyError: 'surprise'"
    assert bench.worker.join(PATIENCE) and not bench.worker.serves and bench.worker.task is None
    assert bench.events[-1] == "settled" and bench.frames.wait_idle(0)


def test_frames_whose_names_cannot_be_published_are_dropped_and_the_next_are_not(bench, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(bench, "before", lambda *_: 1 / 0)
        bench.answer(front=image(), rear=image())
    assert bench.reasons() == bench.reasons("rear") == {Drop.FAILED: 1} and bench.worker.error is None
    bench.answer(front=image())
    assert bench.answered() == 1


def test_a_frame_whose_names_cannot_be_published_never_takes_its_batch_along(bench, monkeypatch):
    def before(headers, served):
        if any(header.stamp.sec == 2 for header in headers):
            raise ValueError("no such stamp")

    monkeypatch.setattr(bench, "before", before)
    bench.answer(front=image(1), rear=image(2), left=image(3))
    assert [bench.answered(name) for name in NAMES] == [1, 0, 1]
    assert bench.reasons("rear") == {Drop.FAILED: 1} and "no such stamp" in bench.failures[0]


def test_without_a_thread_it_settles_with_an_error(make, monkeypatch):
    bench = make()
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    bench.worker.start()
    assert bench.worker.wait(0) and "no thread could be started" in bench.worker.error
    assert bench.worker.join(PATIENCE)


def test_without_a_thread_the_classes_of_a_call_fail_and_later_ones_do_not(make):
    bench = make().serve()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        bench.call("cup")
    assert bench.ended().outcome is Outcome.FAILED and "ulimit" in bench.ended().sentence
    bench.call("cup", number=2)
    assert bench.ended(2).result.vocabulary.names == ("cup",)


def test_a_worker_left_behind_publishes_nothing_more(make):
    gate = threading.Event()
    bench = make(FakeSegmenter(decoding=gate)).serve()
    bench.put("front", image())
    eventually(lambda: bench.segmenter.done)
    assert not bench.worker.hangs()
    bench.limits["worker_timeout"] = 0.0
    assert bench.worker.task.bounded and bench.worker.hangs()
    bench.worker.end()
    bench.worker.abandon()
    gate.set()
    assert bench.worker.join(PATIENCE)
    assert bench.results == [("names before", [1])] and bench.reasons() == {Drop.DEACTIVATED: 1}


def test_only_a_task_that_should_be_done_soon_hangs(bench):
    began = time.monotonic() - 31
    for bounded, since, hangs in ((True, began, True), (True, began + 5, False), (False, began, False)):
        bench.worker.task = Task("labelling frames", since, bounded)
        assert bench.worker.hangs() is hangs


def test_nothing_holds_the_model_once_the_worker_is_gone(make):
    bench = make().serve()
    model = weakref.ref(bench.segmenter)
    bench.put("front", image())
    eventually(lambda: bench.answered() == 1)
    bench.call("cup")
    bench.ended()
    bench.worker.end()
    assert bench.worker.join(PATIENCE)
    assert not bench.worker.is_loaded and bench.worker.served is None
    bench.segmenter = bench.worker = None
    gc.collect()
    assert model() is None


def test_the_prompt_cache_is_where_the_parameter_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert prompt_cache_folder(CHOICE) is None
    assert prompt_cache_folder(replace(CHOICE, prompt_cache="")).is_relative_to(tmp_path / "cache")
    assert prompt_cache_folder(replace(CHOICE, prompt_cache=str(tmp_path / "mine"))) == tmp_path / "mine"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert prompt_cache_folder(replace(CHOICE, prompt_cache="~/prompts")) == tmp_path / "prompts"


def test_the_model_is_loaded_as_the_parameters_say(tmp_path, monkeypatch):
    from activesam_ros.segmenter import ActiveSegmenter

    monkeypatch.setattr(ActiveSegmenter, "from_pretrained", lambda *args, **given: (args, given))
    choice = ModelChoice(str(tmp_path), "cpu", "float32", False, False, "keep", str(tmp_path))
    assert load_segmenter(choice, request("road", max_active=7)) == (
        (str(tmp_path),),
        {
            "device": "cpu",
            "dtype": "float32",
            "settings": request("road", max_active=7).settings,
            "text_encoder": "keep",
            "prompt_cache": tmp_path,
            "compiler": None,
            "cuda_graphs": False,
        },
    )
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/chosen")
    _, given = load_segmenter(replace(choice, compile=True), request("road"))
    assert callable(given["compiler"])


# Changes of the vocabulary.


def test_frames_keep_the_old_vocabulary_while_a_new_one_is_encoded(make):
    gate = threading.Event()
    gate.set()
    bench = make(FakeSegmenter(gate=gate)).serve()
    gate.clear()
    bench.worker.loader.submit(replace(request("sky"), revision=2))
    eventually(lambda: ("sky",) in bench.segmenter.asked)
    assert bench.worker.loader.since is not None
    bench.put("front", image(1))
    eventually(lambda: bench.answered() == 1)
    gate.set()
    # It comes into force without a frame, too.
    eventually(lambda: bench.worker.served.revision == 2)
    bench.put("front", image(2))
    eventually(lambda: bench.answered() == 2)
    assert [one[2] for one in bench.results if one[0] == "front"] == ["1 road", "2 sky"]
    eventually(lambda: bench.events[-1] == "ahead 2")
    assert [one for one in bench.events if "ahead" not in one] == ["revision 1", "settled", "revision 2"]


def test_a_vocabulary_is_not_swapped_while_a_frame_is_in_work(make):
    gate = threading.Event()
    bench = make(FakeSegmenter(decoding=gate)).serve()
    bench.put("front", image(1))
    eventually(lambda: bench.segmenter.done)
    bench.worker.loader.submit(replace(request("sky"), revision=2))
    eventually(lambda: ("sky",) in bench.segmenter.encoded)
    bench.put("front", image(2))
    assert bench.worker.served.revision == 1
    gate.set()
    eventually(lambda: bench.answered() == 2)
    assert [one[2] for one in bench.results if one[0] == "front"] == ["1 road", "2 sky"]


def test_a_change_that_fails_leaves_what_is_in_force(make):
    first = request("road")
    bench = make(first=first).serve()
    bad = replace(request("unspeakable"), revision=2)
    bench.worker.loader.submit(bad)
    eventually(lambda: "change failed" in bench.events)
    assert bench.failure == (bad, "'unspeakable' has no tokens", first, False)
    assert bench.failures == ["'unspeakable' has no tokens"]
    assert bench.worker.serves and bench.worker.served.revision == 1
    bench.put("front", image())
    eventually(lambda: bench.answered() == 1)


def test_a_change_during_loading_that_fails_makes_room_for_the_first_vocabulary(make):
    gate, first = threading.Event(), request("road")
    bench = make(first=first, gate=gate)
    bench.worker.start()
    bad = replace(request("unspeakable"), revision=2)
    bench.worker.loader.submit(bad)
    gate.set()
    eventually(lambda: "change failed" in bench.events)
    assert bench.failure == (bad, "'unspeakable' has no tokens", first, True)
    assert not bench.worker.wait(0) and bench.worker.error is None
    # The parameters ask for it again, and now it comes first.
    bench.worker.loader.submit(first)
    assert bench.worker.wait(PATIENCE) and bench.worker.served.vocabulary.names == ("road",)


def test_a_request_is_checked_as_soon_as_there_is_a_model(make):
    bench = make()
    bad = request("road", preview_resolution=67)
    bench.worker.loader.check(bad)
    bench.serve()
    with pytest.raises(SettingsError, match="multiple of 8"):
        bench.worker.loader.check(bad)
    with pytest.raises(VocabularyError, match="too long"):
        bench.worker.loader.check(request("x" * 101))
    bench.worker.loader.check(request("sky"))


# Batches of frames.


def test_names_come_before_the_labels_and_a_batch_is_encoded_in_one_call(bench):
    bench.answer(rear=image(2), front=image(1), left=image(3))
    assert bench.segmenter.done == ["encode 2 1 3", "decode 2", "decode 1", "decode 3"]
    assert bench.results == [
        ("names before", [1, 2, 3]),
        ("rear", 2, "1 road", "camera info 2"),
        ("front", 1, "1 road", "camera info 1"),
        ("left", 3, "1 road", "camera info 3"),
    ]
    assert all(bench.frames.counts(name) == FrameCounts(received=1, answered=1) for name in NAMES)
    assert bench.failures == []


def test_where_batching_does_not_pay_the_first_frame_is_answered_before_the_next_is_encoded(make):
    bench = make()
    bench.segmenter.batching_pays = False
    bench.segmenter.decoding = threading.Event()
    bench.serve()
    bench.put("left", image(9))
    eventually(lambda: "encode 9" in bench.segmenter.done)
    for number, name in enumerate(NAMES, 1):
        bench.put(name, image(number))
    bench.segmenter.decoding.set()
    eventually(lambda: all(bench.answered(name) for name in NAMES) and bench.answered("left") == 2)
    worked = [done for done in bench.segmenter.done if not done.startswith("warm")]
    assert [one.split()[0] for one in worked] == ["encode", "decode"] * 4
    assert all(len(one.split()) == 2 for one in worked)


def test_the_stages_of_a_batch_add_up_to_the_latency(bench, monkeypatch):
    decode = bench.segmenter.decode

    def slow(encoded, instances):
        time.sleep(0.05)
        return replace(decode(encoded, instances), timings={"decode": 0.05, "total": 0.05})

    monkeypatch.setattr(bench.segmenter, "decode", slow)
    bench.answer(front=image(1), rear=image(2))
    for name, others in (("front", 0.0), ("rear", 0.05)):
        stages = {key: one.p50 for key, one in bench.cameras[name].latency.percentiles().items()}
        parts = [stages[part] for part in ("wait", "convert", "segment", "batch", "publish")]
        assert sum(parts) == pytest.approx(stages["latency"]) and stages["batch"] >= others


def test_instances_are_decoded_for_the_cameras_whose_subscribers_want_them(bench):
    bench.cameras["rear"].wants_instances = True
    bench.answer(front=image(1), rear=image(2))
    # Each camera has looked at what it was given.
    assert bench.answered("front") == bench.answered("rear") == 1


def test_every_camera_has_a_memory_of_its_own(bench):
    memories = [bench.cameras[name].memory for name in ("front", "rear")]
    bench.answer(front=image(1), rear=image(2))
    assert bench.segmenter.memories == [memories]
    told = []
    memories[0].at = told.append
    bench.answer(front=image(3))
    assert bench.segmenter.memories[1] == [memories[0]] and told == [3_000_000_000]


@pytest.mark.parametrize(
    ("error", "reason", "said"),
    [
        (RuntimeError("out of\n reach"), Drop.FAILED, "rear: frame failed: RuntimeError: out of reach"),
        (OutOfMemoryError("no room for it"), Drop.OUT_OF_MEMORY, "rear: frame dropped: no room for it"),
    ],
)
@pytest.mark.parametrize("step", ["encode", "decode"])
def test_a_frame_that_fails_never_takes_its_batch_along(bench, step, error, reason, said):
    bench.segmenter.troubles[step, 2] = error
    bench.answer(front=image(1), rear=image(2), left=image(3))
    alone = ["encode 1", "encode 2", "encode 3"] if step == "encode" else []
    tried = ["decode 1", "decode 3"] if step == "encode" else ["decode 1", "decode 2", "decode 3"]
    assert bench.segmenter.done == ["encode 1 2 3", *alone, *tried]
    assert [one[:2] for one in bench.results[1:]] == [("front", 1), ("left", 3)]
    assert bench.reasons("rear") == {reason: 1} and bench.failures == [said]
    assert bench.answered("front") == bench.answered("left") == 1


def test_a_single_frame_that_fails_is_not_tried_again(bench):
    bench.segmenter.troubles["encode", 1] = RuntimeError("no")
    bench.answer(front=image(1))
    assert bench.segmenter.done == ["encode 1"] and bench.reasons() == {Drop.FAILED: 1}
    bench.answer(front=image(2))
    assert bench.answered() == 1


@pytest.mark.parametrize("demand", [Demand.LABELS, Demand.PREVIEW])
def test_a_result_that_cannot_be_published_failed(bench, demand):
    bench.cameras["front"].demand = demand
    bench.cameras["front"].trouble = ValueError("no such topic")
    bench.answer(front=image(1), rear=image(2))
    assert bench.reasons("front") == {Drop.FAILED: 1} and bench.answered("rear") == 1
    assert bench.failures == ["front: frame failed: ValueError: no such topic"]


def test_a_bad_image_is_refused_dates_no_names_and_stops_no_other(bench):
    bench.answer(front=image(1, step=5), left=image(3, encoding="nonsense"), rear=image(2))
    assert bench.results == [("names before", [2]), ("rear", 2, "1 road", "camera info 2")]
    assert bench.segmenter.done == ["encode 2", "decode 2"]
    assert bench.reasons("front") == bench.reasons("left") == {Drop.BAD_IMAGE: 1}
    assert bench.failures[0].startswith("front: frame refused: step is 5 bytes")
    limit = bench.served.segmenter.settings.max_pixels
    bench.answer(front=image(1, height=limit, width=2, data=b""))
    assert f"at most {limit} are taken" in bench.failures[2] and len(bench.results) == 2


def test_compressed_images_are_read_as_such(bench):
    message = CompressedImage(format="png")
    message.header.stamp.sec = 5
    message.data = cv2.imencode(".png", np.full((4, 6), 77, np.uint8))[1].tobytes()
    bench.answer(front=message)
    assert bench.segmenter.done == ["encode 77", "decode 77"] and bench.answered() == 1
    message.data = bytes(message.data)[:-20]
    bench.answer(front=message)
    assert bench.reasons() == {Drop.BAD_IMAGE: 1}


def test_frames_above_the_age_are_dropped_by_the_limit_of_the_moment(bench):
    bench.seconds = 100
    bench.answer(front=image(1))
    bench.limits["max_age"] = 2.0
    # One of just the age passes, and so does one from the future, or from before time jumped back.
    bench.answer(front=image(97), rear=image(98), left=image(101))
    assert bench.reasons("front") == {Drop.TOO_OLD: 1} and bench.answered("front") == 1
    assert bench.answered("rear") == bench.answered("left") == 1
    assert bench.segmenter.done[-3:] == ["encode 98 101", "decode 98", "decode 101"]
    bench.answer(front=image(0))  # a camera that does not fill in its stamp
    assert bench.reasons("front") == {Drop.TOO_OLD: 2} and bench.failures == []


def test_only_the_preview_runs_for_who_wants_no_more(bench):
    forgotten = []
    bench.cameras["front"].memory.forget_presence = lambda: forgotten.append("front")
    bench.cameras["front"].demand = bench.cameras["left"].demand = Demand.PREVIEW
    bench.answer(front=image(1), rear=image(2), left=image(3))
    assert bench.segmenter.done == ["encode 2", "decode 2", "preview 1 3"]
    assert bench.results == [
        ("names before", [1, 2, 3]),
        ("rear", 2, "1 road", "camera info 2"),
        ("front", 1, "1 preview"),
        ("left", 3, "1 preview"),
    ]
    assert all(bench.answered(name) == 1 for name in NAMES)
    assert "preview" in bench.cameras["front"].latency.percentiles()
    # The next frame that is labelled has nothing to build on.
    assert forgotten == ["front"]


def test_a_preview_that_fails_never_takes_its_batch_along(bench):
    for name in NAMES:
        bench.cameras[name].demand = Demand.PREVIEW
    bench.segmenter.troubles["preview", 1] = OutOfMemoryError("no room")
    bench.answer(front=image(1), rear=image(2), left=image(3))
    assert bench.segmenter.done == ["preview 1 2 3", "preview 1", "preview 2", "preview 3"]
    assert bench.reasons("front") == {Drop.OUT_OF_MEMORY: 1}
    assert bench.failures == ["front: frame dropped: no room"]
    assert bench.answered("rear") == bench.answered("left") == 1


def test_a_frame_without_subscribers_is_not_even_read(bench):
    bench.cameras["front"].demand = Demand.NOTHING
    bench.answer(front=image(1, step=5))
    assert bench.reasons() == {Drop.NO_SUBSCRIBER: 1}
    bench.put("front", image(2))
    frames = bench.frames.take()
    bench.frames.shut()
    bench.worker._answer_frames(frames, bench.served)
    assert bench.reasons() == {Drop.NO_SUBSCRIBER: 1, Drop.DEACTIVATED: 1}
    assert bench.results == [] and bench.segmenter.done == [] and bench.failures == []


def test_at_the_end_the_frame_in_work_is_still_answered_but_none_behind_it(bench):
    decode = bench.segmenter.decode

    def decode_and_end(encoded, instances):
        bench.frames.shut()
        return decode(encoded, instances)

    bench.segmenter.decode = decode_and_end
    bench.answer(front=image(1), rear=image(2), left=image(3))
    assert bench.segmenter.done == ["encode 1 2 3", "decode 1"]
    assert bench.answered("front") == 1
    assert bench.reasons("rear") == bench.reasons("left") == {Drop.DEACTIVATED: 1}


@pytest.mark.parametrize("step", ["encode_images", "decode", "preview"])
def test_what_was_in_work_when_the_worker_was_left_behind_is_not_published(bench, step):
    run = getattr(bench.segmenter, step)

    def hang(*given):
        bench.worker.abandon()
        return run(*given)

    setattr(bench.segmenter, step, hang)
    for camera in bench.cameras.values():
        camera.demand = Demand.PREVIEW if step == "preview" else Demand.LABELS
    bench.answer(front=image(1), rear=image(2))
    assert bench.results == [("names before", [1, 2])]
    assert bench.reasons("front") == bench.reasons("rear") == {Drop.DEACTIVATED: 1}


def test_names_are_published_between_frames_only_while_frames_are_accepted(make):
    bench = make()
    bench.frames.shut()
    bench.serve()
    assert "ahead 1" not in bench.events
    bench.frames.open()
    bench.frames.wake()
    eventually(lambda: "ahead 1" in bench.events)


def test_stages_say_where_the_time_went(bench):
    bench.answer(front=image())
    latency = bench.cameras["front"].latency
    stages = {name: one.p50 for name, one in latency.percentiles().items()}
    assert list(stages) == ["wait", "convert", "decode", "segment", "batch", "publish", "latency"]
    assert stages["decode"] == stages["segment"] == 0.01 and stages["convert"] >= 0
    assert stages["latency"] >= stages["wait"] + stages["convert"] + stages["publish"]
    assert latency.active == (1, 1)
    bench.segmenter.troubles["decode", 2] = RuntimeError("no")
    answered = latency.since_answer
    bench.answer(front=image(2))
    assert answered <= latency.since_answer and latency.percentiles()["decode"].p50 == 0.01


# Calls.


def test_one_call_at_most_is_answered_between_two_batches_of_frames(make):
    gate = threading.Event()
    bench = make(FakeSegmenter(decoding=gate)).serve()
    bench.put("front", image(1))
    eventually(lambda: bench.segmenter.done)
    for number in (101, 102, 103):
        bench.call(number=number)
    bench.put("front", image(2))
    gate.set()
    assert bench.ended(3).outcome == Outcome.LABELLED
    decoded = [one for one in bench.segmenter.done if one.startswith("decode")]
    assert decoded == ["decode 1", "decode 101", "decode 2", "decode 102", "decode 103"]


def test_a_call_has_the_vocabulary_of_the_stream_or_its_own_and_changes_nothing(make):
    bench = make().serve()
    bench.segmenter.done.clear()
    bench.call(number=7)
    answer = bench.ended()
    assert (answer.outcome, answer.sentence, answer.revision) == (Outcome.LABELLED, "", 1)
    assert answer.result.vocabulary.names == ("road",) and answer.result.labels.shape == (4, 6)
    assert bench.segmenter.done == ["encode 7", "decode 7"]
    assert bench.segmenter.memories == [[None]]  # it is no frame of a stream
    bench.call("cup", "spoon")
    answer = bench.ended(2)
    assert (answer.outcome, answer.revision) == (Outcome.LABELLED, 0)
    assert answer.result.vocabulary.names == ("cup", "spoon")
    assert bench.segmenter.encoded == [("road",), ("cup", "spoon")]
    assert bench.segmenter.prompts.vocabulary.names == ("road",)
    bench.call()
    assert bench.ended(3).result.vocabulary.names == ("road",) and bench.results == []


def test_a_call_has_thresholds_of_its_own_and_leaves_those_of_the_stream(make):
    bench = make().serve()
    asked = []
    with_settings = bench.segmenter.with_settings

    def remembered(settings):
        asked.append(settings)
        return with_settings(settings)

    bench.segmenter.with_settings = remembered
    before = bench.segmenter.settings
    for number in (1, 2):
        bench.call(thresholds={"confidence_threshold": 0.7})
        answer = bench.ended(number)
        assert (answer.outcome, answer.revision) == (Outcome.LABELLED, 1)
        assert answer.result.vocabulary.names == ("road",)
    # The second segmenter stays, since making it takes time, too.
    assert [one.confidence_threshold for one in asked] == [0.7]
    assert bench.segmenter.settings == before and bench.segmenter.encoded == [("road",)]


def test_classes_of_calls_are_encoded_one_call_after_the_other_but_not_of_those_that_ended(make):
    gate = threading.Event()
    gate.set()
    bench = make(FakeSegmenter(gate=gate)).serve()
    gate.clear()
    for name in ("cup", "spoon", "fork"):
        if name == "fork":
            bench.now += 1.0  # the timeout of those before
        bench.call(name)
        eventually(lambda: ("cup",) in bench.segmenter.asked)
    gate.set()
    assert bench.ended(3).result.vocabulary.names == ("fork",)
    outcomes = [one.outcome for one in bench.answers]
    assert outcomes == [Outcome.TIMED_OUT, Outcome.TIMED_OUT, Outcome.LABELLED]
    assert bench.segmenter.asked == [("road",), ("cup",), ("fork",)]


def test_context_tokens_that_changed_meanwhile_have_the_classes_encoded_again(bench):
    bench.worker.served = bench.served
    bench.segmenter.asked.clear()
    bench.call("cup")
    eventually(lambda: bench.calls.has_ready)
    changed = request("road", neighbor_tokens=0)
    bench.served = in_force(bench.segmenter.with_settings(changed.settings), changed)
    bench.worker.served = bench.served
    # Its turn has come, but the worker does not encode: it goes back.
    bench.segmenter.asked.clear()
    bench.worker._answer_call(bench.served)
    assert bench.answers == [] and bench.calls.counts().waiting == 1
    eventually(lambda: bench.calls.has_ready)
    assert ("cup",) in bench.segmenter.asked
    bench.worker._answer_call(bench.served)
    assert bench.answers[0].result.vocabulary.names == ("cup",) and bench.calls.counts().answered == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"step": 5}, "step is 5 bytes"),
        ({"encoding": "nonsense"}, "nonsense"),
        ({"height": 0}, "the image is empty"),
        ({"height": 100_000, "width": 100_000, "data": b""}, "at most"),
    ],
)
def test_a_bad_image_of_a_call_is_refused_and_no_fault_of_the_node(make, fields, said):
    bench = make().serve()
    bench.call(**fields)
    answer = bench.ended()
    assert answer.outcome == Outcome.REFUSED and said in answer.sentence and answer.result is None
    assert bench.failures == [] and bench.calls.counts().refused == 1


def test_classes_that_cannot_be_encoded_are_refused_and_the_next_call_is_not(make):
    bench = make().serve()
    bench.call("unspeakable")
    answer = bench.ended()
    assert (answer.outcome, answer.sentence) == (Outcome.REFUSED, "'unspeakable' has no tokens")
    bench.call("cup")
    assert bench.ended(2).outcome == Outcome.LABELLED


@pytest.mark.parametrize(
    ("error", "said"),
    [(OutOfMemoryError("no room for it"), "no room for it"), (KeyError("x"), "KeyError: 'x'")],
)
def test_a_fault_fails_the_call_and_is_logged(make, error, said):
    bench = make().serve()
    bench.segmenter.troubles["decode", 3] = error
    bench.call(number=3)
    answer = bench.ended()
    assert (answer.outcome, answer.sentence) == (Outcome.FAILED, said)
    assert bench.failures == [f"a call failed: {said}"]
    bench.call(number=4)
    assert bench.ended(2).outcome == Outcome.LABELLED


def test_a_text_encoder_that_cannot_be_loaded_fails_the_call(make, monkeypatch):
    def encode(_):
        raise ModelError("the hub does not answer")

    bench = make().serve()
    monkeypatch.setattr(bench.segmenter, "encode", encode)
    bench.call("cup")
    answer = bench.ended()
    assert (answer.outcome, answer.sentence) == (Outcome.FAILED, "the hub does not answer")
    assert bench.failures == ["a call failed: the hub does not answer"]


def test_a_call_in_work_when_the_worker_fails_is_ended(make, monkeypatch):
    def surprise(*_):
        raise KeyError("surprise")

    bench = make().serve()
    monkeypatch.setattr(bench.worker, "_labelled", surprise)
    monkeypatch.setattr(bench.calls, "fail", surprise)
    bench.call()
    assert bench.ended().outcome == Outcome.FAILED
    assert bench.worker.join(PATIENCE) and bench.worker.error == "the worker failed: KeyError: 'surprise'"


def test_an_ended_worker_encodes_no_more_calls(make):
    gate = threading.Event()
    gate.set()
    bench = make(FakeSegmenter(gate=gate)).serve()
    gate.clear()
    bench.call("cup")
    bench.call("spoon")
    eventually(lambda: ("cup",) in bench.segmenter.asked)
    bench.worker.end()
    assert not bench.worker.join(0.0)
    gate.set()
    assert bench.worker.join(PATIENCE)
    bench.call("fork")
    assert bench.segmenter.asked == [("road",), ("cup",)]
