"""Counted work of the lean path: the real size on paper, and a small model that really runs."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from activesam_ros.model.flops import FusedModelFlops, Workload, counted
from activesam_ros.model.fused.heads import FusedPromptHeads
from activesam_ros.model.prompt_heads import PromptTokens
from activesam_ros.model.vision_encoder import VisionEncoder

TERA = 1e12


@pytest.fixture(scope="module")
def published():
    from transformers import Sam3Config

    return FusedModelFlops(Sam3Config())


def test_a_vocabulary_of_150_classes(published):
    """Prompts of 10 tokens are padded to 16 here."""
    active = published.frame(Workload(1008, 672, 150, 10, ((10, 20),) * 30))
    assert active.total / TERA == pytest.approx(28.44, abs=0.01)
    # About eleven classes in view, and five others asked at full resolution in each frame.
    video = published.frame(Workload(1008, 672, 0, 10, ((10, 20),) * 11, presence_only=5))
    assert video.total / TERA == pytest.approx(10.29, abs=0.01)
    assert video.preview == 5 * published.presence(1008, 10)


def test_lines_are_exact(published):
    """Any number of tokens and masks, counted itself, lies on the line through the first ones."""
    for tokens, kept in ((8, 0), (40, 200)):
        assert published.masks(1008, tokens, kept) == published._count_masks(1008, tokens, kept)
        assert published.encoder(672, tokens) == published._count_encoder(672, tokens)
        assert published.decoder(672, tokens) == published._count_decoder(672, tokens)
        assert published.presence_decoder(672, tokens) == published._count_decoder(672, tokens, True)
    assert published.encoder(672, 9) == published.encoder(672, 16) > published.encoder(672, 8)


@pytest.mark.parametrize("resolution", [128, 192])
def test_the_parts_of_a_model_that_runs(toytown_checkpoint, resolution):
    """Fused attention is not counted on a CPU, so it is taken apart."""
    work = FusedModelFlops(toytown_checkpoint.config)
    encoders = {
        masks: VisionEncoder(toytown_checkpoint, resolution, "masks" if masks else "coarse")
        for masks in (True, False)
    }
    heads = FusedPromptHeads(toytown_checkpoint)
    size = toytown_checkpoint.config.detr_encoder_config.hidden_size
    prompts = PromptTokens(torch.zeros(3, 6, size), torch.ones(3, 6, dtype=torch.bool))
    prompts.valid[:, 4:] = False
    pixels = torch.randn(1, 3, resolution, resolution)
    shared, instances = {}, []

    def encode(masks):
        shared[masks] = heads.prepare(encoders[masks].encode(pixels), masks)

    def decode():
        instances.extend(len(query.instance_scores) for query in heads.decode(shared[True], prompts, 0.0))

    with torch.inference_mode():
        # What the resolution alone needs is worked out once.
        heads.presence(heads.prepare(encoders[False].encode(pixels), False), prompts)
    with sdpa_kernel(SDPBackend.MATH):
        encoded = {masks: counted(lambda masks=masks: encode(masks)) for masks in (True, False)}
        asked = counted(lambda: heads.presence(shared[False], prompts))
        decoded = counted(decode)
    assert encoded == {masks: work.image(resolution, masks) for masks in (True, False)}
    assert encoded[True] > encoded[False]
    # Six tokens and the class token.
    assert asked == 3 * work.presence(resolution, 7)
    assert min(instances) > 0
    assert decoded == sum(work.decoded(resolution, 7, kept) for kept in instances)
