"""Frames that were sent and labelled, and the node's own counts of them."""

import threading
from dataclasses import replace

import pytest

from activesam_ros.benchmarks.node_session import FrameLog, NodeCounts, Traffic, read_counts
from activesam_ros.benchmarks.node_soak import unexplained
from activesam_ros.errors import ActiveSamError
from activesam_ros.ros.frame_queue import Drop, FrameCounts, Latency

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


def test_frames_before_a_labelled_one_are_done():
    log = FrameLog(["front"])
    for stamp, good in ((10, True), (20, False), (30, True), (40, True)):
        log.sent("front", stamp, stamp / 10, good)
    assert log.traffic("front") == Traffic(sent=4, bad=1, labelled=0, strange=0, on_the_way=4)
    log.labelled("front", 30, 5.0)
    assert log.traffic("front") == Traffic(sent=4, bad=1, labelled=1, strange=0, on_the_way=1)
    assert log.latencies() == [2.0]


def test_labels_of_no_frame_on_its_way_are_strange():
    log = FrameLog(["front"])
    log.sent("front", 10, 0.0)
    log.sent("front", 20, 0.0, good=False)
    for stamp in (99, 20, 10, 10):
        log.labelled("front", stamp, 1.0)
    assert log.traffic("front") == Traffic(sent=2, bad=1, labelled=4, strange=3, on_the_way=1)


def test_cameras_are_apart_and_latencies_keep_the_order_of_sending():
    log = FrameLog(["front", "rear"])
    log.sent("rear", 10, 0.0)
    log.sent("front", 10, 0.0)
    log.sent("rear", 20, 0.0)
    log.labelled("front", 10, 2.0)
    log.labelled("rear", 10, 1.0)
    log.labelled("rear", 20, 3.0)
    assert log.latencies() == [1.0, 2.0, 3.0]
    assert log.latencies("rear") == [1.0, 3.0]


def test_a_client_waits_for_room():
    log = FrameLog(["front"])
    for stamp in (1, 2, 3):
        log.sent("front", stamp, 0.0)
    assert log.wait_for("front", 3, 0.0)
    assert not log.wait_for("front", 2, 0.0)
    answering = threading.Timer(0.05, log.labelled, ("front", 2, 1.0))
    answering.start()
    assert log.wait_for("front", 1, 60.0)
    answering.join()
