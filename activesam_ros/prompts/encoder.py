"""SAM 3's text encoder: phrases in, token features and pooled embeddings out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from activesam_ros.prompts.embedding import PromptEmbedding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BATCH = 16
"""Phrases that are encoded at a time, and so what an interruption can lose."""


class TextEncoder:
    """Encodes phrases with a `Sam3TextSide`, in float32 whatever the precision of the image path.

    So an embedding does not depend on the machine that made it, and can be made ahead of deployment.
    """

    def __init__(self, side: Any, tokenizer: Callable) -> None:
        """Args:
        side: a module with `text_encoder` and `text_projection`.
        tokenizer: the model's tokenizer; no other thread may be inside it at the same time.
        """
        self._side = side
        self._tokenizer = tokenizer
        self._context_length: int = self._side.text_encoder.config.max_position_embeddings

    def encode(
        self, phrases: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> Iterator[PromptEmbedding]:
        """Embeds each phrase, batch by batch; tokens beyond the model's context are cut.

        Args:
            phrases: what to embed.
            progress: called with the number of phrases that a finished batch adds.
        """
        for start in range(0, len(phrases), BATCH):
            batch = phrases[start : start + BATCH]
            yield from self._encode_batch(batch)
            if progress:
                progress(len(batch))

    @torch.inference_mode()
    def _encode_batch(self, phrases: Sequence[str]) -> list[PromptEmbedding]:
        encoder, projection = self._side.text_encoder, self._side.text_projection
        batch = self._tokenizer(
            list(phrases),
            padding="max_length",
            truncation=True,
            max_length=self._context_length,
            return_tensors="pt",
        ).to(projection.weight.device)
        mask = batch["attention_mask"].bool()
        pooled = mean_of_real(encoder.get_input_embeddings()(batch["input_ids"]), mask)
        hidden = encoder(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).last_hidden_state
        tokens = projection(hidden)
        return [PromptEmbedding(tokens[index, mask[index]], pooled[index]) for index in range(len(phrases))]


def mean_of_real(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens that `mask` marks: values [N, T, E], mask [N, T] bool → [N, E]."""
    weights = mask.unsqueeze(-1).to(values.dtype)
    return (values * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
