"""The prompt heads of both paths: buckets of prompts against `Sam3Model.forward`, one prompt at a time."""

import pytest
import torch

from activesam_ros.model.fused.heads import TOKEN_STEP, FusedPromptHeads
from activesam_ros.model.prompt_heads import PromptHeads, PromptTokens
from activesam_ros.model.vision_encoder import VisionEncoder

both = pytest.mark.parametrize("kind", [PromptHeads, FusedPromptHeads])

PROMPTS = ["road", "traffic light", "bicycle", "giraffe"]


@pytest.fixture(scope="module")
def asked(toytown_checkpoint, toytown_whole, street_image):
    """The image's features, the prompts of PROMPTS, and what the model's own forward says of each."""
    vision = VisionEncoder(toytown_checkpoint, toytown_checkpoint.image_size)
    pixels = vision.prepare(street_image)
    batch = toytown_checkpoint.tokenizer(PROMPTS, padding="max_length", max_length=32, return_tensors="pt")
    with torch.inference_mode():
        image = vision.encode(pixels)
        text = toytown_whole.get_text_features(**batch).pooler_output
        # One padded box (label -10) makes the forward pass ask its geometry encoder, whose token for it is masked
        # and whose class token is not.
        reference = toytown_whole(
            pixel_values=pixels.expand(len(PROMPTS), -1, -1, -1),
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            input_boxes=torch.full((len(PROMPTS), 1, 4), 0.5),
            input_boxes_labels=torch.full((len(PROMPTS), 1), -10),
        )
    return image, PromptTokens(text, batch["attention_mask"].bool()), reference


@both
def test_presence_equals_the_models_forward(kind, toytown_checkpoint, asked):
    image, prompts, reference = asked
    heads = kind(toytown_checkpoint)
    with torch.inference_mode():
        presence = heads.presence(heads.prepare(image, masks=False), prompts)
    torch.testing.assert_close(presence, reference.presence_logits[:, 0].sigmoid(), atol=1e-5, rtol=1e-4)


@both
@pytest.mark.parametrize("threshold", [0.0, 0.05, 1.0])
def test_decoding_equals_the_models_forward(kind, toytown_checkpoint, asked, threshold):
    image, prompts, reference = asked
    heads = kind(toytown_checkpoint)
    with torch.inference_mode():
        runs = list(heads.decode(heads.prepare(image, masks=True), [prompts], threshold, boxes=True))
    answers = [answer for run in runs for answer in run.split()]
    assert len(answers) == len(PROMPTS)
    for index, answer in enumerate(answers):
        presence = reference.presence_logits[index, 0].sigmoid()
        scores = reference.pred_logits[index].sigmoid() * presence
        kept = scores > threshold
        torch.testing.assert_close(answer.presence, presence, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(answer.instance_scores, scores[kept], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            answer.instance_logits, reference.pred_masks[index, kept], atol=1e-3, rtol=1e-3
        )
        torch.testing.assert_close(
            answer.instance_boxes, reference.pred_boxes[index, kept], atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(
            answer.semantic_logits, reference.semantic_seg[index, 0], atol=1e-3, rtol=1e-3
        )


@both
def test_masked_tokens_do_not_count(kind, toytown_checkpoint, asked):
    image, prompts, _ = asked
    noise = torch.randn(len(PROMPTS), 3, prompts.tokens.shape[2], generator=torch.Generator().manual_seed(0))
    padded = PromptTokens(
        torch.cat([prompts.tokens, noise], dim=1),
        torch.cat([prompts.valid, torch.zeros(len(PROMPTS), 3, dtype=torch.bool)], dim=1),
    )
    heads = kind(toytown_checkpoint)
    with torch.inference_mode():
        image = heads.prepare(image, masks=False)
        torch.testing.assert_close(
            heads.presence(image, padded), heads.presence(image, prompts), atol=1e-5, rtol=1e-4
        )


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
        for resolution in (128, 192, 128, 192, 160, 64, 96, 224):
            image = VisionEncoder(toytown_checkpoint, resolution, "coarse").encode(
                noise(1, 3, resolution, resolution)
            )
            heads.presence(heads.prepare(image, masks=False), prompts)
    patch = toytown_checkpoint.patch_size
    assert started == [(side // patch, side // patch) for side in (128, 192, 160, 64, 96, 224)]
    assert len(heads._starts) == 5
