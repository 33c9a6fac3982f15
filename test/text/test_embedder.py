"""Counting tokens beside the encoding of other phrases, and what stays of the text encoder afterwards."""

import gc
import threading
import weakref
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from activesam_ros.prompts.cache import PromptCache
from activesam_ros.prompts.embedder import PhraseEmbedder

PATIENCE = 30


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


def test_tokens_are_counted_while_other_phrases_are_encoded(side, toytown_checkpoint):
    embedder = PhraseEmbedder(
        lambda: side,
        side.text_projection,
        toytown_checkpoint.tokenizer,
        32,
        PromptCache("", (3, 4), None),
        torch.device("cpu"),
    )
    encoding = threading.Thread(target=embedder.embed, args=(["road"],), daemon=True)
    encoding.start()
    assert side.text_encoder.begun.wait(PATIENCE)
    counting = threading.Thread(target=embedder.check_length, args=(["traffic light"],), daemon=True)
    counting.start()
    counting.join(PATIENCE)
    assert not counting.is_alive()
    side.text_encoder.go_on.set()
    encoding.join(PATIENCE)
    assert not encoding.is_alive() and not embedder.loaded


def test_known_phrases_do_not_wait_while_others_are_encoded(side, toytown_checkpoint):
    embedder = PhraseEmbedder(
        lambda: side,
        side.text_projection,
        toytown_checkpoint.tokenizer,
        32,
        PromptCache("", (3, 4), None),
        torch.device("cpu"),
    )
    text_encoder = side.text_encoder
    text_encoder.go_on.set()
    embedder.embed(["sky", "car"])
    text_encoder.begun.clear()
    text_encoder.go_on.clear()
    reports = {}

    def embed(name, phrases):
        reports[name] = embedder.embed(phrases)[1]

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
    # Who waits for a phrase that another one encodes does not encode it once more.
    same = begin("same", ["sky", "road"])
    text_encoder.go_on.set()
    for thread in (encoding, same):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert (reports["new"].misses, reports["same"].hits, reports["same"].misses) == (1, 2, 0)


def test_a_released_text_encoder_is_freed_without_a_garbage_collection(toytown_checkpoint):
    """A collection stops all threads, and so the stream."""
    loaded = []

    def load():
        side = toytown_checkpoint.load_text_side()
        loaded.append(weakref.ref(side))
        return side

    embedder = PhraseEmbedder(
        load,
        toytown_checkpoint.model.text_projection,
        toytown_checkpoint.tokenizer,
        32,
        PromptCache("", toytown_checkpoint.embedding_sizes, None),
        torch.device("cpu"),
    )
    gc.disable()
    try:
        embedder.embed(["road"])
        assert [side() for side in loaded] == [None]
    finally:
        gc.enable()
