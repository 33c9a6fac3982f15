"""The text encoder beside other threads and after use, and the token table."""

import gc
import logging
import shutil
import threading
import weakref
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from activesam_ros.errors import ModelError
from activesam_ros.prompts.text_encoder import TextEncoder, TokenTable

PATIENCE = 30
CPU = torch.device("cpu")
PROMPTS = ["car", "horizontal vegetation", "road " * 40]


class SlowEncoder(nn.Module):
    """Waits in the middle of an encoding until it is let go."""

    config = SimpleNamespace(max_position_embeddings=32)

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(60_000, 4)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def get_input_embeddings(self):
        return self.embedding

    def forward(self, input_ids, attention_mask):
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return SimpleNamespace(last_hidden_state=self.embedding(input_ids))


@pytest.fixture
def side():
    side = nn.Module()
    side.text_encoder, side.text_projection = SlowEncoder(), nn.Linear(4, 3)
    return side


def text_of(side, checkpoint):
    return SimpleNamespace(
        load_text_side=lambda: side,
        tokenizer=checkpoint.tokenizer,
        context_length=32,
        embedding_sizes=(3, 4),
    )


def test_tokens_are_counted_while_other_prompts_are_encoded(side, toytown_checkpoint):
    encoder = TextEncoder(text_of(side, toytown_checkpoint), side.text_projection, CPU)
    encoding = threading.Thread(target=encoder.embed, args=(["road"],), daemon=True)
    encoding.start()
    assert side.text_encoder.begun.wait(PATIENCE)
    counting = threading.Thread(target=encoder.check_length, args=(["traffic light"],), daemon=True)
    counting.start()
    counting.join(PATIENCE)
    assert not counting.is_alive()
    side.text_encoder.go_on.set()
    encoding.join(PATIENCE)
    assert not encoding.is_alive() and not encoder.loaded


def test_known_prompts_do_not_wait_while_others_are_encoded(side, toytown_checkpoint):
    encoder = TextEncoder(text_of(side, toytown_checkpoint), side.text_projection, CPU)
    text_encoder = side.text_encoder
    text_encoder.go_on.set()
    encoder.embed(["sky", "car"])
    text_encoder.begun.clear()
    text_encoder.go_on.clear()
    reports = {}

    def embed(name, prompts):
        reports[name] = encoder.embed(prompts)[1]

    def begin(*given):
        thread = threading.Thread(target=embed, args=given, daemon=True)
        thread.start()
        return thread

    encoding = begin("new", ["road"])
    assert text_encoder.begun.wait(PATIENCE)
    known = begin("known", ["sky", "car"])
    known.join(PATIENCE)
    assert not known.is_alive() and encoding.is_alive()
    assert (reports["known"].hits, reports["known"].misses) == (2, 0)
    # Who waits for a prompt that another one encodes does not encode it once more.
    same = begin("same", ["sky", "road"])
    text_encoder.go_on.set()
    for thread in (encoding, same):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert (reports["new"].misses, reports["same"].hits, reports["same"].misses) == (1, 2, 0)


def test_a_released_text_encoder_is_freed_without_a_garbage_collection(toytown_checkpoint, monkeypatch):
    """A collection stops all threads, and so the stream."""
    loaded = []

    read = type(toytown_checkpoint).load_text_side

    def load(checkpoint):
        side = read(checkpoint)
        loaded.append(weakref.ref(side))
        return side

    monkeypatch.setattr(type(toytown_checkpoint), "load_text_side", load)

    encoder = TextEncoder(toytown_checkpoint, toytown_checkpoint.model.text_projection, CPU)
    gc.disable()
    try:
        encoder.embed(["road"])
        assert [side() for side in loaded] == [None]
    finally:
        gc.enable()


@pytest.fixture
def copied(toytown_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(toytown_folder, folder)
    return folder


@pytest.fixture(scope="module")
def table():
    return TokenTable("toytown")


def test_pooled_embeddings_are_those_of_the_text_encoder(table, toytown_checkpoint):
    encoder = TextEncoder(toytown_checkpoint, toytown_checkpoint.model.text_projection, CPU)
    found, _ = encoder.embed(PROMPTS)
    expected = torch.stack([found[prompt].pooled for prompt in PROMPTS])
    torch.testing.assert_close(table.pooled(PROMPTS), expected)


def test_counts_are_uncut(table):
    counts = table.counts(PROMPTS)
    assert counts[0] == 3
    assert counts[2] >= 42
    assert table.context_length == 32
    assert table.counts([]) == []


def test_counting_a_prompt_that_is_too_long_warns_of_nothing(caplog, monkeypatch):
    """It is transformers that warns, once for each tokenizer, of a model that nobody is about to run."""
    table = TokenTable("toytown")
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    assert table.counts(["road " * 40]) == [42]
    assert not caplog.records


def test_video_checkpoints_have_the_same_table(copied, table):
    weights = load_file(copied / "model.safetensors")
    renamed = {f"detector_model.{key}": value for key, value in weights.items()}
    save_file(renamed, copied / "model.safetensors", metadata={"format": "pt"})
    assert torch.equal(TokenTable(copied).pooled(PROMPTS), table.pooled(PROMPTS))


def test_a_model_without_text_encoder(copied):
    save_file({"other": torch.zeros(1)}, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="has no tensor 'text_encoder"):
        TokenTable(copied)


def test_damaged_weights(copied):
    (copied / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00no json")
    with pytest.raises(ModelError, match="cannot be read"):
        TokenTable(copied)
