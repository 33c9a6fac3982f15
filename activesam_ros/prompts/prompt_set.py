"""The expanded prompt embeddings of one vocabulary."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from activesam_ros.prompts.expansion import ContextTokens, hypernym_context, join, neighbor_context
from activesam_ros.vocabulary import Vocabulary, check_size
from activesam_ros.vocabulary.canonical import canonical_name

if TYPE_CHECKING:
    from activesam_ros.prompts.embedder import EncodingReport, PhraseEmbedder
    from activesam_ros.prompts.embedding import PromptEmbedding

logger = logging.getLogger(__name__)

HypernymLookup = Callable[[str], tuple[str, ...]]


@dataclass(frozen=True, eq=False)
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
        report: what encoding them took.
    """

    vocabulary: Vocabulary
    phrases: tuple[str, ...]
    text: torch.Tensor
    text_valid: torch.Tensor
    context: ContextTokens
    neighbor_tokens: int
    hypernym_tokens: int
    report: EncodingReport

    def __len__(self) -> int:
        return len(self.phrases)


@dataclass(frozen=True)
class ExpandedPhrases:
    """The words of a vocabulary before they are embedded.

    Attributes:
        phrases: canonical phrase of each query.
        hypernyms: canonical hypernym phrases of each query.
    """

    phrases: tuple[str, ...]
    hypernyms: tuple[tuple[str, ...], ...]

    @property
    def distinct(self) -> tuple[str, ...]:
        """Every phrase that has to be embedded, once."""
        return tuple(
            dict.fromkeys([*self.phrases, *(phrase for found in self.hypernyms for phrase in found)])
        )


def expand_phrases(
    vocabulary: Vocabulary, hypernyms: HypernymLookup, hypernym_tokens: int
) -> ExpandedPhrases:
    """Canonicalises the prompts of a vocabulary and looks up their hypernyms, at most `hypernym_tokens` each."""
    phrases = tuple(canonical_name(prompt) for prompt in vocabulary.prompts)
    broader = tuple(_canonical_hypernyms(phrase, hypernyms, hypernym_tokens) for phrase in phrases)
    if hypernym_tokens:
        lacking = [phrase for phrase, found in zip(phrases, broader, strict=True) if not found]
        logger.info("%d of %d prompts have no hypernym%s", len(lacking), len(phrases), _sample(lacking))
    return ExpandedPhrases(phrases, broader)


def _canonical_hypernyms(phrase: str, hypernyms: HypernymLookup, count: int) -> tuple[str, ...]:
    found = hypernyms(phrase)
    if not isinstance(found, tuple | list) or not all(isinstance(kind, str) for kind in found):
        raise TypeError(f"the hypernyms of {phrase!r} are {found!r}; expected a tuple of strings")
    return tuple(canonical_name(kind) for kind in found[:count])


def encode_vocabulary(
    vocabulary: Vocabulary,
    embedder: PhraseEmbedder,
    hypernyms: HypernymLookup,
    neighbor_tokens: int,
    hypernym_tokens: int,
) -> PromptSet:
    """Canonicalises, embeds and expands every prompt of `vocabulary`.

    Args:
        vocabulary: what to encode.
        embedder: the model's text side.
        hypernyms: canonical name → hypernym phrases, most important first.
        neighbor_tokens: context tokens per query from its nearest other queries.
        hypernym_tokens: context tokens per query from its hypernyms.

    Raises:
        VocabularyError: there are too many prompts, or one is longer than the model's context.
        TypeError: `hypernyms` gave something else than a tuple or list of strings.
    """
    check_size(vocabulary)
    expanded = expand_phrases(vocabulary, hypernyms, hypernym_tokens)
    embedder.check_length(expanded.phrases)
    embeddings, report = embedder.embed(expanded.distinct)
    pooled = torch.stack([embeddings[phrase].pooled for phrase in expanded.phrases])
    text, text_valid = pad_tokens([embeddings[phrase] for phrase in expanded.phrases])
    context = join(
        [
            neighbor_context(pooled, neighbor_tokens, embedder.project),
            hypernym_context(
                expanded.hypernyms,
                {phrase: embedding.pooled for phrase, embedding in embeddings.items()},
                hypernym_tokens,
                embedder.project,
                like=pooled,
            ),
        ]
    )
    logger.info("prompts of %d classes: %s", len(vocabulary), report)
    return PromptSet(
        vocabulary, expanded.phrases, text, text_valid, context, neighbor_tokens, hypernym_tokens, report
    )


def pad_tokens(embeddings: Sequence[PromptEmbedding]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads token features to the longest phrase: float [Q, T, D] and bool [Q, T] (False at padding)."""
    text = torch.nn.utils.rnn.pad_sequence([entry.tokens for entry in embeddings], batch_first=True)
    lengths = torch.tensor([len(entry.tokens) for entry in embeddings], device=text.device)
    return text, torch.arange(text.shape[1], device=text.device) < lengths[:, None]


def _sample(names: list[str], most: int = 5) -> str:
    if not names:
        return ""
    return f" ({', '.join(names[:most])}{', …' if len(names) > most else ''})"
