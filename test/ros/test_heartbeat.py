import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from rclpy.duration import Duration
from std_msgs.msg import Header

from activesam_ros.ros.heartbeat import Heartbeat, hangs
from activesam_ros.ros.worker import Task

from .recording import RecordingNode


def test_it_beats_while_all_is_well_with_the_nodes_time():
    node, well = RecordingNode(), [True]
    heartbeat = Heartbeat(node, lambda: well[0])
    assert node.published == []
    for seconds, is_well in ((1.5, True), (2.5, False), (3.5, False), (4.25, True)):
        node.seconds, well[0] = seconds, is_well
        assert heartbeat.beat() is is_well
    beats = node.messages("heartbeat")
    assert all(isinstance(one, Header) for one in beats)
    assert [(one.stamp.sec, one.stamp.nanosec) for one in beats] == [(1, 500_000_000), (4, 250_000_000)]
    assert node.publishers["heartbeat"].profile.deadline == Duration(seconds=2)


@pytest.mark.parametrize(
    ("task", "now", "hung"),
    [
        (None, 1e9, False),
        (Task("labelling frames", since=100.0, bounded=True), 130.0, False),
        (Task("labelling frames", since=100.0, bounded=True), 130.1, True),
        (Task("loading the model", since=100.0, bounded=False), 1e9, False),
    ],
)
def test_only_what_should_be_done_soon_hangs(task, now, hung):
    assert hangs(task, 30.0, now) is hung
