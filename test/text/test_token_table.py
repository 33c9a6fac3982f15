"""Token counts and pooled embeddings without the networks."""

import logging
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from activesam_ros.errors import ModelError
from activesam_ros.prompts.encoder import TextEncoder
from activesam_ros.prompts.token_table import TokenTable

PHRASES = ["car", "horizontal vegetation", "road " * 40]


@pytest.fixture
def copied(toytown_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(toytown_folder, folder)
    return folder


@pytest.fixture(scope="module")
def table():
    return TokenTable.load("toytown")


def test_pooled_embeddings_are_those_of_the_text_encoder(table, toytown_checkpoint):
    encoder = TextEncoder(toytown_checkpoint.load_text_side(), toytown_checkpoint.tokenizer)
    expected = torch.stack([embedding.pooled for embedding in encoder.encode(PHRASES)])
    torch.testing.assert_close(table.pooled(PHRASES), expected)


def test_counts_are_uncut(table):
    counts = table.counts(PHRASES)
    assert counts[0] == 3
    assert counts[2] >= 42
    assert table.context_length == 32
    assert table.counts([]) == []


def test_counting_a_phrase_that_is_too_long_warns_of_nothing(caplog, monkeypatch):
    """It is transformers that warns, once for each tokenizer, of a model that nobody is about to run."""
    table = TokenTable.load("toytown")
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    assert table.counts(["road " * 40]) == [42]
    assert not caplog.records


def test_video_checkpoints_have_the_same_table(copied, table):
    weights = load_file(copied / "model.safetensors")
    renamed = {f"detector_model.{key}": value for key, value in weights.items()}
    save_file(renamed, copied / "model.safetensors", metadata={"format": "pt"})
    assert torch.equal(TokenTable.load(copied).pooled(PHRASES), table.pooled(PHRASES))


def test_a_model_without_text_encoder(copied):
    save_file({"other": torch.zeros(1)}, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="has no tensor 'text_encoder"):
        TokenTable.load(copied)


def test_damaged_weights(copied):
    (copied / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00no json")
    with pytest.raises(ModelError, match="cannot be read"):
        TokenTable.load(copied)


def test_a_damaged_tokenizer(copied):
    (copied / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="the tokenizer in .* cannot be loaded"):
        TokenTable.load(copied)


def test_a_missing_tokenizer(copied):
    (copied / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        TokenTable.load(copied)


def test_a_missing_model():
    with pytest.raises(ModelError, match="does not exist"):
        TokenTable.load("./nowhere")
