"""A vocabulary's expanded prompts with the demo model's text side."""

import logging

import pytest
import torch

from activesam_ros.errors import VocabularyError
from activesam_ros.prompts.cache import PromptCache
from activesam_ros.prompts.embedder import PhraseEmbedder
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.prompts.prompt_set import encode_vocabulary
from activesam_ros.vocabulary import Vocabulary

NONE = TableHypernyms({})


@pytest.fixture(scope="module")
def embedder(toytown_checkpoint):
    shape = (
        toytown_checkpoint.model.config.detr_encoder_config.hidden_size,
        toytown_checkpoint.model.config.text_config.hidden_size,
    )
    return PhraseEmbedder(
        toytown_checkpoint.load_text_side,
        toytown_checkpoint.model.text_projection,
        toytown_checkpoint.tokenizer,
        toytown_checkpoint.context_length,
        PromptCache("toytown", shape, None),
        torch.device("cpu"),
    )


def test_text_features_equal_the_models_own(embedder, toytown_checkpoint, toytown_whole):
    phrases = ["road", "traffic light", "pedestrian path"]
    prompts = encode_vocabulary(Vocabulary.from_names(phrases), embedder, NONE, 0, 0)
    batch = toytown_checkpoint.tokenizer(phrases, padding="max_length", max_length=32, return_tensors="pt")
    with torch.inference_mode():
        expected = toytown_whole.get_text_features(**batch).pooler_output
    for query, mask in enumerate(batch["attention_mask"].bool()):
        tokens = prompts.text[query, prompts.text_valid[query]]
        torch.testing.assert_close(tokens, expected[query, mask], atol=1e-5, rtol=1e-5)


def test_pooled_embeddings_are_means_before_the_transformer(embedder, toytown_whole, toytown_checkpoint):
    ids = toytown_checkpoint.tokenizer(["traffic light"], return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        expected = toytown_whole.text_encoder.get_input_embeddings()(ids)[0].mean(0)
    torch.testing.assert_close(embedder.embed(["traffic light"])[0]["traffic light"].pooled, expected)


def test_canonical_phrases_are_encoded(embedder):
    prompts = encode_vocabulary(Vocabulary.from_names(["plaything", "sky"]), embedder, NONE, 2, 2)
    assert prompts.phrases == ("toy", "sky")
    torch.testing.assert_close(
        prompts.text[0],
        encode_vocabulary(Vocabulary.from_names(["toy", "sky"]), embedder, NONE, 2, 2).text[0],
    )


def test_context_layout(embedder):
    lookup = TableHypernyms({"car": ["vehicle", "plaything"], "sky": ["air"]})
    prompts = encode_vocabulary(Vocabulary.from_names(["car", "sky", "road"]), embedder, lookup, 2, 2)
    assert prompts.context.tokens.shape[:2] == (3, 4)
    assert prompts.context.valid.tolist() == [
        [True, True, True, True],
        [True, True, True, False],
        [True, True, False, False],
    ]
    toy = embedder.project(embedder.embed(["toy"])[0]["toy"].pooled)
    torch.testing.assert_close(prompts.context.tokens[0, 3], toy, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("words", [["road"], ["road", "sky"], ["road", "sky", "car"]])
def test_tiny_vocabularies(embedder, words):
    prompts = encode_vocabulary(Vocabulary.from_names(words), embedder, NONE, 2, 2)
    assert prompts.context.valid[:, :2].sum(1).tolist() == [min(2, len(words) - 1)] * len(words)
    assert prompts.context.tokens.isfinite().all()


def test_prompts_beyond_the_context_are_refused(embedder):
    long = " ".join(["road"] * 50)
    with pytest.raises(VocabularyError, match="has 52 tokens; the model reads at most 32"):
        encode_vocabulary(Vocabulary.from_names(["sky", long]), embedder, NONE, 2, 2)


def test_the_log_counts_names_without_hypernyms(embedder, caplog):
    with caplog.at_level(logging.INFO):
        encode_vocabulary(
            Vocabulary.from_names(["car", "zorble"]), embedder, TableHypernyms({"car": ["vehicle"]}), 2, 2
        )
    assert "1 of 2 prompts have no hypernym (zorble)" in caplog.text
