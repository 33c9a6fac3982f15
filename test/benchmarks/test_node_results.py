"""Verdicts and tables, by hand."""

import json
import statistics
from dataclasses import asdict, astuple, replace

import pytest

from activesam_ros.benchmarks import node_cameras, node_overhead, node_soak
from activesam_ros.benchmarks.node_cameras import (
    BatchResult,
    CamerasOptions,
    CamerasResult,
    LatencyPercentiles,
)
from activesam_ros.benchmarks.node_overhead import (
    AddedLatency,
    InstanceCost,
    OverheadOptions,
    OverheadResult,
    SizeOverhead,
)
from activesam_ros.benchmarks.node_session import NodeCounts, Traffic
from activesam_ros.benchmarks.node_soak import EditCounts, MemorySample, SoakOptions, SoakResult
from activesam_ros.system.memory import Memory

MIB = 2**20
COUNTS = NodeCounts(12, 10, 0, {"bad image": 2}, 2, {})
TRAFFIC = Traffic(sent=12, bad=2, labelled=10, strange=0, on_the_way=0)


def sample(frames, resident, anonymous=500, cache=7):
    used = Memory(resident * MIB, anonymous * MIB, resident * MIB)
    return MemorySample(frames, frames / 10, used, edits=3, calls=2, cache=cache * 1_000_000)


CLEAN = SoakResult(
    machine="a machine",
    options=SoakOptions(frames=20),
    samples=(sample(0, 900), sample(10, 990), sample(20, 909)),
    edits=EditCounts(accepted=3, refused=1, wrong=0),
    calls={"labelled": 2},
    cache_limit=8_000_000,
    faults={"truncated data": 2},
    traffic={"front": TRAFFIC},
    counts={"front": COUNTS},
    first=0.1,
    last=0.11,
    rate=20.0,
    stalled=None,
)


def test_a_clean_soak():
    assert CLEAN.complaints() == [] and CLEAN.unexplained == 0
    assert CLEAN.resident_change == pytest.approx(0.01) and CLEAN.drift == pytest.approx(0.1)
    printed = node_soak.to_markdown(CLEAN)
    assert "Verdict: clean." in printed and "+1.00% resident" in printed
    assert "| front | 12 | 2 | 12 | 10 | bad image 2 | 10 | 0 | 0 |" in printed
    assert "| 20 | 2 | 3 | 2 | 909.0 | 500.0 | 7.0 MB |" in printed and "truncated data 2" in printed
    json.dumps(asdict(CLEAN))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": (sample(0, 900), sample(20, 930))}, "resident memory changed by +3.3%"),
        ({"samples": (sample(0, 900), sample(20, 870))}, "resident memory changed by -3.3%"),
        ({"samples": (sample(0, 900), sample(20, 900, 520))}, "anonymous memory changed by +4.0%"),
        ({"traffic": {"front": replace(TRAFFIC, sent=13)}}, "1 frames are unexplained"),
        ({"edits": EditCounts(3, 1, 1)}, "1 vocabulary requests were answered the wrong way"),
        ({"calls": {"labelled": 1, "busy": 2}}, "calls failed: busy 2"),
        ({"samples": (sample(0, 900, cache=9), sample(20, 900))}, "took 9.0 MB, more than 8.0 MB"),
        ({"last": 0.2}, "the latency rose by 100%"),
        ({"stalled": "no labels for a while"}, "no labels for a while"),
    ],
)
def test_what_is_unclean_is_said(change, said):
    found = replace(CLEAN, **change)
    (complaint,) = found.complaints()
    assert said in complaint
    assert f"NOT clean: {complaint}" in node_soak.to_markdown(found)


def test_cameras():
    stages = {"wait": 0.3, "convert": 0.001, "segment": 0.4, "batch": 0.0, "publish": 0.002, "latency": 0.7}
    front = NodeCounts(300, 100, 1, {"superseded": 199}, 199, stages)
    rear = NodeCounts(300, 90, 0, {"superseded": 210}, 210, stages)
    found = CamerasResult(
        "a machine",
        CamerasOptions(),
        30.0,
        {"front": Traffic(301, 0, 100, 0, 0), "rear": Traffic(301, 0, 90, 0, 0)},
        {"front": front, "rear": rear},
        {"front": LatencyPercentiles(0.2, 0.3), "rear": LatencyPercentiles(0.25, 0.35)},
    )
    assert found.fairness == pytest.approx(0.9) and found.complaints() == []
    printed = node_cameras.to_markdown((found,), (BatchResult(3, 0.5, 1.5, 1.2, 1.4),))
    for row in (
        "| 2 | front | 301 | 300 | 100 | superseded 199 | 1 | 100 + 199 + 1 = 300 | 3.33 | 200.0 | 300.0 |",
        "| 2 | rear | 300.0 | 1.0 | 400.0 | 0.0 | 2.0 | 700.0 | 703.0 |",
        "| 3 | 500.0 | 1200.0 | 1500.0 | 1400.0 | 2.40 | 0.93 |",
    ):
        assert row in printed
    assert "Fairness: 0.90 of 2" in printed and "Verdict: clean." in printed
    json.dumps(asdict(found))
    wrong = replace(found, counts={"front": replace(front, pending=0), "rear": rear})
    printed = node_cameras.to_markdown((wrong,))
    assert "off by 1" in printed and "NOT clean: camera front" in printed


def test_images_are_compared_one_by_one():
    # The second picture takes long, and its figures must not be compared with the first one's.
    outside, bare = [[1.1, 1.2, 9.0], [5.3, 5.4]], [[1.0, 1.0, 0.9], [5.0, 5.2]]
    assert astuple(AddedLatency.of(outside, bare, statistics.median, {}))[:3] == pytest.approx(
        (3.05, 3.275, 0.225)
    )
    assert astuple(AddedLatency.of(outside, bare, min, {}))[:3] == pytest.approx((2.95, 3.2, 0.25))


def test_overhead():
    stages = {"wait": 0.001, "convert": 0.002, "segment": 0.4, "publish": 0.003, "latency": 0.41}
    whole, light = AddedLatency(0.4, 0.42, 0.015, stages), AddedLatency(0.03, 0.04, 0.01, stages)
    cost = InstanceCost(21.4, bare=0.4, added=0.002, publish=0.009, published=0.003)
    size = SizeOverhead((640, 480), whole, light, 0.005, cost)
    found = OverheadResult("a machine", OverheadOptions(), (size,))
    printed = node_overhead.to_markdown(found)
    assert "| 640x480 | 400.0 | 420.0 | 15.0 | 30.0 | 40.0 | 10.0 | 5.0 | 2.5% |" in printed
    assert "| 640x480 | 1.0 | 2.0 | 3.0 | 400.0 | 410.0 | 6.0 | 1.5% |" in printed
    assert "| 640x480 | 21 | 400.0 | 2.0 | 3.0 | 9.0 | 6.0 | 2.0% |" in printed
    json.dumps(asdict(found))
