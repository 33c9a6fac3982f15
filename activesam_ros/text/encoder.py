"""SAM 3's text side: phrases in, token features and pooled embeddings out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import nn

logger = logging.getLogger(__name__)

BATCH = 64


@dataclass(frozen=True)
class PhraseEmbedding:
    """What the model knows of one phrase.

    Attributes:
        tokens: float [T, D], projected features of the phrase's real tokens (start and end included).
        pooled: float [E], mean of the token embeddings *before* the text transformer.
    """

    tokens: torch.Tensor
    pooled: torch.Tensor


class TextEncoder:
    """Encodes phrases with the text encoder and the text projection of a `Sam3Model`.

    It touches no vision module, so it may run in other threads than the image path.
    """

    def __init__(
        self,
        encoder: nn.Module,
        projection: nn.Module,
        tokenizer: Callable,
        precision: Callable[[], AbstractContextManager],
    ) -> None:
        """
        Args:
            encoder: `Sam3Model.text_encoder`.
            projection: `Sam3Model.text_projection`.
            tokenizer: the model's tokenizer.
            precision: gives the context in which the forward pass computes.
        """
        self._encoder = encoder
        self._projection = projection
        self._tokenizer = tokenizer
        self._precision = precision
        # A tokenizer's padding is state, so that two threads must not share it.
        self._tokenizing = threading.Lock()
        self.context_length: int = encoder.config.max_position_embeddings

    @torch.inference_mode()
    def encode(self, phrases: Sequence[str]) -> list[PhraseEmbedding]:
        """Embeds each phrase; those longer than the model's context are cut, with a warning."""
        embeddings: list[PhraseEmbedding] = []
        for start in range(0, len(phrases), BATCH):
            embeddings += self._encode_batch(phrases[start : start + BATCH])
        return embeddings

    @torch.inference_mode()
    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        """Maps pooled embeddings [..., E] to the prompt space [..., D]."""
        with self._precision():
            return self._projection(pooled).float()

    def _encode_batch(self, phrases: Sequence[str]) -> list[PhraseEmbedding]:
        device = self._projection.weight.device
        with self._tokenizing:
            self._warn_of_long(phrases)
            batch = self._tokenizer(
                list(phrases),
                padding="max_length",
                truncation=True,
                max_length=self.context_length,
                return_tensors="pt",
            ).to(device)
        mask = batch["attention_mask"].bool()
        embedded = self._encoder.get_input_embeddings()(batch["input_ids"]).float()
        pooled = mean_of_real(embedded, mask)
        with self._precision():
            hidden = self._encoder(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).last_hidden_state
            tokens = self._projection(hidden).float()
        return [
            PhraseEmbedding(tokens[index, mask[index]], pooled[index]) for index in range(len(phrases))
        ]

    def _warn_of_long(self, phrases: Sequence[str]) -> None:
        for phrase, ids in zip(phrases, self._tokenizer(list(phrases))["input_ids"], strict=True):
            if len(ids) > self.context_length:
                logger.warning(
                    "the prompt %r has %d tokens; the model reads the first %d only, shorten it",
                    phrase,
                    len(ids),
                    self.context_length,
                )


def mean_of_real(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens that `mask` marks: values [N, T, E], mask [N, T] bool → [N, E]."""
    weights = mask.unsqueeze(-1).to(values.dtype)
    return (values * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
