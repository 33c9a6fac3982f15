"""A vocabulary's expanded prompts with the demo model's text side."""

import logging
import math

import pytest
import torch

from activesam_ros.errors import VocabularyError
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.prompts.prompt_set import context_tokens, encode_vocabulary, find_neighbors
from activesam_ros.prompts.text_encoder import TextEncoder
from activesam_ros.vocabulary import Vocabulary

NONE = TableHypernyms({})


@pytest.fixture(scope="module")
def encoder(toytown_checkpoint):
    return TextEncoder(toytown_checkpoint, toytown_checkpoint.model.text_projection, torch.device("cpu"))


def test_text_features_equal_the_models_own(encoder, toytown_checkpoint, toytown_whole):
    phrases = ["road", "traffic light", "pedestrian path"]
    prompts = encode_vocabulary(Vocabulary.from_names(phrases), encoder, NONE, 0, 0)
    batch = toytown_checkpoint.tokenizer(phrases, padding="max_length", max_length=32, return_tensors="pt")
    with torch.inference_mode():
        expected = toytown_whole.get_text_features(**batch).pooler_output
    for query, mask in enumerate(batch["attention_mask"].bool()):
        tokens = prompts.text[query, prompts.text_valid[query]]
        torch.testing.assert_close(tokens, expected[query, mask], atol=1e-5, rtol=1e-5)


def test_pooled_embeddings_are_means_before_the_transformer(encoder, toytown_whole, toytown_checkpoint):
    ids = toytown_checkpoint.tokenizer(["traffic light"], return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        expected = toytown_whole.text_encoder.get_input_embeddings()(ids)[0].mean(0)
    torch.testing.assert_close(encoder.embed(["traffic light"])[0]["traffic light"].pooled, expected)


def test_canonical_phrases_are_encoded(encoder):
    prompts = encode_vocabulary(Vocabulary.from_names(["plaything", "sky"]), encoder, NONE, 2, 2)
    assert prompts.canonical == ("toy", "sky")
    torch.testing.assert_close(
        prompts.text[0],
        encode_vocabulary(Vocabulary.from_names(["toy", "sky"]), encoder, NONE, 2, 2).text[0],
    )


def test_context_layout(encoder):
    lookup = TableHypernyms({"car": ["vehicle", "plaything"], "sky": ["air"]})
    prompts = encode_vocabulary(Vocabulary.from_names(["car", "sky", "road"]), encoder, lookup, 2, 2)
    assert prompts.context.tokens.shape[:2] == (3, 4)
    assert prompts.context.valid.tolist() == [
        [True, True, True, True],
        [True, True, True, False],
        [True, True, False, False],
    ]
    toy = encoder.project(encoder.embed(["toy"])[0]["toy"].pooled)
    torch.testing.assert_close(prompts.context.tokens[0, 3], toy, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("words", [["road"], ["road", "sky"], ["road", "sky", "car"]])
def test_tiny_vocabularies(encoder, words):
    prompts = encode_vocabulary(Vocabulary.from_names(words), encoder, NONE, 2, 2)
    assert prompts.context.valid[:, :2].sum(1).tolist() == [min(2, len(words) - 1)] * len(words)
    assert prompts.context.tokens.isfinite().all()


def test_prompts_beyond_the_context_are_refused(encoder):
    long = " ".join(["road"] * 50)
    with pytest.raises(VocabularyError, match="has 52 tokens; the model reads at most 32"):
        encode_vocabulary(Vocabulary.from_names(["sky", long]), encoder, NONE, 2, 2)


def test_the_log_counts_names_without_hypernyms(encoder, caplog):
    table = TableHypernyms({"car": ["vehicle"]})
    with caplog.at_level(logging.INFO):
        encode_vocabulary(Vocabulary.from_names(["car", "zorble"]), encoder, table, 2, 2)
        encode_vocabulary(Vocabulary.from_names(["car"]), encoder, table, 2, 2)
    said = [message for message in caplog.messages if "hypernym" in message]
    assert said == ["1 of 2 prompts have no hypernym (zorble)"]


def double(pooled: torch.Tensor) -> torch.Tensor:
    return pooled * 2


def test_neighbors_are_the_most_similar_others():
    pooled = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.3], [1.0, 1.0]])
    found = find_neighbors(pooled, 2)
    assert found.index.tolist() == [[2, 3], [3, 2], [0, 3], [2, 0]]
    assert found.valid.all()
    cosine = [3 / math.hypot(3, 0.3), 1 / math.sqrt(2)]
    expected = torch.tensor(cosine).softmax(0)
    torch.testing.assert_close(found.weight[0], expected)


def test_equal_prompts_tie_to_the_lower_index():
    assert find_neighbors(torch.ones(4, 3), 2).index.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]


def test_rows_are_compared_in_parts_with_the_same_outcome(monkeypatch):
    pooled = torch.randn(23, 5, generator=torch.Generator().manual_seed(0))
    whole = find_neighbors(pooled, 2)
    monkeypatch.setattr("activesam_ros.prompts.prompt_set.ROWS", 4)
    parts = find_neighbors(pooled, 2)
    assert torch.equal(parts.index, whole.index)
    torch.testing.assert_close(parts.weight, whole.weight)


@pytest.mark.parametrize("prompts", [1, 2, 3])
def test_tiny_vocabularies_mask_missing_neighbors(prompts):
    pooled = torch.eye(4)[:prompts]
    found = find_neighbors(pooled, 2)
    present = min(2, prompts - 1)
    assert found.valid.sum(1).tolist() == [present] * prompts
    torch.testing.assert_close(found.weight.sum(1), torch.full((prompts,), 1.0 if present else 0.0))
    context = context_tokens(pooled, [()] * prompts, 2, 0, double)
    assert context.tokens.isfinite().all()
    assert context.tokens[~context.valid].count_nonzero() == 0


def test_context_is_the_weighted_projection():
    pooled = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    found = find_neighbors(pooled, 1)
    context = context_tokens(pooled, [()] * 3, 1, 0, double)
    torch.testing.assert_close(context.tokens[:, 0], 2 * pooled[found.index[:, 0]])


def test_hypernyms_fill_their_slots_in_order():
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    context = context_tokens(torch.ones(3, 2), [(a, b), (), (b,)], 0, 2, double)
    assert context.valid.tolist() == [[True, True], [False, False], [True, False]]
    assert context.tokens[0].tolist() == [[2, 4], [6, 8]]
    assert context.tokens[2, 0].tolist() == [6, 8]


def test_no_context_at_all():
    assert context_tokens(torch.rand(3, 4), [()] * 3, 0, 0, double).tokens.shape == (3, 0, 4)
