import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from activesam_ros.ros.camera_status import RULES, CameraView, camera_status, unanswered
from activesam_ros.ros.diagnostics import Level
from activesam_ros.ros.inbox import Drop, FrameCounts
from activesam_ros.ros.latency import Percentiles
from activesam_ros.ros.recent_counts import Recent

from .documented import documented_rules, documented_values

COUNTS = FrameCounts(
    received=100, answered=90, waiting=1, in_work=2, dropped=((Drop.SUPERSEDED, 5), (Drop.BAD_IMAGE, 2))
)


def view(answered=50, dropped=None, **fields) -> CameraView:
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
        "rolling": True,
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
        ({"dropped": {Drop.UNWANTED: 9, Drop.DEACTIVATED: 9}}, Level.OK, "5.0 frames a second"),
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
        ({"answered": 0, "dropped": {Drop.UNWANTED: 60}}, Level.OK, "0.0 frames a second"),
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
def test_the_level_follows_from_the_rules(fields, level, message):
    told = camera_status(view(**fields))
    assert told.name == "camera front"
    assert told.level == level and told.message.startswith(message)


@pytest.mark.parametrize("reason", [Drop.TOO_OLD, Drop.OVER_RATE])
def test_what_is_logged_of_frames_that_a_limit_drops_is_the_same_every_time(reason):
    told = {
        unanswered(view(recent=Recent(seconds, number, 0, {reason: number}), max_rate=4.0))
        for seconds, number in ((3.0, 11), (10.0, 97))
    }
    (sentence,) = told
    assert sentence.startswith("images come, none is answered: ")


def test_a_busy_worker_is_no_complaint_for_the_log():
    assert unanswered(view(answered=0, dropped={Drop.SUPERSEDED: 60})) is None
    assert unanswered(view()) is None


def test_the_values_say_what_became_of_every_frame():
    values = camera_status(view()).values
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


def test_the_documentation_has_these_rules_and_values():
    assert documented_rules("Camera") == [(rule.level.name, rule.when) for rule in RULES]
    shown = {name for name in camera_status(view()).values if "latency" not in name}
    assert documented_values("Camera") == shown
