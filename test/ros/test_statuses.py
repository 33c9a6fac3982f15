"""Statuses: what they say of the node, its vocabulary and its cameras, and that the documentation has the rules."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from diagnostic_msgs.msg import DiagnosticStatus

from activesam_ros.configuration.configuration import first_configuration
from activesam_ros.prompts.text_encoder import EncodingReport
from activesam_ros.ros.configuration_loader import LoadedConfiguration
from activesam_ros.ros.frame_queue import Drop, FrameCounts, Percentiles, Recent
from activesam_ros.ros.segment_service import CallCounts
from activesam_ros.ros.statuses import (
    CAMERA_RULES,
    NODE_RULES,
    VOCABULARY_RULES,
    CameraView,
    Level,
    NodeView,
    Rule,
    Status,
    VocabularyView,
    camera_status,
    judged,
    node_status,
    status_to_msg,
    unanswered,
    vocabulary_status,
)
from activesam_ros.system.memory import DeviceMemory, Memory

from .fakes import FakePrompts, FakeSegmenter

PAGE = Path(__file__).parents[2] / "docs" / "diagnostics.md"


def section(title: str) -> str:
    """The text below a heading."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)[1]


def documented_rules(title: str) -> list[tuple[str, str]]:
    """Level and condition of every rule in a section, in order."""
    return re.findall(r"^\| (OK|WARN|ERROR|STALE) \| (.*) \|$", section(title), re.M)


def documented_values(title: str) -> set[str]:
    """The names of the values in a section."""
    table = section(title).partition("| value | meaning |")[2]
    cells = re.findall(r"^\| (`.*?) \|", table, re.M)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


COUNTS = FrameCounts(
    received=100, answered=90, waiting=1, in_work=2, dropped=((Drop.SUPERSEDED, 5), (Drop.BAD_IMAGE, 2))
)


def node_view(**fields) -> NodeView:
    """A node at work on a GPU, but for what is given."""
    given = {
        "state": "active",
        "model": "toytown",
        "task": "labelling frames",
        "task_seconds": 0.25,
        "calls": CallCounts(received=15, answered=5, refused=4, failed=3, waiting=2, in_work=1),
        "device": "cuda",
        "dtype": "bfloat16",
        "bucket_size": 32,
        "bucket_size_set": 32,
        "memory": Memory(resident=1_234_567_890, anonymous=1, peak=2_000_000_000),
        "device_memory": DeviceMemory(allocated=5_000_000, reserved=6_999_999, total=16_000_000_000),
        "last_error": "frame failed",
        "last_error_seconds": 77.0,
    }
    return NodeView(**{**given, **fields})


@pytest.mark.parametrize(
    ("fields", "level", "message"),
    [
        ({}, Level.OK, "active"),
        ({"state": "inactive"}, Level.OK, "inactive"),
        ({"state": "unconfigured"}, Level.OK, "unconfigured"),
        ({"hangs": True, "task_seconds": 31.4}, Level.ERROR, "the worker hangs: labelling frames for 31 s"),
        (
            {"hangs": True, "transition_error": "because of that"},
            Level.ERROR,
            "the worker hangs: labelling frames for 0 s",
        ),
        ({"worker_error": "no model 'x'"}, Level.ERROR, "no model 'x'"),
        (
            {"state": "unconfigured", "transition_error": "no model 'x'"},
            Level.ERROR,
            "unconfigured, after a transition that failed: no model 'x'",
        ),
        ({"state": "unconfigured", "loading": True}, Level.WARN, "the model toytown is loading"),
        ({"state": "inactive", "closing": True}, Level.WARN, "the model toytown is being closed"),
        ({"closing": True, "worker_error": "no model 'x'"}, Level.ERROR, "no model 'x'"),
        (
            {"same_name": 1},
            Level.WARN,
            "other nodes of the same name are running, so calls and parameters go to any of them: 1; start each "
            "with a name of its own, such as by -r __node:=NAME",
        ),
        (
            {"bucket_size": 4},
            Level.WARN,
            "memory ran out: 4 prompts are decoded at once instead of bucket_size 32, until it has sufficed "
            "for a while",
        ),
    ],
)
def test_the_level_of_the_node(fields, level, message):
    told = node_status(node_view(**fields))
    assert (told.name, told.level, told.message) == ("node", level, message)


