"""The node's own counts, and what is missing between them and what was seen from outside."""

from dataclasses import replace

import pytest

from activesam_ros.benchmarks.node.counts import NodeCounts, read_counts, unexplained
from activesam_ros.benchmarks.node.ledger import Traffic
from activesam_ros.errors import ActiveSamError
from activesam_ros.ros.inbox import Drop, FrameCounts
from activesam_ros.ros.latency import Latency

COUNTS = NodeCounts(received=12, answered=10, pending=0, dropped={"bad image": 2}, total_dropped=2, stages={})
TRAFFIC = Traffic(sent=12, bad=2, labelled=10, strange=0, on_the_way=0)


def test_what_the_node_says_is_understood():
    latency = Latency()
    latency.add({"wait": 0.001, "segment": 0.2, "latency": 0.25}, active=3, classes=12)
    dropped = ((Drop.SUPERSEDED, 3), (Drop.BAD_IMAGE, 1))
    counts = FrameCounts(received=9, answered=4, waiting=1, in_work=0, dropped=dropped)
    read = read_counts([f"front: {latency.summary(counts)}", Latency().summary(FrameCounts())])
    assert read["front"] == NodeCounts(
        received=9,
        answered=4,
        pending=1,
        dropped={"superseded": 3, "bad image": 1},
        total_dropped=4,
        stages={"wait": 0.001, "segment": 0.2, "latency": 0.25},
    )
    assert read[""] == NodeCounts(0, 0, 0, {}, 0, {})


def test_another_line_is_refused():
    with pytest.raises(ActiveSamError, match="no counts of frames"):
        read_counts(["stopped in good order"])


@pytest.mark.parametrize(
    ("change", "off"),
    [({}, 0), ({"received": 13}, 1), ({"answered": 8}, 2), ({"dropped": {"bad image": 1}}, 1)],
)
def test_counts_that_do_not_add_up(change, off):
    assert replace(COUNTS, **change).unaccounted == off


def test_every_frame_is_explained():
    assert unexplained(TRAFFIC, COUNTS) == 0


@pytest.mark.parametrize(
    ("traffic", "counts"),
    [
        ({"sent": 13}, {}),
        ({"labelled": 9}, {}),
        ({"strange": 1}, {}),
        ({}, {"answered": 9, "pending": 1}),
        ({}, {"answered": 9, "dropped": {"bad image": 2, "queue full": 1}, "total_dropped": 3}),
        ({}, {"answered": 9, "dropped": {"bad image": 3}, "total_dropped": 3}),
    ],
)
def test_what_is_missing_is_found(traffic, counts):
    assert unexplained(replace(TRAFFIC, **traffic), replace(COUNTS, **counts)) > 0
