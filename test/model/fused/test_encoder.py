"""The encoder against transformers' own."""

import pytest
import torch

from activesam_ros.model.fused import attention
from activesam_ros.model.fused.detr import FusedEncoder


@pytest.mark.parametrize("room", [1, attention.SLICE_BYTES])
@pytest.mark.parametrize("grid", [(6, 6), (4, 7)])
def test_features_as_each_prompt_changes_them(network, noise, prompts, monkeypatch, room, grid):
    monkeypatch.setattr(attention, "SLICE_BYTES", room)
    tokens, valid = prompts
    width = tokens.shape[2]
    coarse, position = noise(1, width, *grid), noise(1, width, *grid)
    expected = network.detr_encoder(
        vision_features=[coarse.expand(3, -1, -1, -1)],
        text_features=tokens,
        vision_pos_embeds=[position.expand(3, -1, -1, -1)],
        text_mask=valid,
    ).last_hidden_state
    encoder = FusedEncoder(network.detr_encoder)
    start = encoder.start(coarse, position)
    before = start.hidden.clone()
    with torch.inference_mode():
        found = encoder.encode(start, tokens, valid)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    # It serves the next bucket, too.
    assert torch.equal(start.hidden, before)
    assert (found[0] - found[1]).abs().max() > 0.1
