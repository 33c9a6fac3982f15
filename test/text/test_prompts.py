"""A vocabulary's expanded prompts with the demo model's text side."""

import logging

import pytest
import torch

from activesam_ros.text.encoder import TextEncoder
from activesam_ros.text.hypernyms import TableHypernyms
from activesam_ros.text.prompts import encode_vocabulary
from activesam_ros.vocabulary import Vocabulary

NONE = TableHypernyms({})


@pytest.fixture(scope="module")
def encoder(toytown_checkpoint):
    model = toytown_checkpoint.model
    return TextEncoder(
        model.text_encoder, model.text_projection, toytown_checkpoint.tokenizer, toytown_checkpoint.precision
    )


def test_text_features_equal_the_models_own(encoder, toytown_checkpoint):
    phrases = ["road", "traffic light", "pedestrian path"]
    prompts = encode_vocabulary(Vocabulary.from_names(phrases), encoder, NONE, 0, 0)
    batch = toytown_checkpoint.tokenizer(phrases, padding="max_length", max_length=32, return_tensors="pt")
    with torch.inference_mode():
        expected = toytown_checkpoint.model.get_text_features(**batch).pooler_output
    for query, mask in enumerate(batch["attention_mask"].bool()):
        tokens = prompts.text[query, prompts.text_valid[query]]
        torch.testing.assert_close(tokens, expected[query, mask], atol=1e-5, rtol=1e-5)


def test_embeddings_do_not_depend_on_the_company(encoder):
    alone = encoder.encode(["car"])[0]
    among = encoder.encode(["street", "motor scooter", "car", "giraffe"])[2]
    torch.testing.assert_close(alone.tokens, among.tokens, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone.pooled, among.pooled)


def test_canonical_phrases_are_encoded(encoder):
    prompts = encode_vocabulary(Vocabulary.from_names(["plaything", "sky"]), encoder, NONE, 2, 2)
    assert prompts.phrases == ("toy", "sky")
    torch.testing.assert_close(prompts.text[0], encode_vocabulary(
        Vocabulary.from_names(["toy", "sky"]), encoder, NONE, 2, 2).text[0])


def test_context_layout(encoder):
    lookup = TableHypernyms({"car": ["vehicle", "plaything"], "sky": ["air"]})
    prompts = encode_vocabulary(Vocabulary.from_names(["car", "sky", "road"]), encoder, lookup, 2, 2)
    assert prompts.context.tokens.shape[:2] == (3, 4)
    assert prompts.context.valid.tolist() == [
        [True, True, True, True], [True, True, True, False], [True, True, False, False]]
    toy = encoder.project(encoder.encode(["toy"])[0].pooled)
    torch.testing.assert_close(prompts.context.tokens[0, 3], toy, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("words", [["road"], ["road", "sky"], ["road", "sky", "car"]])
def test_tiny_vocabularies(encoder, words):
    prompts = encode_vocabulary(Vocabulary.from_names(words), encoder, NONE, 2, 2)
    assert prompts.context.valid[:, :2].sum(1).tolist() == [min(2, len(words) - 1)] * len(words)
    assert prompts.context.tokens.isfinite().all()


def test_long_prompts_are_cut_with_a_warning(encoder, caplog):
    long = " ".join(["road"] * 50)
    embedding = encoder.encode([long])[0]
    assert len(embedding.tokens) == encoder.context_length
    assert "shorten it" in caplog.text


def test_the_log_counts_names_without_hypernyms(encoder, caplog):
    with caplog.at_level(logging.INFO):
        encode_vocabulary(Vocabulary.from_names(["car", "zorble"]), encoder, TableHypernyms({"car": ["vehicle"]}), 2, 2)
    assert "1 of 2 prompts have no hypernym (zorble)" in caplog.text
