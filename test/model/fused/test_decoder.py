"""The decoder against transformers' own."""

import pytest
import torch

from activesam_ros.model.fused import attention
from activesam_ros.model.fused.detr import FusedDecoder


@pytest.fixture(params=[(6, 6), (4, 7)])
def asked(request, network, noise, prompts):
    """The grid, the arguments of the lean decoder after its start, and what the plain one says."""
    grid = request.param
    tokens, valid = prompts
    places = grid[0] * grid[1]
    encoded, position = noise(3, places, tokens.shape[2]), noise(1, places, tokens.shape[2])
    expected = network.detr_decoder(
        vision_features=encoded,
        text_features=tokens,
        vision_pos_encoding=position.expand(3, -1, -1),
        text_mask=valid,
        spatial_shapes=torch.tensor([grid]),
    )
    return grid, (encoded, position, grid, tokens, valid), expected


@pytest.mark.parametrize("room", [1, attention.SLICE_BYTES])
def test_queries_and_presence(network, asked, monkeypatch, room):
    monkeypatch.setattr(attention, "SLICE_BYTES", room)
    grid, given, expected = asked
    decoder = FusedDecoder(network.detr_decoder)
    queries, presence = decoder.decode(decoder.start(grid), *given)
    torch.testing.assert_close(queries, expected.intermediate_hidden_states[-1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(presence, expected.presence_logits[-1, :, 0], atol=1e-4, rtol=1e-4)
    assert presence.std() > 0.01


def test_presence_alone(network, asked):
    grid, given, expected = asked
    decoder = FusedDecoder(network.detr_decoder)
    presence = decoder.presence(decoder.start(grid), *given)
    torch.testing.assert_close(presence, expected.presence_logits[-1, :, 0], atol=1e-4, rtol=1e-4)
