"""Two resolutions over one set of weights."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as tv
from transformers import Sam3Model

from activesam_ros.model.fused import cpu
from activesam_ros.model.vision_encoder import VisionEncoder, at_resolution


def test_views_share_every_weight_and_leave_the_model_alone(toytown_checkpoint):
    encoder = toytown_checkpoint.model.vision_encoder
    before = [layer.position_ids.clone() for layer in encoder.backbone.layers]
    view = at_resolution(encoder, 128)
    originals = dict(encoder.named_parameters())
    assert all(parameter is originals[name] for name, parameter in view.named_parameters())
    after = [layer.position_ids for layer in encoder.backbone.layers]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_view_equals_a_model_built_for_that_size(toytown_checkpoint, toytown_whole):
    from transformers import Sam3Config

    config = Sam3Config.from_dict(toytown_checkpoint.model.config.to_dict())
    config.vision_config.backbone_config.image_size = 128
    native = Sam3Model(config).eval()
    native.load_state_dict(toytown_whole.state_dict())
    pixels = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        expected = native.vision_encoder(pixels).fpn_hidden_states
        levels = VisionEncoder(toytown_checkpoint, 128).encode(pixels).levels
    for one, other in zip(levels, expected[:-1], strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("size", [(240, 320), (1, 1), (7, 1000)])
def test_preparation_is_an_antialiased_uint8_resize(toytown_checkpoint, size):
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    pixels = VisionEncoder(toytown_checkpoint, 128).prepare(rgb)
    resized = tv.resize(torch.from_numpy(rgb).permute(2, 0, 1)[None], [128, 128], antialias=True)
    assert resized.dtype is torch.uint8
    torch.testing.assert_close(pixels, resized.float() / 127.5 - 1)


def test_flipped_views_of_an_array_are_taken(toytown_checkpoint):
    rgb = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    encoder = VisionEncoder(toytown_checkpoint, 128)
    torch.testing.assert_close(
        encoder.prepare(rgb[::-1, :, ::-1]), encoder.prepare(rgb[::-1, :, ::-1].copy())
    )


def test_read_only_arrays_are_taken(toytown_checkpoint, recwarn):
    rgb = np.zeros((30, 40, 3), np.uint8)
    rgb.flags.writeable = False
    VisionEncoder(toytown_checkpoint, 128).prepare(rgb)
    assert not recwarn.list


def test_the_class_token_depends_on_the_image(toytown_checkpoint):
    encoder = VisionEncoder(toytown_checkpoint, 128)
    with torch.inference_mode():
        one = encoder.encode(torch.zeros(1, 3, 128, 128))
        other = encoder.encode(torch.ones(1, 3, 128, 128))
    assert one.class_token.shape == (1, 1, one.levels[-1].shape[1])
    assert one.position.dtype is torch.float32
    assert not torch.allclose(one.class_token, other.class_token)


def test_a_batch_splits_into_its_images(toytown_checkpoint):
    encoder = VisionEncoder(toytown_checkpoint, 128)
    generator = np.random.default_rng(0)
    images = [
        generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((30, 40), (9, 70), (128, 128))
    ]
    with torch.inference_mode():
        pixels = encoder.prepare_all(images)
        assert pixels.shape == (3, 3, 128, 128)
        found = encoder.encode(pixels).split()
        expected = [encoder.encode(encoder.prepare(rgb)) for rgb in images]
    assert len(found) == 3
    for one, other in zip(found, expected, strict=True):
        for level, alone in zip(one.levels, other.levels, strict=True):
            torch.testing.assert_close(level, alone, atol=1e-4, rtol=1e-4)
        assert torch.equal(one.position, other.position)
        torch.testing.assert_close(one.class_token, other.class_token, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("resolution", "levels", "onednn"),
    [(128, "masks", True), (128, "coarse", True), (120, "coarse", True), (128, "coarse", False)],
    ids=["masks", "coarse", "padded windows", "without oneDNN"],
)
def test_only_the_maps_that_are_used(toytown_checkpoint, noise, monkeypatch, resolution, levels, onednn):
    if not onednn:
        monkeypatch.setattr(cpu, "_LINEAR", None)
    pixels = noise(2, 3, resolution, resolution)
    with torch.inference_mode():
        whole = VisionEncoder(toytown_checkpoint, resolution).encode(pixels)
        found = VisionEncoder(toytown_checkpoint, resolution, levels).encode(pixels)
    expected = whole.levels if levels == "masks" else whole.levels[-1:]
    assert len(found.levels) == len(expected)
    for one, other in zip(found.levels, expected, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=0)
    torch.testing.assert_close(found.class_token, whole.class_token, atol=2e-5, rtol=0)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_in_steps(noise, masked):
    # Two steps of queries, the second shorter, and keys and values that are views.
    query, tokens = noise(2, 3, 300, 8), noise(2, 2048, 3, 8).transpose(1, 2)
    mask = noise(2, 1, 300, 2048) if masked else None
    expected = F.scaled_dot_product_attention(query, tokens, -tokens, attn_mask=mask, scale=0.3)
    found = cpu.attention(query, tokens, -tokens, mask, 0.3)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_activated(noise, activation):
    layer, tokens = torch.nn.Linear(32, 48), noise(2, 5, 32)
    with torch.inference_mode():
        expected = getattr(F, activation)(layer(tokens))
        found = cpu.activated(layer, getattr(F, activation), activation, tokens)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
