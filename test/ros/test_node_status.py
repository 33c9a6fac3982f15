import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from activesam_ros.ros.calls import CallCounts
from activesam_ros.ros.diagnostics import Level
from activesam_ros.ros.node_status import RULES, NodeView, node_status
from activesam_ros.system.memory import DeviceMemory, Memory

from .documented import documented_rules, documented_values


def view(**fields) -> NodeView:
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
        ({"engine_error": "no model 'x'"}, Level.ERROR, "no model 'x'"),
        (
            {"state": "unconfigured", "transition_error": "no model 'x'"},
            Level.ERROR,
            "unconfigured, after a transition that failed: no model 'x'",
        ),
        ({"state": "unconfigured", "loading": True}, Level.WARN, "the model toytown is loading"),
        ({"state": "inactive", "closing": True}, Level.WARN, "the model toytown is being closed"),
        ({"closing": True, "engine_error": "no model 'x'"}, Level.ERROR, "no model 'x'"),
        (
            {"bucket_size": 4},
            Level.WARN,
            "memory ran out: 4 prompts are decoded at once instead of bucket_size 32, until it has sufficed "
            "for a while",
        ),
    ],
)
def test_the_level_follows_from_the_rules(fields, level, message):
    told = node_status(view(**fields))
    assert (told.name, told.level, told.message) == ("node", level, message)


def test_the_values_are_facts_in_plain_units():
    values = node_status(view()).values
    assert values["memory MB"] == 1234 and values["memory peak MB"] == 2000
    assert [values[f"device memory {part}MB"] for part in ("", "reserved ", "total ")] == [5, 6, 16000]
    assert values["worker"] == "labelling frames" and values["worker seconds"] == 0.25
    calls = [values[f"calls {what}"] for what in ("answered", "refused", "failed", "waiting", "in work")]
    assert calls == [5, 4, 3, 2, 1] and values["calls received"] == sum(calls)
    assert values["heartbeat"] is True and values["last error"] == "frame failed"
    assert node_status(view(heartbeat=False)).values["heartbeat"] is False


def test_without_a_model_only_what_is_known_is_told():
    values = node_status(NodeView(state="unconfigured", model="toytown")).values
    assert values == {
        "lifecycle state": "unconfigured",
        "model": "toytown",
        "worker": "waiting",
        "heartbeat": True,
    }


def test_the_documentation_has_these_rules_and_values():
    assert documented_rules("Node") == [(rule.level.name, rule.when) for rule in RULES]
    assert documented_values("Node") == set(node_status(view()).values)
