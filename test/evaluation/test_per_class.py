"""SAM 3 asked class by class."""

import numpy as np
import pytest
import torch

from activesam_ros.errors import ImageError, ModelError, VocabularyError
from activesam_ros.evaluation.methods import PerClassSegmenter, paint_instances
from activesam_ros.model.prompt_heads import DecodedPrompt, PromptHeads, PromptTokens
from activesam_ros.model.vision_encoder import VisionEncoder
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.segmenter import ActiveSegmenter, SegmenterSettings
from activesam_ros.vocabulary import Vocabulary

WORDS = ["road", "car, automobile", "sky", "building", "zebra"]
THRESHOLD = 0.1


@pytest.fixture
def active(toytown_checkpoint):
    """Makes a segmenter over the demo model; a low threshold, so that it paints instances."""

    def make(background=None, **settings):
        segmenter = ActiveSegmenter(
            toytown_checkpoint,
            SegmenterSettings(confidence_threshold=THRESHOLD, **settings),
            TableHypernyms.shipped(),
            prompt_cache=None,
        )
        segmenter.set_vocabulary(Vocabulary.from_names(WORDS, background=background))
        return segmenter

    return make


def painted_by_hand(checkpoint, prompts, rgb):
    """Best instance score of every class, float32 [classes, H, W]: all at once, and thresholded as probabilities."""
    vision = VisionEncoder(checkpoint, 192)
    heads = PromptHeads(checkpoint)
    planes = torch.zeros(len(prompts.vocabulary), *rgb.shape[:2])
    with torch.inference_mode():
        image = vision.encode(vision.prepare(rgb))
        answers = heads.decode(image, PromptTokens(prompts.text, prompts.text_valid), THRESHOLD)
        for owner, answer in zip(prompts.vocabulary.prompt_classes, answers, strict=True):
            for score, mask in zip(answer.instance_scores, answer.instance_logits, strict=True):
                resized = torch.nn.functional.interpolate(
                    mask[None, None], rgb.shape[:2], mode="bilinear", align_corners=False
                )[0, 0]
                covered = torch.sigmoid(resized) > 0.5
                planes[owner][covered] = planes[owner][covered].clamp(min=float(score))
    return planes


@pytest.mark.parametrize("background", [None, "building"])
def test_labels_are_those_of_the_best_instance(active, toytown_checkpoint, street_image, background):
    per_class = PerClassSegmenter(active(background, background_threshold=0.5))
    result = per_class.segment(street_image)
    planes = painted_by_hand(toytown_checkpoint, per_class.prompts, street_image)
    best, expected = planes.max(dim=0)
    expected[best == 0] = 255 if background is None else 3
    assert result.labels.dtype == np.uint8
    assert (result.labels == expected.numpy()).mean() > 0.999
    np.testing.assert_allclose(result.confidence, best.numpy(), atol=1e-4)
    # The picture has both instances and pixels that none covers.
    assert 0.05 < (best == 0).float().mean() < 0.95


def test_what_the_result_says(active, street_image):
    result = PerClassSegmenter(active()).segment(street_image)
    assert result.active_prompts == tuple(range(6)) and len(result.instances) == 6
    assert [entry.name for entry in result.active] == ["road", "car", "sky", "building", "zebra"]
    assert sum(entry.pixels for entry in result.active) == np.count_nonzero(result.labels != 255)
    assert result.preview_presence is None
    assert set(result.timings) == {"prepare", "encode", "decode", "fuse", "total"}


def test_the_image_is_encoded_for_every_prompt(active, street_image, monkeypatch):
    per_class = PerClassSegmenter(active())
    passed = []
    encode = VisionEncoder.encode

    def counted(encoder, pixels):
        passed.append(tuple(pixels.shape))
        return encode(encoder, pixels)

    monkeypatch.setattr(VisionEncoder, "encode", counted)
    per_class.segment(street_image)
    assert passed == [(1, 3, 192, 192)] * 6


def test_nothing_of_activesam_is_left(active):
    given = active(background_threshold=0.4, neighbor_tokens=2)
    per_class = PerClassSegmenter(given)
    assert per_class.prompts.context.tokens.shape[1] == 0
    assert per_class.settings.background_threshold == 0
    assert per_class.settings.confidence_threshold == THRESHOLD
    assert given.prompts.context.tokens.shape[1] == 4


def test_the_best_instance_wins_and_no_instance_is_nothing():
    sure = torch.tensor([[5.0, 5.0, -5.0, -5.0]])
    other = torch.tensor([[-5.0, 5.0, 5.0, -5.0]])
    query = DecodedPrompt(
        torch.tensor(0.9), torch.tensor([0.4, 0.7]), torch.stack([sure, other]), torch.full((1, 4), 9.0)
    )
    torch.testing.assert_close(paint_instances(query, (1, 4)), torch.tensor([[0.4, 0.7, 0.7, 0.0]]))
    empty = DecodedPrompt(torch.tensor(0.9), torch.zeros(0), torch.zeros(0, 1, 4), torch.full((1, 4), 9.0))
    assert paint_instances(empty, (2, 3)).tolist() == [[0.0] * 3] * 2


def test_refusals(active, toytown_checkpoint, street_image):
    with pytest.raises(VocabularyError, match="set_vocabulary"):
        PerClassSegmenter(ActiveSegmenter(toytown_checkpoint, prompt_cache=None))
    per_class = PerClassSegmenter(active(max_pixels=1000))
    with pytest.raises(ImageError, match="at most 1000"):
        per_class.segment(street_image)


def test_numbers_that_are_not_finite(active, street_image, monkeypatch):
    def broken(heads, image, tokens, threshold):
        yield DecodedPrompt(
            torch.tensor(float("nan")), torch.zeros(0), torch.zeros(0, 4, 4), torch.zeros(4, 4)
        )

    monkeypatch.setattr(PromptHeads, "decode", broken)
    with pytest.raises(ModelError, match="not finite"):
        PerClassSegmenter(active()).segment(street_image)