def test_the_values_are_facts_in_plain_units():
    values = node_status(node_view()).values
    assert values["memory MB"] == 1234 and values["memory peak MB"] == 2000
    assert [values[f"device memory {part}MB"] for part in ("", "reserved ", "total ")] == [5, 6, 16000]
    assert values["worker"] == "labelling frames" and values["worker seconds"] == 0.25
    calls = [values[f"calls {what}"] for what in ("answered", "refused", "failed", "waiting", "in work")]
    assert calls == [5, 4, 3, 2, 1] and values["calls received"] == sum(calls)
    assert values["heartbeat"] is True and values["last error"] == "frame failed"
    assert node_status(node_view(heartbeat=False)).values["heartbeat"] is False


def test_without_a_model_only_what_is_known_is_told():
    values = node_status(NodeView(state="unconfigured", model="toytown")).values
    assert values == {
        "lifecycle state": "unconfigured",
        "model": "toytown",
        "worker": "waiting",
        "heartbeat": True,
        "callbacks failed": 0,
        "other nodes of the same name": 0,
    }


def test_the_documentation_has_the_rules_and_values_of_the_node():
    assert documented_rules("Node") == [(rule.level.name, rule.when) for rule in NODE_RULES]
    assert documented_values("Node") == set(node_status(node_view()).values)


def vocabulary_view(revision=3, **fields) -> VocabularyView:
    """A vocabulary in force, unless `revision` is None, but for what is given."""
    configuration = replace(
        first_configuration({"vocabulary": ["road", "car, automobile"]}), revision=revision or 0
    )
    prompts = FakePrompts(configuration.vocabulary, (2, 2), EncodingReport(2, 1, 0.5))
    served = LoadedConfiguration(configuration, FakeSegmenter(), prompts, 0.5) if revision else None
    given = {"accepted": 3, "loaded": True, "served": served, "prompt_cache": "/cache/prompts"}
    return VocabularyView(**{**given, **fields})


@pytest.mark.parametrize(
    ("fields", "level", "message"),
    [
        ({}, Level.OK, "revision 3 is in force"),
        ({"accepted": 5}, Level.OK, "revision 3 is in force, revision 5 is coming"),
        (
            {"accepted": 5, "preparing_seconds": 29.0},
            Level.OK,
            "revision 3 is in force, revision 5 is coming",
        ),
        (
            {"revision": None, "loaded": None, "prompt_cache": None},
            Level.OK,
            "no model is loaded, so none is in force",
        ),
        (
            {"error": "out of memory"},
            Level.ERROR,
            "the last change failed, revision 3 is in force: out of memory",
        ),
        (
            {"error": "out of memory", "preparing_seconds": 31.0, "late": True},
            Level.ERROR,
            "the last change failed, revision 3 is in force: out of memory",
        ),
        (
            {"accepted": 5, "preparing_seconds": 31.4, "late": True},
            Level.WARN,
            "a change has been in preparation for 31 s, and later changes wait for it; revision 3 stays in force",
        ),
        (
            {"revision": None, "preparing_seconds": 31.4, "late": True},
            Level.WARN,
            "a change has been in preparation for 31 s, and later changes wait for it; "
            "no vocabulary is in force yet",
        ),
        ({"revision": None, "loaded": False}, Level.WARN, "the model is loading"),
        ({"revision": None}, Level.WARN, "the first vocabulary is being encoded"),
        (
            {"revision": None, "error": "'x' has no tokens"},
            Level.WARN,
            "the first vocabulary is being encoded",
        ),
        ({"closing": True}, Level.WARN, "the model is being closed"),
        ({"closing": True, "revision": None, "loaded": False}, Level.WARN, "the model is being closed"),
        (
            {"closing": True, "error": "x", "preparing_seconds": 31.0, "late": True},
            Level.WARN,
            "the model is being closed",
        ),
    ],
)
def test_the_level_of_the_vocabulary(fields, level, message):
    told = vocabulary_status(vocabulary_view(**fields))
    assert (told.name, told.level, told.message) == ("vocabulary", level, message)


def test_what_is_in_force_is_told_in_figures():
    assert vocabulary_status(vocabulary_view()).values == {
        "revision": 3,
        "revision accepted": 3,
        "prompt cache": "/cache/prompts",
        "classes": 2,
        "prompts": 3,
        "phrases from the cache": 2,
        "phrases encoded": 1,
        "encoding seconds": 0.5,
        "text encoder loaded": False,
    }


def test_of_the_vocabulary_what_is_not_known_is_left_out():
    assert vocabulary_status(VocabularyView(accepted=2)).values == {"revision accepted": 2}


def test_the_documentation_has_the_rules_and_values_of_the_vocabulary():
    assert documented_rules("Vocabulary") == [(rule.level.name, rule.when) for rule in VOCABULARY_RULES]
    everything = vocabulary_status(vocabulary_view(error="x", preparing_seconds=31.0)).values
    assert documented_values("Vocabulary") == set(everything)


