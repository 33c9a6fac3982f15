"""The measures of the evaluation command."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from activesam_ros.evaluation.confusion import ConfusionMatrix
from activesam_ros.segmenter import ActiveSegmenter, SegmenterSettings
from activesam_ros.toytown.evaluate import (
    GOALS,
    Goal,
    area_under_curve,
    as_json,
    main,
    summarise,
    table,
    tally,
)


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


def test_scenes_are_measured_and_joined(toytown_checkpoint):
    segmenter = ActiveSegmenter(toytown_checkpoint, SegmenterSettings())
    apart = [tally(segmenter, index, index + 1, progress=False) for index in range(2)]
    metrics = summarise(apart)
    assert metrics.scenes == 2
    assert metrics.miou == pytest.approx(
        ConfusionMatrix(19, apart[0].confusion[0] + apart[1].confusion[0]).mean_iou
    )
    assert all(part.confusion[0].sum() > 0.99 * 320 * 240 for part in apart)
    assert metrics.miou > 0.4
    assert apart[0].preview.shape == apart[0].complete.shape == (1, 60)
    assert np.isfinite(apart[0].complete).all() and np.isfinite(apart[0].names).all()
    assert metrics.false_accepts_foreign_full < 0.1
    assert json.loads(as_json(metrics))["auc"]["sky"] is None
    text = table(metrics)
    assert all(goal.title in text for goal in GOALS)
    assert all(f"| {name} |" in text for name in metrics.iou)
