"""The expanded prompt embeddings of one vocabulary."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch

from activesam_ros.text.canonical import canonical_name
from activesam_ros.text.encoder import PhraseEmbedding, TextEncoder
from activesam_ros.text.expansion import ContextTokens, hypernym_context, join, neighbor_context
from activesam_ros.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

HypernymLookup = Callable[[str], tuple[str, ...]]


@dataclass(frozen=True)
class PromptSet:
    """An immutable vocabulary with its embeddings: all that the image path needs to know of the words.

    Attributes:
        vocabulary: the classes; queries are numbered through their prompts in order.
        phrases: canonical phrase of each query.
        text: float [Q, T, D] projected text tokens, zero-padded.
        text_valid: bool [Q, T], False at padding.
        context: neighbour tokens, then hypernym tokens; appended at full resolution.
        neighbor_tokens: how many of the context tokens are neighbours.
        hypernym_tokens: how many of them are hypernyms.
    """

    vocabulary: Vocabulary
    phrases: tuple[str, ...]
    text: torch.Tensor
    text_valid: torch.Tensor
    context: ContextTokens
    neighbor_tokens: int
    hypernym_tokens: int

    def __len__(self) -> int:
        return len(self.phrases)


def encode_vocabulary(
    vocabulary: Vocabulary,
    encoder: TextEncoder,
    hypernyms: HypernymLookup,
    neighbor_tokens: int,
    hypernym_tokens: int,
) -> PromptSet:
    """Canonicalises, embeds and expands every prompt of `vocabulary`.

    Args:
        vocabulary: what to encode.
        encoder: the model's text side.
        hypernyms: canonical name → hypernym phrases, most important first.
        neighbor_tokens: context tokens per query from its nearest other queries.
        hypernym_tokens: context tokens per query from its hypernyms.
    """
    phrases = tuple(canonical_name(prompt) for prompt in vocabulary.queries)
    broader = [
        tuple(canonical_name(phrase) for phrase in hypernyms(phrase)[:hypernym_tokens]) for phrase in phrases
    ]
    if hypernym_tokens:
        lacking = [phrase for phrase, found in zip(phrases, broader, strict=True) if not found]
        logger.info("%d of %d prompts have no hypernym%s", len(lacking), len(phrases), _sample(lacking))

    unique = tuple(dict.fromkeys([*phrases, *(phrase for found in broader for phrase in found)]))
    embeddings = dict(zip(unique, encoder.encode(unique), strict=True))
    pooled = torch.stack([embeddings[phrase].pooled for phrase in phrases])
    text, text_valid = pad_tokens([embeddings[phrase] for phrase in phrases])
    context = join(
        [
            neighbor_context(pooled, neighbor_tokens, encoder.project),
            hypernym_context(
                broader,
                {phrase: embedding.pooled for phrase, embedding in embeddings.items()},
                hypernym_tokens,
                encoder.project,
                like=pooled,
            ),
        ]
    )
    return PromptSet(vocabulary, phrases, text, text_valid, context, neighbor_tokens, hypernym_tokens)


def pad_tokens(embeddings: list[PhraseEmbedding]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads token features to the longest phrase: float [Q, T, D] and bool [Q, T] (False at padding)."""
    text = torch.nn.utils.rnn.pad_sequence([entry.tokens for entry in embeddings], batch_first=True)
    lengths = torch.tensor([len(entry.tokens) for entry in embeddings], device=text.device)
    return text, torch.arange(text.shape[1], device=text.device) < lengths[:, None]


def _sample(names: list[str], most: int = 5) -> str:
    if not names:
        return ""
    return f" ({', '.join(names[:most])}{', …' if len(names) > most else ''})"