def camera_view(answered=50, dropped=None, **fields) -> CameraView:
    """A camera whose frames all are answered, but for what is given."""
    given = {
        "title": "camera front",
        "serving": True,
        "wanted": True,
        "topic": "/front/image",
        "transport": "raw",
        "quality": "best effort, keep last 1, volatile",
        "recent": Recent(10.0, 60, answered, dropped or {}),
        "counts": COUNTS,
        "since_image": 0.1,
        "since_answer": 0.05,
        "stages": {"decode": Percentiles(0.0205, 0.05), "latency": Percentiles(0.03, 0.07)},
        "active": (3, 19),
        "reuses_frames": True,
        "since_full": 7,
    }
    return CameraView(**{**given, **fields})


@pytest.mark.parametrize(
    ("fields", "level", "message"),
    [
        ({}, Level.OK, "5.0 frames a second are labelled"),
        ({"preview_only": True}, Level.OK, "5.0 frames a second are previewed"),
        ({"wanted": False, "silent": True}, Level.OK, "idle: nobody subscribes"),
        ({"serving": False, "silent": True}, Level.OK, "not active: no images are taken"),
        ({"since_image": None}, Level.OK, "waiting for the first image"),
        (
            {"dropped": {Drop.SUPERSEDED: 9, Drop.OVER_RATE: 9, Drop.TOO_OLD: 9}},
            Level.OK,
            "5.0 frames a second",
        ),
        ({"dropped": {Drop.NO_SUBSCRIBER: 9, Drop.DEACTIVATED: 9}}, Level.OK, "5.0 frames a second"),
        ({"silent": True}, Level.STALE, "no image comes on /front/image"),
        ({"silent": True, "silence": "nobody publishes"}, Level.STALE, "nobody publishes"),
        ({"silent": True, "dropped": {Drop.QUEUE_FULL: 1}}, Level.STALE, "no image comes"),
        ({"dropped": {Drop.QUEUE_FULL: 7}}, Level.ERROR, "frames lost to a full queue: 7,"),
        ({"dropped": {Drop.OUT_OF_MEMORY: 2}}, Level.ERROR, "frames lost for want of memory: 2,"),
        (
            {"answered": 0, "dropped": {Drop.FAILED: 2, Drop.BAD_IMAGE: 1}},
            Level.ERROR,
            "every frame fails, lately 3;",
        ),
        ({"incompatible": "it offers best effort"}, Level.WARN, "it offers best effort"),
        ({"dropped": {Drop.FAILED: 2}}, Level.WARN, "frames refused or failed lately: 2;"),
        ({"dropped": {Drop.BAD_IMAGE: 1}}, Level.WARN, "frames refused or failed lately: 1;"),
        ({"ids_given": 65_536}, Level.WARN, "the 65535 ids that an id image can hold are used up"),
        ({"ids_given": 65_535}, Level.OK, "5.0 frames a second"),
        ({"ids_given": 65_536, "wanted": False}, Level.OK, "idle: nobody subscribes"),
        (
            {"answered": 0, "dropped": {Drop.TOO_OLD: 5, Drop.SUPERSEDED: 20, Drop.OVER_RATE: 30}},
            Level.WARN,
            "images come, none is answered: every frame is older than max_age",
        ),
        (
            {"answered": 0, "dropped": {Drop.OVER_RATE: 60}, "max_rate": 0.2},
            Level.WARN,
            "images come, none is answered: all come sooner than max_rate allows",
        ),
        (
            {"answered": 0, "dropped": {Drop.SUPERSEDED: 40, Drop.OVER_RATE: 19}, "max_rate": 5.0},
            Level.WARN,
            "images come, none was answered in the last 10 s: the worker is busy",
        ),
        (
            {"answered": 0, "dropped": {Drop.TOO_OLD: 5, Drop.FAILED: 5}},
            Level.ERROR,
            "every frame fails, lately 5;",
        ),
        # One frame in work, the next one waits; or the rate is so low that none has been admitted lately.
        (
            {"answered": 0, "dropped": {Drop.OVER_RATE: 58}, "max_rate": 5.0},
            Level.OK,
            "0.0 frames a second",
        ),
        ({"answered": 0, "dropped": {Drop.OVER_RATE: 60}, "max_rate": 0.1}, Level.OK, "0.0 frames a second"),
        (
            {"recent": Recent(2.0, 60, 0, {Drop.SUPERSEDED: 58})},
            Level.OK,
            "0.0 frames a second",
        ),
        ({"answered": 0, "dropped": {Drop.NO_SUBSCRIBER: 60}}, Level.OK, "0.0 frames a second"),
        ({"answered": 0, "dropped": {Drop.DEACTIVATED: 60}}, Level.OK, "0.0 frames a second"),
        (
            {"answered": 0, "dropped": {Drop.TOO_OLD: 5, Drop.SUPERSEDED: 9}, "wanted": False},
            Level.OK,
            "idle: nobody subscribes",
        ),
        (
            {"answered": 0, "dropped": {Drop.OVER_RATE: 60}, "max_rate": 4.0, "serving": False},
            Level.OK,
            "not active: no images are taken",
        ),
    ],
)
def test_the_level_of_the_camera(fields, level, message):
    told = camera_status(camera_view(**fields))
    assert told.name == "camera front"
    assert told.level == level and told.message.startswith(message)


