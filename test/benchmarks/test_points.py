"""The benchmark of labelled points, on small images."""

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from activesam_ros.benchmarks.points import PointsOptions, measure_points, to_markdown


def test_every_combination_is_measured_with_the_points_that_it_has():
    said = []
    found = measure_points(PointsOptions(((96, 64),), (1, 4), 1), said.append)
    assert said == ["96x64"]
    ways = [(one.stride, one.organized) for one in found.costs]
    assert ways == [(1, False), (1, True), (4, False), (4, True)]
    dense, organized, _, coarse = (one.points for one in found.costs)
    assert dense < organized == 96 * 64 and coarse == 24 * 16
    assert all(one.size_bytes == 28 * one.points for one in found.costs)
    assert all(one.make > 0 and one.serialize >= 0 for one in found.costs)
    rows = to_markdown(found).splitlines()[-4:]
    assert [row.split(" | ")[1:4] for row in rows][3] == ["4", "organised", "384"]
