from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from activesam_ros.ros.diagnostics import Diagnostics, Level, Status, status_message


class RecordingNode:
    def __init__(self):
        self.published = []

    def create_publisher(self, kind, topic, profile):
        return SimpleNamespace(publish=lambda message: self.published.append((topic, message)))

    def get_clock(self):
        return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=lambda: Time(sec=12)))

    def get_fully_qualified_name(self):
        return "/front/activesam"


def test_levels_are_those_of_the_message():
    for level in Level:
        assert bytes([level]) == getattr(DiagnosticStatus, level.name)


def test_values_become_text():
    message = status_message(
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


def test_all_statuses_go_out_in_one_message_with_the_nodes_time_and_name():
    node = RecordingNode()
    diagnostics = Diagnostics(node)
    diagnostics.publish(Status(name, Level.OK, f"answer {name}") for name in ("one", "two"))
    diagnostics.publish([Status("one", Level.STALE, "answer 3")])
    assert [topic for topic, _ in node.published] == ["/diagnostics", "/diagnostics"]
    first, second = (message for _, message in node.published)
    assert first.header.stamp.sec == 12
    assert [one.name for one in first.status] == ["front/activesam: one", "front/activesam: two"]
    assert [one.message for one in first.status] == ["answer one", "answer two"]
    assert [(one.level, one.message) for one in second.status] == [(DiagnosticStatus.STALE, "answer 3")]
