"""What both paths say of the same prompts; see test/model/test_heads.py for both against the model's forward."""

import pytest
import torch

from activesam_ros.model.fused.heads import TOKEN_STEP, FusedPromptHeads
from activesam_ros.model.prompt_heads import PromptTokens
from activesam_ros.model.vision_encoder import VisionEncoder


@pytest.mark.parametrize("levels", ["masks", "coarse"])
def test_only_the_maps_that_are_used(toytown_checkpoint, noise, levels):
    pixels = noise(2, 3, 128, 128)
    with torch.inference_mode():
        whole = VisionEncoder(toytown_checkpoint, 128).encode(pixels)
        found = VisionEncoder(toytown_checkpoint, 128, levels).encode(pixels)
    expected = whole.levels if levels == "masks" else whole.levels[-1:]
    assert len(found.levels) == len(expected)
    for one, other in zip(found.levels, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.class_token, whole.class_token, atol=1e-6, rtol=0)


def test_prompts_are_padded_to_few_lengths(noise):
    for length in (1, 8, 9):
        prompts = PromptTokens(noise(2, length, 4), torch.ones(2, length, dtype=torch.bool))
        padded = prompts.padded(TOKEN_STEP)
        assert padded.tokens.shape == (2, -(-length // TOKEN_STEP) * TOKEN_STEP, 4)
        assert torch.equal(padded.tokens[padded.valid].view(2, length, 4), prompts.tokens)


def test_a_grid_starts_once(toytown_checkpoint, noise, monkeypatch):
    heads = FusedPromptHeads(toytown_checkpoint)
    started = []
    start = heads._decoder.start
    monkeypatch.setattr(heads._decoder, "start", lambda grid: started.append(grid) or start(grid))
    size = toytown_checkpoint.config.detr_encoder_config.hidden_size
    prompts = PromptTokens(noise(1, 3, size), torch.ones(1, 3, dtype=torch.bool))
    with torch.inference_mode():
        for resolution in (128, 192, 128, 192, 160):
            image = VisionEncoder(toytown_checkpoint, resolution, "coarse").encode(
                noise(1, 3, resolution, resolution)
            )
            heads.presence(heads.prepare(image, masks=False), prompts)
    patch = toytown_checkpoint.patch_size
    assert started == [(side // patch, side // patch) for side in (128, 192, 160)]
    assert len(heads._starts) == 2
