"""Diagnostics of the node: its parts are stand-ins, the statuses are real."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from rclpy.topic_endpoint_info import TopicEndpointInfo

from activesam_ros.configuration.configuration import ModelChoice, group_of
from activesam_ros.ros import diagnostics, logs, qos
from activesam_ros.ros.diagnostics import Diagnostics
from activesam_ros.ros.frame_queue import Drop, Frame, FrameQueue, Latency
from activesam_ros.ros.lifecycle import Stage
from activesam_ros.ros.logs import ErrorLog
from activesam_ros.ros.parameters import DEFAULTS, Policy
from activesam_ros.ros.publishers import Demand
from activesam_ros.ros.segment_service import CallQueue
from activesam_ros.ros.transport import Transport
from activesam_ros.ros.troubleshooting import IMAGE, ImageInput, incompatible
from activesam_ros.ros.worker import Task
from activesam_ros.stages.temporal_reuse import StreamMemory

from .fakes import FakeSegmenter, in_force, request
from .recording import RecordingNode

OK, WARN, ERROR, STALE = (bytes([level]) for level in range(4))
CHOICE = group_of(ModelChoice, {**DEFAULTS, "model": "street"})


def publisher(profile):
    return TopicEndpointInfo(node_name="driver", node_namespace="/", topic_type=IMAGE, qos_profile=profile)


class Bench(RecordingNode):
    """The node and its parts."""

    def __init__(self, *names):
        super().__init__()
        self.stage = Stage.ACTIVE
        self.transition_error = None
        self.nodes_of_its_name = 1
        self.parameters = SimpleNamespace(
            policy=group_of(Policy, DEFAULTS), model=CHOICE, requested=request("road"), failure=None
        )
        self.errors = ErrorLog(self.get_logger())
        self.calls = CallQueue(self.errors)
        self.frames = FrameQueue(names, 9)
        self.frames.open()
        self.endpoints = {}
        self.cameras = {name: self._camera(name) for name in names}
        served = in_force(FakeSegmenter(request("road").settings), request("road"))
        self.worker = SimpleNamespace(
            task=None,
            served=served,
            serves=True,
            ending=False,
            loader=SimpleNamespace(since=None),
            error=None,
            choice=CHOICE,
            is_loaded=True,
            prompt_cache="/cache/prompts",
            hangs=lambda: False,
        )
        self.well = True
        self.transport = Transport({}, "rmw_fastrtps_cpp")
        self.diagnostics = Diagnostics(self)

    def _camera(self, name):
        topic = f"/{name}/image" if name else "/image"
        return SimpleNamespace(
            name=name,
            title=f"camera {name}".strip(),
            prefix=f"{name}: " if name else "",
            demand=Demand.LABELS,
            latency=Latency(),
            memory=StreamMemory(),
            without_pixels=3,
            beyond_limit=0,
            beyond_images=0,
            ids_given=7,
            image=ImageInput(topic[1:], topic, "raw", qos.image_in("newest")),
            image_publishers=lambda: self.endpoints.get(topic, []),
            silent_for=0.5,
            since_image=0.5,
        )

    def is_well(self):
        return self.well

    # The graph.

    def get_topic_names_and_types(self):
        return [("/camera/image_raw", [IMAGE])]

    def get_fully_qualified_name(self):
        return "/front/activesam"

    def get_publishers_info_by_topic(self, topic):
        return [SimpleNamespace(node_name="driver", node_namespace="/camera")]

    def answer(self, name="", seconds=0.1):
        assert self.frames.put(Frame(name, "frame", 0.0)) is None
        for frame in self.frames.take():
            self.frames.answered(frame)
        self.cameras[name].latency.add({"latency": seconds}, 3, 19)

    def look(self):
        """Level, message and values of every status, by its name."""
        self.diagnostics.publish()
        told = self.messages("/diagnostics")[-1].status
        names = [one.name for one in told]
        assert len(set(names)) == len(names)
        return {
            one.name.removeprefix("front/activesam: "): (
                one.level,
                one.message,
                {value.key: value.value for value in one.values},
            )
            for one in told
        }

    def silence(self, name=""):
        return (self.diagnostics.complaints(name) or [None, None])[0]

    def complaint(self, name=""):
        return (self.diagnostics.complaints(name) or [None, None])[1]


@pytest.fixture
def bench():
    return Bench("")


@pytest.fixture
def now(monkeypatch):
    clock = SimpleNamespace(seconds=1000.0)
    for module in (diagnostics, logs):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.seconds))
    return clock


def test_every_part_has_a_status_in_one_message():
    bench = Bench("left", "right")
    assert list(bench.look()) == ["node", "vocabulary", "camera left", "camera right"]
    assert bench.topics() == ["/diagnostics"]


def test_a_node_at_work(bench, now):
    bench.worker.task = Task("labelling frames", since=now.seconds - 2, bounded=True)
    bench.answer()
    told = bench.look()
    level, message, values = told["node"]
    assert (level, message) == (OK, "active")
    expected = {
        "lifecycle state": "active",
        "model": "street",
        "device": "cpu",
        "dtype": "float32",
        "worker": "labelling frames",
        "worker seconds": "2.00",
        "heartbeat": "yes",
        "bucket size": "32",
        "bucket size set": "32",
    }
    assert expected.items() <= values.items()
    assert int(values["memory MB"]) > 0 and "last error" not in values
    level, message, values = told["vocabulary"]
    assert (level, message) == (OK, "revision 1 is in force")
    assert values["prompt cache"] == "/cache/prompts"
    level, _, values = told["camera"]
    expected = {
        "image topic": "/image",
        "transport": "raw",
        "received": "1",
        "answered": "1",
        "ms p50 latency": "100.00",
        "active classes": "3",
        "classes": "19",
        "instances without pixels": "3",
        "seconds since the last image": "0.50",
    }
    assert level == OK and expected.items() <= values.items()


def test_without_a_model_nothing_is_wrong(bench):
    bench.worker, bench.stage = None, Stage.UNCONFIGURED
    told = bench.look()
    assert {name: status[:2] for name, status in told.items()} == {
        "node": (OK, "unconfigured"),
        "vocabulary": (OK, "no model is loaded, so none is in force"),
        "camera": (OK, "not active: no images are taken"),
    }
    # The model that the parameters name is the one that would be loaded.
    assert told["node"][2]["model"] == "street" and "device" not in told["node"][2]


def test_while_it_loads_it_warns(bench, now):
    worker = bench.worker
    worker.served, worker.serves, worker.is_loaded, worker.prompt_cache = None, False, False, None
    worker.task = Task("loading the model", since=now.seconds - 99, bounded=False)
    told = bench.look()
    assert told["node"][:2] == (WARN, "the model street is loading")
    assert told["node"][2]["heartbeat"] == "yes"
    assert told["vocabulary"][:2] == (WARN, "the model is loading")
    assert told["camera"][:2] == (OK, "not active: no images are taken")


def test_a_worker_that_hangs_is_an_error(bench, now):
    bench.worker.task = Task("labelling frames", since=now.seconds - 31, bounded=True)
    bench.worker.hangs = lambda: True
    assert bench.look()["node"][:2] == (ERROR, "the worker hangs: labelling frames for 31 s")


def test_the_heartbeat_is_told_as_it_is(bench):
    assert bench.look()["node"][2]["heartbeat"] == "yes"
    bench.well = False
    assert bench.look()["node"][2]["heartbeat"] == "no"


def test_a_worker_that_failed_is_an_error(bench):
    bench.worker.error, bench.worker.serves = "the worker failed: KeyError: 'x'", False
    assert bench.look()["node"][:2] == (ERROR, "the worker failed: KeyError: 'x'")
    assert bench.look()["vocabulary"][:2] == (OK, "no model is loaded, so none is in force")


@pytest.mark.parametrize("loaded", [False, True])
def test_while_it_is_closed_it_does_not_seem_to_load(bench, loaded):
    bench.worker.ending, bench.worker.serves, bench.worker.is_loaded = True, False, loaded
    if not loaded:
        bench.worker.served = None
    told = bench.look()
    assert told["node"][:2] == (WARN, "the model street is being closed")
    assert told["vocabulary"][:2] == (WARN, "the model is being closed")


def test_a_change_that_hangs_is_a_warning_of_the_vocabulary(bench, now):
    bench.parameters.requested = replace(bench.parameters.requested, revision=2)
    bench.worker.loader.since = now.seconds - bench.parameters.policy.worker_timeout
    level, message, values = bench.look()["vocabulary"]
    assert (level, message) == (OK, "revision 1 is in force, revision 2 is coming")
    assert values["preparing seconds"] == "30.00"
    now.seconds += 1
    level, message, values = bench.look()["vocabulary"]
    assert level == WARN and "in preparation for 31 s, and later changes wait" in message
    assert values["preparing seconds"] == "31.00"


def test_a_transition_that_failed_is_an_error(bench):
    bench.transition_error, bench.stage, bench.worker = (
        "could not configure: no model",
        Stage.UNCONFIGURED,
        None,
    )
    level, message, _ = bench.look()["node"]
    assert level == ERROR and "could not configure: no model" in message


def test_what_was_logged_last_is_told_with_its_age(bench, now):
    bench.errors.failed("one")
    bench.errors.failed("frame failed: two")
    now.seconds += 7
    values = bench.look()["node"][2]
    assert (values["last error"], values["seconds since the last error"]) == ("frame failed: two", "7.00")


def test_a_change_that_failed_is_an_error_of_the_vocabulary(bench):
    bench.parameters.failure = "'sky' has no tokens"
    level, message, values = bench.look()["vocabulary"]
    assert (
        level == ERROR
        and "'sky' has no tokens" in message
        and values["last error"] == bench.parameters.failure
    )


def test_a_camera_of_which_nothing_comes_is_stale_and_says_why(bench):
    camera = bench.cameras[""]
    camera.silent_for = bench.parameters.policy.image_timeout
    assert bench.look()["camera"][0] == OK
    camera.silent_for += 0.1
    level, message, _ = bench.look()["camera"]
    assert level == STALE and message == bench.silence()
    assert "nobody publishes /image" in message and "/camera/image_raw (raw)" in message
    # Nobody waits for it any more.
    camera.demand, camera.silent_for = Demand.NOTHING, None
    assert bench.look()["camera"][:2] == (OK, "idle: nobody subscribes")


def test_a_publisher_that_does_not_fit_is_a_warning(bench):
    camera = bench.cameras[""]
    camera.image = ImageInput("image", "/image", "raw", qos.image_in("all"))
    bench.endpoints["/image"] = [publisher(qos.image_in("newest"))]
    level, message, values = bench.look()["camera"]
    assert level == WARN and message == incompatible(camera.image, camera.image_publishers())
    assert "/driver publishes on /image cannot be received" in message
    assert values["quality of service"] == "reliable, keep all, volatile"
    bench.endpoints["/image"] = [publisher(qos.results_out())]
    assert incompatible(camera.image, camera.image_publishers()) is None and bench.look()["camera"][0] == OK


def test_frames_that_were_lost_of_late_are_told_by_camera(now):
    bench = Bench("left", "right")
    bench.look()
    now.seconds += 1
    bench.frames.refuse("left", Drop.QUEUE_FULL)
    told = bench.look()
    assert told["camera left"][0] == ERROR and told["camera right"][0] == OK
    assert told["camera left"][2]["dropped: queue full"] == "1"
    now.seconds += 60
    bench.look()
    now.seconds += 1
    assert bench.look()["camera left"][0] == OK


def test_a_preview_is_told_as_that(bench, now):
    bench.cameras[""].demand = Demand.PREVIEW
    bench.look()
    now.seconds += 1
    bench.answer()
    assert bench.look()["camera"][1].endswith("frames a second are previewed")


def test_news_are_of_the_cameras_that_got_frames_since():
    bench = Bench("left", "right")
    assert bench.diagnostics.news() == []
    bench.answer("left", 0.5)
    (line,) = bench.diagnostics.news()
    assert line.startswith("left: frames: 1 in = 1 out + 0 dropped + 0 pending; median ms: latency 500.0")
    assert bench.diagnostics.news() == []
    bench.answer("left", 0.1)
    bench.answer("right")
    left, right = bench.diagnostics.news()
    assert left.startswith("left: frames: 2 in") and "latency 100.0" in left
    assert right.startswith("right: frames: 1 in")


def test_news_are_also_of_frames_that_were_all_dropped(bench):
    bench.frames.refuse("", Drop.OVER_RATE)
    assert bench.diagnostics.news() == [
        "frames: 1 in = 0 out + 1 dropped + 0 pending; dropped: over the rate 1"
    ]
    assert bench.diagnostics.news() == []


def test_frames_that_all_are_dropped_are_complained_of_by_camera(now):
    bench = Bench("left", "right")
    assert bench.complaint("left") is None
    bench.look()
    bench.frames.refuse("left", Drop.TOO_OLD)
    bench.answer("right")
    now.seconds += 1
    told = bench.look()
    assert told["camera left"][:2] == (WARN, bench.complaint("left"))
    assert "older than max_age" in bench.complaint("left") and bench.complaint("right") is None
    bench.answer("left")
    bench.look()
    assert bench.complaint("left") is None


def test_a_clock_that_stands_still_is_told_if_a_rate_is_set(bench, now):
    bench.parameters.policy = replace(bench.parameters.policy, max_rate=1.0)
    bench.look()
    for _ in range(3):
        now.seconds += 1
        bench.frames.refuse("", Drop.OVER_RATE)
        told = bench.look()["camera"]
    assert told[:2] == (WARN, bench.complaint()) and "/clock" in told[1]


def test_the_graph_is_asked_once_a_look_why_images_do_not_come(bench, monkeypatch):
    asked = []
    monkeypatch.setattr(bench, "get_topic_names_and_types", lambda: asked.append("names") or [])
    camera = bench.cameras[""]
    camera.silent_for = 99.0
    assert bench.silence() is None
    bench.look()
    assert "nobody publishes /image" in bench.silence() and asked == ["names"]
    camera.silent_for = 0.1
    bench.look()
    assert bench.silence() is None


def test_the_summary_is_of_all_frames_and_cameras(bench):
    assert [bench.cameras[""].latency.summary(bench.frames.counts(""))] == [
        "frames: 0 in = 0 out + 0 dropped + 0 pending"
    ]
    bench.answer("", 0.1)
    bench.diagnostics.news()
    bench.answer("", 0.3)
    bench.answer("", 0.3)
    bench.frames.refuse("", Drop.OVER_RATE)
    (line,) = [bench.cameras[""].latency.summary(bench.frames.counts(""))]
    assert line == (
        "frames: 4 in = 3 out + 1 dropped + 0 pending; dropped: over the rate 1; median ms: latency 300.0; "
        "active classes: 3 of 19"
    )


def test_a_system_that_does_not_tell_of_memory_will_do(bench, monkeypatch):
    def missing():
        raise FileNotFoundError("/proc/self/status")

    monkeypatch.setattr(diagnostics, "memory", missing)
    level, _, values = bench.look()["node"]
    assert level == OK and "memory MB" not in values
