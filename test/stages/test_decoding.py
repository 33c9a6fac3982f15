"""Prompts go to the model in buckets."""

import numpy as np
import pytest
import torch

from activesam_ros.model.prompt_heads import DecodedPrompt
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

    def decode(self, image, tokens, threshold, boxes):
        assert tokens.tokens.shape[1] == tokens.valid.shape[1] == 4 + 2
        self.buckets.append(tokens.tokens[:, 0, 0].int().tolist())
        for number in tokens.tokens[:, -1, 0]:
            sure = torch.full((2, 2), 100.0)
            kept = int(number)
            yield DecodedPrompt(number / 10, torch.zeros(kept), torch.zeros(kept, 2, 2), sure)


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
    encoded = EncodedImage(None, np.zeros((6, 5, 3), np.uint8), prompts, plan, None, (1, 2, 4), (1, 2, 4), {})
    timer = StageTimer(torch.device("cpu"))
    decoded = list(decode_prompts(heads, encoded, size, 0.3, timer))
    assert encoded.size == (6, 5)
    assert [index for index, _ in decoded] == [1, 2, 4]
    assert [float(prompt.presence) for _, prompt in decoded] == pytest.approx([0.1, 0.2, 0.4])
    assert [len(prompt.instance_scores) for _, prompt in decoded] == [1, 2, 4]
    assert heads.buckets == buckets
    assert set(timer.seconds()) == {"decode", "total"}