@pytest.mark.parametrize("reason", [Drop.TOO_OLD, Drop.OVER_RATE])
def test_what_is_logged_of_frames_that_a_limit_drops_is_the_same_every_time(reason):
    told = {
        unanswered(camera_view(recent=Recent(seconds, number, 0, {reason: number}), max_rate=4.0))
        for seconds, number in ((3.0, 11), (10.0, 97))
    }
    (sentence,) = told
    assert sentence.startswith("images come, none is answered: ")


def test_a_busy_worker_is_no_complaint_for_the_log():
    assert unanswered(camera_view(answered=0, dropped={Drop.SUPERSEDED: 60})) is None
    assert unanswered(camera_view()) is None


def test_the_values_say_what_became_of_every_frame():
    values = camera_status(camera_view()).values
    dropped = {name: number for name, number in values.items() if name.startswith("dropped: ")}
    assert dropped == {f"dropped: {reason}": dict(COUNTS.dropped).get(reason, 0) for reason in Drop}
    parts = ("answered", "waiting", "in work")
    assert values["received"] == sum(dropped.values()) + sum(values[part] for part in parts)
    assert (values["received a second"], values["answered a second"]) == (6.0, 5.0)
    assert (values["active classes"], values["classes"]) == (3, 19)
    assert values["ms p50 decode"] == 20.5 and values["ms p95 latency"] == pytest.approx(70.0)


def test_what_is_not_known_before_the_first_frame_is_left_out():
    values = camera_status(
        CameraView("camera", True, True, "/image", "raw", "best effort, keep last 1, volatile")
    ).values
    assert values["received"] == 0 and values["answered a second"] == 0.0
    for name in ("seconds since the last image", "seconds since the last answer", "classes", "ms p50 decode"):
        assert name not in values


def test_the_documentation_has_the_rules_and_values_of_the_camera():
    assert documented_rules("Camera") == [(rule.level.name, rule.when) for rule in CAMERA_RULES]
    shown = {name for name in camera_status(camera_view()).values if "latency" not in name}
    assert documented_values("Camera") == shown


RULES = (
    Rule(Level.ERROR, "below zero", lambda number: f"{number} is below zero" if number < 0 else None),
    Rule(Level.WARN, "odd", lambda number: "odd" if number % 2 else None),
    Rule(Level.OK, "else", lambda number: "well"),
)


@pytest.mark.parametrize(
    ("number", "level", "message"),
    [(-1, Level.ERROR, "-1 is below zero"), (3, Level.WARN, "odd"), (2, Level.OK, "well")],
)
def test_the_first_rule_that_applies_decides(number, level, message):
    assert judged("number", number, RULES, {"n": number}) == Status("number", level, message, {"n": number})


def test_rules_that_leave_a_gap_are_a_mistake():
    with pytest.raises(ValueError, match="no rule applies to the number"):
        judged("number", 2, RULES[:2], {})


def test_what_is_unknown_is_left_out_but_not_zero():
    values = {"a": None, "b": 0, "c": False, "d": ""}
    assert judged("number", 2, RULES, values).values == {"b": 0, "c": False, "d": ""}


def test_levels_are_those_of_the_message():
    for level in Level:
        assert bytes([level]) == getattr(DiagnosticStatus, level.name)


def test_values_become_text():
    message = status_to_msg(
        Status("part", Level.WARN, "so so", {"count": 3, "ready": True, "seconds": 0.12345, "path": "/x"}),
        "activesam",
    )
    assert (message.name, message.hardware_id, message.message) == ("activesam: part", "activesam", "so so")
    assert message.level == DiagnosticStatus.WARN
    assert {one.key: one.value for one in message.values} == {
        "count": "3",
        "ready": "yes",
        "seconds": "0.12",
        "path": "/x",
    }
