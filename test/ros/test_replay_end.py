"""The end of a replay, as it is told."""

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from diagnostic_msgs.msg import DiagnosticStatus

from activesam_ros.ros.replay_end import ReplayEnd, end_message, end_of


@pytest.mark.parametrize("notes", [(), ("It was cut off.", "Two were lost.")])
def test_the_end_is_read_as_it_was_told(notes):
    end = ReplayEnd(200, notes)
    message = end_message(end)
    assert end_of(message) == end
    assert message.level == (DiagnosticStatus.WARN if notes else DiagnosticStatus.OK)
    assert "200" in message.message
