"""Prompts go to the model in buckets."""

import pytest
import torch

from activesam_ros.model.prompt_heads import DecodedPrompt
from activesam_ros.prompts.prompt_set import ContextTokens, PromptSet
from activesam_ros.prompts.text_encoder import EncodingReport
from activesam_ros.stages.decoding import EncodedImage, ask_presence, decode_planes
from activesam_ros.stages.timing import StageTimer
from activesam_ros.vocabulary import Vocabulary

WORDS = Vocabulary.from_names(["road", "car, automobile", "sky", "tree"])
QUERIES = len(WORDS.prompts)


@pytest.fixture
def prompts():
    """Each token feature is the number of its query."""
    numbers = torch.arange(QUERIES, dtype=torch.float32).view(-1, 1, 1)
    context = ContextTokens(numbers.expand(-1, 2, 3), torch.ones(QUERIES, 2, dtype=torch.bool))
    text = numbers.expand(-1, 4, 3)
    valid = torch.ones(QUERIES, 4, dtype=torch.bool)
    return PromptSet(WORDS, WORDS.prompts, text, valid, context, 1, 1, EncodingReport(0, 0, 0.0))


class Heads:
    """Answers a tenth of the number of each query, and remembers the buckets."""

    def __init__(self):
        self.buckets = []

    def presence(self, image, tokens):
        assert tokens.tokens.shape[1] == tokens.valid.shape[1] == 4
        self.buckets.append(tokens.tokens[:, 0, 0].int().tolist())
        return tokens.tokens[:, 0, 0] / 10

    def decode(self, image, tokens, threshold):
        assert tokens.tokens.shape[1] == tokens.valid.shape[1] == 4 + 2
        self.buckets.append(tokens.tokens[:, 0, 0].int().tolist())
        for number in tokens.tokens[:, -1, 0]:
            sure = torch.full((2, 2), 100.0)
            kept = int(number)
            yield DecodedPrompt(number / 10, torch.zeros(kept), torch.zeros(kept, 2, 2), sure)


@pytest.mark.parametrize(
    ("size", "buckets"), [(2, [[0], [1, 2], [3, 4]]), (4, [[0, 1], [2, 3, 4]]), (9, [[0, 1, 2, 3, 4]])]
)
def test_presence_of_every_query(prompts, size, buckets):
    heads = Heads()
    presence = ask_presence(heads, None, prompts, size)
    torch.testing.assert_close(presence, torch.arange(5) / 10)
    assert heads.buckets == buckets


@pytest.mark.parametrize(("size", "buckets"), [(1, [[1], [2], [4]]), (2, [[1], [2, 4]]), (3, [[1, 2, 4]])])
def test_planes_of_the_active_queries(prompts, size, buckets):
    heads = Heads()
    encoded = EncodedImage(None, (6, 5), prompts, None, (1, 2, 4), {})
    presence, instances = {}, {}
    clock = StageTimer(torch.device("cpu"))
    planes = list(decode_planes(heads, encoded, size, 0.3, presence, clock, instances))
    assert [owner for owner, _ in planes] == [1, 1, 3]
    for (_, plane), expected in zip(planes, (0.1, 0.2, 0.4), strict=True):
        torch.testing.assert_close(plane, torch.full((6, 5), expected))
    assert presence == pytest.approx({1: 0.1, 2: 0.2, 4: 0.4})
    assert list(presence) == [1, 2, 4]
    assert instances == {1: 1, 2: 2, 4: 4}
    assert heads.buckets == buckets
    assert set(clock.seconds()) == {"decode", "total"}
