"""Fusion, calibration and labels against the plain arrays and formulas."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from activesam_ros.model.prompt_heads import DecodedPrompt
from activesam_ros.settings import SegmenterSettings
from activesam_ros.stages.fusion import ClassFusion, background_mask, label_pixels, prompt_scores
from activesam_ros.vocabulary import Vocabulary

CPU = torch.device("cpu")


def fuse(planes, classes, size) -> ClassFusion:
    fusion = ClassFusion(classes, size, CPU)
    for index, plane in planes:
        fusion.add(index, plane)
    return fusion.finish()


def decoded(instances: int, presence: float, seed: int) -> DecodedPrompt:
    generator = torch.Generator().manual_seed(seed)
    return DecodedPrompt(
        presence=torch.tensor(presence),
        instance_scores=torch.rand(instances, generator=generator) * presence,
        instance_logits=torch.randn(instances, 6, 8, generator=generator) * 4,
        semantic_logits=torch.randn(6, 8, generator=generator) * 4,
    )


@pytest.mark.parametrize("instances", [0, 1, 5])
@pytest.mark.parametrize("size", [(6, 8), (24, 20), (1, 1), (3, 50)])
def test_prompt_scores_equal_the_formula(instances, size):
    query = decoded(instances, 0.7, seed=instances)
    logits = torch.cat([query.instance_logits, query.semantic_logits[None]])
    masks = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0].sigmoid()
    weights = torch.cat([query.instance_scores, torch.ones(1)])
    expected = (masks * weights[:, None, None]).amax(0) * 0.7
    torch.testing.assert_close(prompt_scores(query, size), expected)


@pytest.mark.parametrize("owners", [[0], [0, 1, 2, 3], [1, 1, 3], [3], [0, 0, 0], [0, 1], [2, 3, 3]])
def test_streamed_winner_equals_the_full_array(owners):
    classes = 4
    generator = torch.Generator().manual_seed(len(owners))
    planes = torch.rand(len(owners), 5, 7, generator=generator).round(decimals=1)
    full = torch.zeros(classes, 5, 7)
    for owner, plane in zip(owners, planes, strict=True):
        full[owner] = torch.maximum(full[owner], plane)
    top = fuse(zip(owners, planes, strict=True), classes, (5, 7))
    best, second = full.sort(dim=0, descending=True).values[:2]
    torch.testing.assert_close(top.best, best)
    torch.testing.assert_close(top.second, second)
    first_winner = (full == best).to(torch.uint8).argmax(0)
    assert torch.equal(top.index.long(), first_winner)


def test_one_class_has_no_runner_up():
    plane = torch.rand(3, 3)
    top = fuse([(0, plane)], 1, (3, 3))
    assert torch.equal(top.best, plane)
    assert torch.count_nonzero(top.second) == 0
    assert torch.count_nonzero(top.index) == 0


@pytest.mark.parametrize(
    ("best", "second", "threshold", "taken"),
    [
        (0.9, 0.0, 0.4, False),
        (0.9, 0.89, 0.4, True),  # 0.9·√0.01 = 0.09 < 0.4^1.25 = 0.318
        (0.5, 0.0, 0.4, False),  # 0.5·√0.5 = 0.354
        (0.45, 0.0, 0.4, True),  # 0.45·√0.45 = 0.302
        (0.0, 0.0, 0.1, True),
        (0.0, 0.0, 0.0, False),
    ],
)
def test_hand_computed_pixels(best, second, threshold, taken):
    mask = background_mask(torch.tensor([[best]]), torch.tensor([[second]]), threshold, 1.25)
    assert mask.shape == (1, 1)
    assert mask.item() is taken


def top():
    """The middle pixel's winner is close to the runner-up."""
    return fuse([(0, torch.tensor([[0.9, 0.5, 0.1]])), (1, torch.tensor([[0.1, 0.4999, 0.8]]))], 2, (1, 3))


def test_ids_of_the_vocabulary():
    words = Vocabulary.from_names(["a", "b"]).updated(["c", "b"])
    labels, confidence = label_pixels(top(), words, SegmenterSettings())
    assert labels.dtype == np.uint8 and labels.tolist() == [[2, 2, 1]]
    assert confidence.dtype == np.float32
    np.testing.assert_allclose(confidence, [[0.9, 0.5, 0.8]])


def test_what_the_calibration_takes():
    for background, taken in ((None, 255), ("b", 1)):
        words = Vocabulary.from_names(["a", "b"], background=background)
        labels, confidence = label_pixels(top(), words, SegmenterSettings(background_threshold=0.3))
        assert labels.tolist() == [[0, taken, 1]]
        np.testing.assert_allclose(confidence, [[0.9, 0, 0.8]])


def test_large_ids_need_16_bits():
    words = Vocabulary.from_names([f"word {index}" for index in range(300)])
    labels, _ = label_pixels(top(), words, SegmenterSettings(background_threshold=0.3))
    assert labels.dtype == np.uint16 and labels.tolist() == [[0, 65535, 1]]
