"""Prompts go to the model in buckets."""

import numpy as np
import pytest
import torch

from activesam_ros.model.prompt_heads import DecodedPrompts
from activesam_ros.prompts.prompt_set import ContextTokens, PromptSet
from activesam_ros.prompts.text_encoder import EncodingReport
from activesam_ros.results import EMPTY_SCHEDULE
from activesam_ros.settings import SegmenterSettings
from activesam_ros.stages.decoding import EncodedImage, decode_prompts
from activesam_ros.stages.preview import score_presence
from activesam_ros.stages.temporal_reuse import FramePlan
from activesam_ros.stages.timing import StageTimer
from activesam_ros.vocabulary import Vocabulary

WORDS = Vocabulary.from_names(["road", "car, automobile", "sky", "tree"])
PROMPTS = len(WORDS.prompts)


@pytest.fixture
def prompts():
    """Each token feature is the index of its prompt."""
    numbers = torch.arange(PROMPTS, dtype=torch.float32).view(-1, 1, 1)
    context = ContextTokens(numbers.expand(-1, 2, 3), torch.ones(PROMPTS, 2, dtype=torch.bool))
    text = numbers.expand(-1, 4, 3)
    valid = torch.ones(PROMPTS, 4, dtype=torch.bool)
    return PromptSet(WORDS, WORDS.prompts, text, valid, context, 1, 1, EncodingReport(0, 0, 0.0))


class Heads:
    """Gives each prompt a tenth of its index, and remembers the buckets."""

    def __init__(self):
        self.buckets = []

    def presence(self, image, tokens):
        assert tokens.tokens.shape[1] == tokens.valid.shape[1] == 4
        self.buckets.append(tokens.tokens[:, 0, 0].int().tolist())
        return tokens.tokens[:, 0, 0] / 10

    def decode(self, image, buckets, threshold, boxes):
        for tokens in buckets:
            assert tokens.tokens.shape[1] == tokens.valid.shape[1] == 4 + 2
            numbers = tokens.tokens[:, 0, 0]
            assert torch.equal(numbers, tokens.tokens[:, -1, 0])
            self.buckets.append(numbers.int().tolist())
            counts = tuple(numbers.int().tolist())
            masks = sum(counts) + len(counts)
            yield DecodedPrompts(
                numbers / 10,
                tuple((numbers / 10).tolist()),
                counts,
                torch.zeros(masks),
                torch.zeros(masks, 2, 2),
            )


@pytest.mark.parametrize(
    ("size", "buckets"), [(2, [[0], [1, 2], [3, 4]]), (4, [[0, 1], [2, 3, 4]]), (9, [[0, 1, 2, 3, 4]])]
)
def test_presence_of_every_prompt(prompts, size, buckets):
    heads = Heads()
    presence = score_presence(heads, None, prompts, range(PROMPTS), size)
    torch.testing.assert_close(presence, torch.arange(5) / 10)
    assert heads.buckets == buckets


@pytest.mark.parametrize(("size", "buckets"), [(1, [[1], [2], [4]]), (2, [[1], [2, 4]]), (3, [[1, 2, 4]])])
def test_the_active_prompts_are_decoded_with_their_context(prompts, size, buckets):
    heads = Heads()
    plan = FramePlan(EMPTY_SCHEDULE, WORDS.prompts, SegmenterSettings())
    timer = StageTimer(torch.device("cpu"))
    encoded = EncodedImage(
        None, np.zeros((6, 5, 3), np.uint8), prompts, plan, None, (1, 2, 4), (1, 2, 4), timer
    )
    decoded = list(decode_prompts(heads, encoded, size, 0.3, timer))
    assert encoded.size == (6, 5)
    assert [list(indices) for indices, _ in decoded] == buckets
    prompts = [prompt for _, some in decoded for prompt in some.split()]
    assert [float(prompt.presence) for prompt in prompts] == pytest.approx([0.1, 0.2, 0.4])
    assert [len(prompt.instance_scores) for prompt in prompts] == [1, 2, 4]
    assert heads.buckets == buckets
    assert set(timer.seconds()) == {"decode", "total"}
