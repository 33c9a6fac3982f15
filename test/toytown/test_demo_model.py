"""The demo model that ships: its files, how it segments held-out scenes, and the command that measures it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer, Sam3Model

from activesam_ros.benchmarks.toytown import GOALS, Goal, area_under_curve, as_json, summarise, table, tally
from activesam_ros.cli.evaluate_toytown import main
from activesam_ros.evaluation.metrics import ConfusionMatrix, boundary_iou
from activesam_ros.segmenter import ActiveSegmenter, SegmenterSettings
from activesam_ros.toytown import CLASSES, DEMO_CLASSES, model_folder
from activesam_ros.toytown.world import held_out_scene
from activesam_ros.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def segmenter(toytown_checkpoint):
    return ActiveSegmenter(toytown_checkpoint, SegmenterSettings())


def test_it_is_a_small_half_precision_sam3_model():
    folder = model_folder()
    assert (folder / "model.safetensors").stat().st_size < 8e6
    model = Sam3Model.from_pretrained(folder)
    assert model.dtype == torch.float16
    assert model.config.vision_config.backbone_config.image_size == 192
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_its_tokenizer_spells_any_prompt():
    tokenizer = CLIPTokenizer.from_pretrained(model_folder())
    for prompt in (*DEMO_CLASSES, "zyzzyva", "route 66"):
        ids = tokenizer(prompt).input_ids
        assert ids[0] == 0 and ids[-1] == 1 and 2 < len(ids) <= 32
        assert 1 not in ids[1:-1]


def test_it_segments_held_out_scenes_and_refuses_classes_that_are_absent(segmenter):
    scenes = [held_out_scene(index) for index in range(6)]
    segmenter.set_vocabulary(Vocabulary.from_names(list(CLASSES)))
    confusion = ConfusionMatrix(len(CLASSES))
    for frame in scenes:
        confusion.add(frame.labels, segmenter.segment(frame.rgb).labels)
    assert confusion.pixel_accuracy > 0.9
    assert confusion.mean_iou > 0.65
    segmenter.set_vocabulary(Vocabulary.from_names(list(DEMO_CLASSES)))
    preview = np.stack([segmenter.segment(frame.rgb).preview_presence for frame in scenes])
    assert preview[:, : len(CLASSES)].max(0).mean() > 0.5
    assert (preview[:, len(CLASSES) :] > 0.5).mean() < 0.02


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
    assert "from 1" in capsys.readouterr().err


def test_scenes_are_measured_and_joined(segmenter):
    apart = [tally(segmenter, index, index + 1, progress=False) for index in range(2)]
    metrics = summarise(apart)
    assert metrics.scenes == 2
    assert metrics.miou == pytest.approx(
        ConfusionMatrix(19, apart[0].confusion[0] + apart[1].confusion[0]).mean_iou
    )
    assert all(part.confusion[0].sum() > 0.99 * 320 * 240 for part in apart)
    assert metrics.miou > 0.4
    assert metrics.mean_boundary == pytest.approx(
        np.nanmean(boundary_iou(*(apart[0].boundary + apart[1].boundary).T))
    )
    assert 0.2 < metrics.mean_boundary < metrics.miou
    assert apart[0].preview.shape == apart[0].complete.shape == (1, 60)
    assert np.isfinite(apart[0].complete).all() and np.isfinite(apart[0].names).all()
    assert metrics.false_accepts_foreign_full < 0.1
    assert json.loads(as_json(metrics))["auc"]["sky"] is None
    text = table(metrics)
    assert all(goal.title in text for goal in GOALS)
    assert all(f"| {name} |" in text for name in metrics.iou)
    assert f"| boundary IoU, the 19 class names | {metrics.mean_boundary:.3f} |" in text
