"""Parts of the fused path against transformers' own modules."""

import copy

import pytest
import torch
from torch.nn import functional as F

from activesam_ros.model.fused import attention, heads
from activesam_ros.model.fused.attention import attend, attend_to_tokens, attend_with_one, project, slices
from activesam_ros.model.fused.detr import FusedDecoder, FusedEncoder
from activesam_ros.model.fused.heads import FusedMaskHead, folded

CLOSE = {"atol": 2e-5, "rtol": 2e-5}


@pytest.fixture
def cross(network):
    return network.detr_decoder.layers[0].vision_cross_attn


def test_attention_in_steps(cross, noise):
    width = cross.hidden_size
    query, key, value = noise(2, 5, width), noise(2, 7, width), noise(2, 7, width)
    bias = noise(2, cross.num_attention_heads, 5, 7)
    expected, _ = cross(query, key, value, attention_mask=bias)
    found = attend(
        cross,
        project(cross, cross.q_proj, query),
        project(cross, cross.k_proj, key),
        project(cross, cross.v_proj, value),
        bias,
    )
    torch.testing.assert_close(found, expected, **CLOSE)


def test_attention_to_the_valid_tokens_of_a_prompt(cross, noise, prompts):
    tokens, valid = prompts
    query = noise(3, 5, cross.hidden_size)
    found = attend_to_tokens(cross, project(cross, cross.q_proj, query), tokens, valid)
    for one in range(3):
        some = tokens[one : one + 1, valid[one]]
        expected, _ = cross(query[one : one + 1], some, some)
        torch.testing.assert_close(found[one : one + 1], expected, **CLOSE)


def test_attention_of_a_single_query(cross, noise):
    width = cross.hidden_size
    query, tokens, position = noise(3, 1, width), noise(3, 20, width), noise(1, 20, width)
    expected, _ = cross(query, tokens + position, tokens)
    torch.testing.assert_close(attend_with_one(cross, query, tokens, position), expected, **CLOSE)


def test_attention_of_a_single_query_rounds_nothing(cross, noise):
    """Large scores in half precision: as exact as the inputs are."""
    width = cross.hidden_size
    query, tokens, position = 6 * noise(3, 1, width), noise(3, 200, width).bfloat16(), noise(1, 200, width)
    exact = attend_with_one(cross, query, tokens.float(), position)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attend_with_one(cross, query, tokens, position)
    # Only the projection of the output is in half precision.
    assert (found.float() - exact).norm() < 0.006 * exact.norm()


@pytest.mark.parametrize(
    ("count", "each", "sizes"), [(5, 1, [5]), (5, 60, [1] * 5), (7, 30, [2, 3, 2]), (2, 999, [1, 1])]
)
def test_slices_are_equal_and_fit(count, each, sizes):
    parts = slices(count, each, 100)
    numbers = list(range(count))
    assert [number for part in parts for number in numbers[part]] == numbers
    assert sorted(len(numbers[part]) for part in parts) == sorted(sizes)


@pytest.mark.parametrize("room", [1, attention.SLICE_BYTES])
@pytest.mark.parametrize("grid", [(6, 6), (4, 7)])
def test_the_encoder(network, noise, prompts, monkeypatch, room, grid):
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


@pytest.fixture(params=[(6, 6), (4, 7)])
def decoder_case(request, network, noise, prompts):
    """The grid, the arguments of the fused decoder after its start, and the output of the reference."""
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
def test_the_decoder(network, decoder_case, monkeypatch, room):
    monkeypatch.setattr(attention, "SLICE_BYTES", room)
    grid, given, expected = decoder_case
    decoder = FusedDecoder(network.detr_decoder)
    queries, presence, boxes = decoder.decode(decoder.start(grid), *given)
    torch.testing.assert_close(queries, expected.intermediate_hidden_states[-1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(presence, expected.presence_logits[-1, :, 0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(boxes, expected.reference_boxes[-1], atol=1e-5, rtol=1e-4)
    assert presence.std() > 0.01


def test_the_decoder_for_presence_alone(network, decoder_case):
    grid, given, expected = decoder_case
    decoder = FusedDecoder(network.detr_decoder)
    presence = decoder.presence(decoder.start(grid), *given)
    torch.testing.assert_close(presence, expected.presence_logits[-1, :, 0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_a_doubled_map_needs_no_doubling(noise, size):
    weight, small = noise(4, 3, 3, 3), noise(2, 3, *size)
    expected = F.conv2d(F.interpolate(small, scale_factor=2, mode="nearest"), weight, padding=1)
    found = F.conv_transpose2d(small, folded(weight), stride=2, padding=1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def mask_decoder(network):
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


@pytest.mark.parametrize("room", [1, heads.CHANNEL_BYTES])
@pytest.mark.parametrize("kept", [0, 1, 5])
def test_the_mask_head(mask_decoder, noise, prompts, monkeypatch, kept, room):
    monkeypatch.setattr(heads, "CHANNEL_BYTES", room)
    tokens, valid = prompts
    width, grid = tokens.shape[2], (4, 6)
    levels = [noise(1, width, grid[0] * scale, grid[1] * scale) for scale in (4, 2, 1)]
    encoded, queries = noise(3, grid[0] * grid[1], width), noise(3, kept, width)
    expected = mask_decoder(
        decoder_queries=queries,
        backbone_features=[level.expand(3, -1, -1, -1) for level in levels],
        encoder_hidden_states=encoded,
        prompt_features=tokens,
        prompt_mask=valid,
    )
    head = FusedMaskHead(mask_decoder)
    pixels = head.pixels(head.prepare(levels), encoded, grid, tokens, valid)
    for one in range(3):
        weights, constants = head.weights(queries[one])
        logits = head.masks(pixels[one, None], weights, constants, [kept + 1])
        torch.testing.assert_close(logits[:-1], expected.pred_masks[one], atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(logits[-1], expected.semantic_seg[one, 0], atol=1e-4, rtol=1e-4)
    twice = head.masks(pixels[[0, 2]], weights.repeat(2, 1), constants.repeat(2), [kept + 1, kept + 1])
    torch.testing.assert_close(twice[kept + 1 :], logits)


def test_maps_that_do_not_double_are_refused(network, noise):
    width = network.config.detr_encoder_config.hidden_size
    with pytest.raises(ValueError, match="expected doubles"):
        FusedMaskHead(network.mask_decoder).prepare([noise(1, width, 9, 8), noise(1, width, 4, 4)])
