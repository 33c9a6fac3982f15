"""Fusion, calibration and labels against the plain arrays and formulas."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from activesam_ros.model.prompt_heads import DecodedPrompt
from activesam_ros.settings import SegmenterSettings
from activesam_ros.stages import fusion as fusion_module
from activesam_ros.stages.fusion import ClassFusion, TopClasses, _Resize, background_mask, label_pixels
from activesam_ros.vocabulary import Vocabulary

CPU = torch.device("cpu")


def fuse(planes, size) -> TopClasses:
    fusion = ClassFusion(size, CPU)
    for index, plane in planes:
        fusion.add_scores(index, plane)
    return fusion.finish()


def decoded(instances: int, presence: float, seed: int, cells=(6, 8)) -> DecodedPrompt:
    generator = torch.Generator().manual_seed(seed)
    return DecodedPrompt(
        presence=torch.tensor(presence),
        instance_scores=torch.rand(instances, generator=generator) * presence,
        instance_logits=torch.randn(instances, *cells, generator=generator) * 4,
        semantic_logits=torch.randn(cells, generator=generator) * 4,
    )


def written_out(prompt: DecodedPrompt, size) -> torch.Tensor:
    """The score of every pixel by the formula."""
    logits = torch.cat([prompt.instance_logits, prompt.semantic_logits[None]])
    masks = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0].sigmoid()
    weights = torch.cat([prompt.instance_scores, torch.ones(1)])
    return (masks * weights[:, None, None]).amax(0) * prompt.presence


@pytest.mark.parametrize("instances", [0, 1, 5])
@pytest.mark.parametrize("size", [(6, 8), (24, 20), (1, 1), (3, 50)])
def test_prompt_scores_equal_the_formula(instances, size):
    prompt = decoded(instances, 0.7, seed=instances)
    fusion = ClassFusion(size, CPU)
    fusion.add(0, prompt)
    torch.testing.assert_close(fusion.finish().best, written_out(prompt, size), rtol=0, atol=3e-7)


def objects(seed: int, count: int = 4) -> DecodedPrompt:
    """Small objects in front of nothing, which most tiles can leave out."""
    prompt = decoded(count, 0.9, seed, cells=(36, 40))
    for index, logits in enumerate([*prompt.instance_logits, prompt.semantic_logits]):
        logits -= 12
        row, column = (seed * 7 + index * 5) % 30, (seed * 11 + index * 9) % 33
        logits[row : row + 6, column : column + 7] += 16
    return prompt


@pytest.mark.parametrize("size", [(240, 320), (300, 333), (37, 50)])
@pytest.mark.parametrize("whole", [False, True], ids=["bands", "whole"])
def test_what_is_left_out_changes_nothing(size, whole, monkeypatch):
    owners = [1, 1, 2, 4, 5, 5, 7]
    prompts = [decoded(6, 0.3, 100, (36, 40)), *(objects(seed) for seed in range(6))]
    planes = torch.zeros(9, *size)
    for owner, prompt in zip(owners, prompts, strict=True):
        planes[owner] = torch.maximum(planes[owner], written_out(prompt, size))
    best, second = planes.sort(dim=0, descending=True).values[:2]
    # A small image is fused as a whole, as any is on a GPU.
    monkeypatch.setattr(fusion_module, "_SMALL_PIXELS", size[0] * size[1] if whole else 0)
    monkeypatch.setattr(fusion_module, "_BATCH_PIXELS", 4 * size[0] * size[1])
    for with_second in (False, True):
        fusion = ClassFusion(size, CPU, second=with_second)
        for owner, prompt in zip(owners, prompts, strict=True):
            fusion.add(owner, prompt)
        top = fusion.finish()
        torch.testing.assert_close(top.best, best, rtol=0, atol=3e-7)
        torch.testing.assert_close(top.second, second * with_second, rtol=0, atol=3e-7)
        differing = top.index != planes.argmax(0)
        assert not differing.any() or (best - second)[differing].max() < 1e-6


def test_most_of_the_image_is_left_out(monkeypatch):
    """Pixels that are resized, of six prompts with five maps each."""
    resized = []
    call = _Resize.__call__

    def counted(self, maps, rows, columns):
        resized.append(len(maps) * (rows.stop - rows.start) * (columns.stop - columns.start))
        return call(self, maps, rows, columns)

    monkeypatch.setattr(_Resize, "__call__", counted)
    fusion = ClassFusion((1080, 1920), CPU, second=False)
    for owner, prompt in enumerate([decoded(2, 1.0, 0, (36, 40)), *(objects(seed) for seed in range(6))]):
        fusion.add(owner, prompt)
    assert sum(resized) < 0.35 * (3 + 6 * 5) * 1080 * 1920


@pytest.mark.parametrize("where", ["instance_logits", "semantic_logits", "instance_scores", "presence"])
@pytest.mark.parametrize("small", [0, 2**17], ids=["bands", "whole"])
def test_what_is_not_a_number_is_found(where, small, monkeypatch):
    monkeypatch.setattr(fusion_module, "_SMALL_PIXELS", small)
    prompt = objects(3)
    getattr(prompt, where).view(-1)[-1] = math.nan
    fusion = ClassFusion((240, 320), CPU, second=False)
    fusion.add(0, decoded(1, 1.0, 0, (36, 40)))
    fusion.add(1, prompt)
    assert fusion.finish().best.isnan().any()


@pytest.mark.parametrize("owners", [[0], [0, 1, 2, 3], [1, 1, 3], [3], [0, 0, 0], [0, 1], [2, 3, 3]])
def test_streamed_winner_equals_the_full_array(owners):
    classes = 4
    generator = torch.Generator().manual_seed(len(owners))
    planes = torch.rand(len(owners), 5, 7, generator=generator).round(decimals=1)
    full = torch.zeros(classes, 5, 7)
    for owner, plane in zip(owners, planes, strict=True):
        full[owner] = torch.maximum(full[owner], plane)
    top = fuse(zip(owners, planes, strict=True), (5, 7))
    best, second = full.sort(dim=0, descending=True).values[:2]
    torch.testing.assert_close(top.best, best)
    torch.testing.assert_close(top.second, second)
    first_winner = (full == best).to(torch.uint8).argmax(0)
    assert torch.equal(top.index.long(), first_winner)


def test_one_class_has_no_runner_up():
    plane = torch.rand(3, 3)
    top = fuse([(0, plane)], (3, 3))
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
    return fuse([(0, torch.tensor([[0.9, 0.5, 0.1]])), (1, torch.tensor([[0.1, 0.4999, 0.8]]))], (1, 3))


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
