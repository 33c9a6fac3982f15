"""The measures of the evaluation command."""

from __future__ import annotations

import math

import numpy as np
import pytest

from activesam_ros.toytown.evaluate import GOALS, Goal, area_under_curve, main, mean_iou


def test_iou_by_hand():
    confusion = np.array([[3, 1, 0, 0], [1, 2, 0, 1], [0, 0, 0, 0]])
    mean, each = mean_iou(confusion)
    assert each[:2] == pytest.approx([3 / 5, 2 / 5])
    assert math.isnan(each[2])
    assert mean == pytest.approx(0.5)


def test_area_under_curve_by_hand():
    scores = np.array([0.9, 0.5, 0.5, 0.1])
    assert area_under_curve(scores, np.array([True, True, False, False])) == pytest.approx(0.875)
    assert area_under_curve(scores, np.array([False, False, True, True])) == pytest.approx(0.125)
    assert math.isnan(area_under_curve(scores, np.array([True] * 4)))


def test_goals_count_from_their_side():
    assert Goal("x", "x", 0.6).met(0.6) and not Goal("x", "x", 0.6).met(0.59)
    assert Goal("x", "x", 0.1, at_least=False).met(0.1) and not Goal("x", "x", 0.1, at_least=False).met(0.2)
    assert not any(goal.met(float("nan")) for goal in GOALS)


def test_no_scenes_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--scenes", "0"])
    assert "at least 1" in capsys.readouterr().err
