"""The demo model that ships: its files, and that it still segments held-out scenes by words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer, Sam3Model

from activesam_ros.evaluation.confusion import ConfusionMatrix
from activesam_ros.segmenter import ActiveSegmenter, SegmenterSettings
from activesam_ros.toytown import CLASSES, DEMO_CLASSES, model_folder
from activesam_ros.toytown.world import held_out_scene
from activesam_ros.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def scenes():
    return [held_out_scene(index) for index in range(6)]


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


def test_its_tokenizer_spells_any_word():
    tokenizer = CLIPTokenizer.from_pretrained(model_folder())
    for word in (*DEMO_CLASSES, "zyzzyva", "route 66"):
        ids = tokenizer(word).input_ids
        assert ids[0] == 0 and ids[-1] == 1 and 2 < len(ids) <= 32
        assert 1 not in ids[1:-1]


def test_it_segments_held_out_scenes(segmenter, scenes):
    segmenter.set_vocabulary(Vocabulary.from_names(list(CLASSES)))
    confusion = ConfusionMatrix(len(CLASSES))
    for frame in scenes:
        confusion.add(frame.labels, segmenter.segment(frame.rgb).labels)
    assert confusion.pixel_accuracy > 0.9
    assert confusion.mean_iou > 0.65


def test_it_refuses_words_of_other_worlds(segmenter, scenes):
    segmenter.set_vocabulary(Vocabulary.from_names(list(DEMO_CLASSES)))
    preview = np.stack([segmenter.segment(frame.rgb).preview_presence for frame in scenes])
    assert preview[:, : len(CLASSES)].max(0).mean() > 0.5
    assert (preview[:, len(CLASSES) :] > 0.5).mean() < 0.02
