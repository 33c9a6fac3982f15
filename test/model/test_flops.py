"""Counted work: the real size on paper, and a small model that really runs."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from activesam_ros.model.flops import ModelFlops, Workload, counted
from activesam_ros.model.prompt_heads import PromptHeads, PromptTokens
from activesam_ros.model.vision_encoder import VisionEncoder

TERA = 1e12


@pytest.fixture(scope="module")
def published():
    from transformers import Sam3Config

    return ModelFlops(Sam3Config())


@pytest.fixture(scope="module")
def small(toytown_checkpoint):
    return ModelFlops(toytown_checkpoint.config)


def test_the_published_size(published):
    """In 10¹² operations; prompts of 32 text tokens and the class token, all 200 instances with a mask."""
    assert published.vision(1008) / TERA == pytest.approx(5.61, abs=0.005)
    assert published.vision(672) / TERA == pytest.approx(2.39, abs=0.005)
    assert published.encoder(1008, 33) / TERA == pytest.approx(0.256, abs=0.0005)
    assert published.encoder(672, 33) / TERA == pytest.approx(0.073, abs=0.0005)
    # The published 0.0195 and 0.0114 leave out the box position bias of the decoder's attention.
    assert published.decoder(1008, 33) / TERA == pytest.approx(0.0195 + bias(72), abs=0.0001)
    assert published.decoder(672, 33) / TERA == pytest.approx(0.0114 + bias(48), abs=0.0001)
    assert published.masks(1008, 33, 200) / TERA == pytest.approx(0.143, abs=0.0005)


def bias(grid):
    """6 layers embed 2 distances from 200 queries to each row and each column, with 256 hidden units, for 8 heads."""
    return 6 * 2 * (200 * grid) * 2 * (2 * 256 + 256 * 8) / TERA


def test_a_vocabulary_of_150_classes(published):
    prompt = (33, 200)
    full = published.frame(Workload(1008, 672, 0, 0, (prompt,) * 150)).total / TERA
    active = published.frame(Workload(1008, 672, 150, 33, (prompt,) * 30)).total / TERA
    assert full == pytest.approx(68.4, abs=0.2)
    assert active == pytest.approx(33.3, abs=0.1)
    fewer_masks = published.frame(Workload(1008, 672, 150, 10, ((10, 20),) * 30)).total / TERA
    assert fewer_masks == pytest.approx(33.0, abs=0.05)


def test_lines_are_exact(published):
    """Any number of tokens and masks, counted itself, lies on the line through the first ones."""
    for tokens, kept in ((3, 0), (17, 5), (40, 200)):
        assert published.masks(1008, tokens, kept) == published._count_masks(1008, tokens, kept)
        assert published.encoder(672, tokens) == published._count_encoder(672, tokens)
        assert published.decoder(672, tokens) == published._count_decoder(672, tokens)
        assert published.scoring(tokens) == published._count_scoring(tokens)


def test_each_part_is_counted_once(published, monkeypatch):
    asked = Workload(1008, 672, 150, 9, ((13, 3), (13, 0)), encodings=2)
    expected = published.frame(asked)
    monkeypatch.setattr("activesam_ros.model.flops.counted", None)
    assert published.frame(asked) == expected
    assert expected.total == expected.preview + expected.encode + expected.decode
    assert expected.encode == 2 * (published.vision(1008) + published.class_token(1008))


@pytest.mark.parametrize("resolution", [128, 192])
def test_the_parts_of_a_model_that_runs(toytown_checkpoint, small, resolution):
    """Fused attention is not counted on a CPU, so it is taken apart."""
    vision = VisionEncoder(toytown_checkpoint, resolution)
    heads = PromptHeads(toytown_checkpoint)
    size = toytown_checkpoint.config.detr_encoder_config.hidden_size
    prompts = PromptTokens(torch.zeros(3, 6, size), torch.ones(3, 6, dtype=torch.bool))
    prompts.valid[:, 4:] = False
    pixels = torch.randn(1, 3, resolution, resolution)
    with torch.inference_mode():
        image = vision.encode(pixels)
    instances = []

    def decode():
        instances.extend(len(query.instance_scores) for query in heads.decode(image, prompts, 0.0))

    with sdpa_kernel(SDPBackend.MATH):
        encoded = counted(lambda: vision.encode(pixels))
        asked = counted(lambda: heads.presence(image, prompts))
        decoded = counted(decode)
    assert encoded == small.vision(resolution) + small.class_token(resolution)
    # Six tokens and the class token.
    assert asked == 3 * (small.encoder(resolution, 7) + small.decoder(resolution, 7))
    assert min(instances) > 0
    assert decoded == asked + 3 * small.scoring(7) + sum(
        small.masks(resolution, 7, kept) for kept in instances
    )
