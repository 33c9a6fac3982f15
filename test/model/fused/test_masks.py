"""The mask head against transformers' own."""

import copy

import pytest
import torch
from torch.nn import functional as F

from activesam_ros.model.fused.heads import FusedMaskHead, folded


@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_a_doubled_map_needs_no_doubling(noise, size):
    weight, small = noise(4, 3, 3, 3), noise(2, 3, *size)
    expected = F.conv2d(F.interpolate(small, scale_factor=2, mode="nearest"), weight, padding=1)
    found = F.conv_transpose2d(small, folded(weight), stride=2, padding=1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def decoder(network):
    """A mask head of two stages, as SAM 3 has it; that of the demo model has one."""
    from transformers.models.sam3.modeling_sam3 import Sam3MaskDecoder

    config = copy.deepcopy(network.config.mask_decoder_config)
    config.num_upsampling_stages = 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        decoder = Sam3MaskDecoder(config).eval().requires_grad_(False)
        for parameter in decoder.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return decoder


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_masks_of_instances_and_class(decoder, noise, prompts, kept):
    tokens, valid = prompts
    width, grid = tokens.shape[2], (4, 6)
    levels = [noise(1, width, grid[0] * scale, grid[1] * scale) for scale in (4, 2, 1)]
    encoded, queries = noise(3, grid[0] * grid[1], width), noise(3, kept, width)
    expected = decoder(
        decoder_queries=queries,
        backbone_features=[level.expand(3, -1, -1, -1) for level in levels],
        encoder_hidden_states=encoded,
        prompt_features=tokens,
        prompt_mask=valid,
    )
    head = FusedMaskHead(decoder)
    pixels = head.pixels(head.prepare(levels), encoded, grid, tokens, valid)
    for one in range(3):
        instances, semantic = head.masks(pixels[one], queries[one])
        torch.testing.assert_close(instances, expected.pred_masks[one], atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(semantic, expected.semantic_seg[one, 0], atol=1e-4, rtol=1e-4)


def test_maps_that_do_not_double_are_refused(network, noise):
    width = network.config.detr_encoder_config.hidden_size
    with pytest.raises(ValueError, match="expected doubles"):
        FusedMaskHead(network.mask_decoder).prepare([noise(1, width, 9, 8), noise(1, width, 4, 4)])
