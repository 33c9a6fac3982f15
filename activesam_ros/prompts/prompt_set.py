"""Expand a vocabulary into padded prompt embeddings with context tokens (ActiveSAM, arXiv 2606.16996).

Context tokens come from the most similar other prompts and from hypernyms. They accompany a prompt at full resolution
only; the preview uses the bare prompt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from activesam_ros.prompts.hypernyms import MAX_HYPERNYMS
from activesam_ros.vocabulary import Vocabulary, check_size
from activesam_ros.vocabulary.canonical import canonical_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from activesam_ros.prompts.cache import PromptEmbedding
    from activesam_ros.prompts.text_encoder import EncodingReport, TextEncoder

logger = logging.getLogger(__name__)

HypernymLookup = Callable[[str], tuple[str, ...]]

ROWS = 256
"""Prompts compared with all others at once, so that memory grows with the vocabulary, not with its square."""


@dataclass(frozen=True)
class ContextTokens:
    """Context of every prompt: tokens float [Q, K, D] and valid bool [Q, K] (False: to be masked out)."""

    tokens: torch.Tensor
    valid: torch.Tensor


@dataclass(frozen=True, eq=False)
class PromptSet:
    """A vocabulary with the embeddings of its Q prompts: all that inference needs to know of it.

    Attributes:
        vocabulary: the classes; prompts are numbered through all classes in order.
        canonical: canonical form of each prompt.
        text: float [Q, T, D] projected text tokens, zero-padded.
        text_valid: bool [Q, T], False at padding.
        context: neighbour tokens, then hypernym tokens; appended at full resolution.
        neighbor_tokens: how many of the context tokens are neighbours.
        hypernym_tokens: how many of them are hypernyms.
        report: what encoding them took.
    """

    vocabulary: Vocabulary
    canonical: tuple[str, ...]
    text: torch.Tensor
    text_valid: torch.Tensor
    context: ContextTokens
    neighbor_tokens: int
    hypernym_tokens: int
    report: EncodingReport

    def __len__(self) -> int:
        return len(self.canonical)


@dataclass(frozen=True)
class NeededPrompts:
    """What the text encoder would be asked for by some vocabularies; each prompt once.

    Attributes:
        prompts: canonical prompts of all classes.
        hypernyms: hypernyms that are no prompts as well.
    """

    prompts: tuple[str, ...]
    hypernyms: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.prompts) + len(self.hypernyms)

    def __iter__(self) -> Iterator[str]:
        return iter(self.prompts + self.hypernyms)


def needed_prompts(vocabularies: Iterable[Vocabulary], sources: Sequence[HypernymLookup]) -> NeededPrompts:
    """Collect what the text encoder would be asked for.

    Args:
        vocabularies: what will be segmented with.
        sources: where hypernyms may come from; all of each source are taken, since the machine that will use the
            cache may have another source than this one. Empty: no hypernyms.
    """
    prompts: dict[str, None] = {}
    hypernyms: dict[str, None] = {}
    for vocabulary in vocabularies:
        canonical = [canonical_name(prompt) for prompt in vocabulary.prompts]
        prompts |= dict.fromkeys(canonical)
        for source in sources:
            for found in canonical_hypernyms(canonical, source, MAX_HYPERNYMS):
                hypernyms |= dict.fromkeys(found)
    return NeededPrompts(tuple(prompts), tuple(name for name in hypernyms if name not in prompts))


def canonical_hypernyms(
    canonical: Sequence[str], hypernyms: HypernymLookup, count: int
) -> list[tuple[str, ...]]:
    """Look up at most `count` hypernyms of each canonical prompt, and canonicalise them.

    Raises:
        TypeError: `hypernyms` gave something else than a tuple or list of strings.
    """
    broader = []
    for prompt in canonical:
        found = hypernyms(prompt)
        if not isinstance(found, tuple | list) or not all(isinstance(name, str) for name in found):
            raise TypeError(f"the hypernyms of {prompt!r} are {found!r}; expected a tuple of strings")
        broader.append(tuple(canonical_name(name) for name in found[:count]))
    return broader


def encode_vocabulary(
    vocabulary: Vocabulary,
    encoder: TextEncoder,
    hypernyms: HypernymLookup,
    neighbor_tokens: int,
    hypernym_tokens: int,
) -> PromptSet:
    """Canonicalise, embed and expand every prompt of `vocabulary`.

    Args:
        vocabulary: what to encode.
        encoder: the model's text encoder.
        hypernyms: canonical prompt → hypernyms, most important first.
        neighbor_tokens: context tokens per prompt from its nearest other prompts.
        hypernym_tokens: context tokens per prompt from its hypernyms.

    Raises:
        VocabularyError: too many prompts, or one is longer than the model's context.
        TypeError: `hypernyms` gave something else than a tuple or list of strings.
    """
    check_size(vocabulary)
    canonical = tuple(canonical_name(prompt) for prompt in vocabulary.prompts)
    broader = canonical_hypernyms(canonical, hypernyms, hypernym_tokens)
    if hypernym_tokens:
        _log_lacking(
            [prompt for prompt, found in zip(canonical, broader, strict=True) if not found], canonical
        )
    encoder.check_length(canonical)
    distinct = tuple(dict.fromkeys([*canonical, *(name for found in broader for name in found)]))
    embeddings, report = encoder.embed(distinct)
    own = [embeddings[prompt] for prompt in canonical]
    text, text_valid = pad_tokens(own)
    pooled = torch.stack([embedding.pooled for embedding in own])
    context = context_tokens(
        pooled,
        [[embeddings[name].pooled for name in found] for found in broader],
        neighbor_tokens,
        hypernym_tokens,
        encoder.project,
    )
    logger.info("prompts of %d classes: %s", len(vocabulary), report)
    return PromptSet(
        vocabulary, canonical, text, text_valid, context, neighbor_tokens, hypernym_tokens, report
    )


def pad_tokens(embeddings: Sequence[PromptEmbedding]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad token features to the longest prompt: float [Q, T, D] and bool [Q, T] (False at padding)."""
    text = torch.nn.utils.rnn.pad_sequence([one.tokens for one in embeddings], batch_first=True)
    lengths = torch.tensor([len(one.tokens) for one in embeddings], device=text.device)
    return text, torch.arange(text.shape[1], device=text.device) < lengths[:, None]


def context_tokens(
    pooled: torch.Tensor,
    hypernyms: Sequence[Sequence[torch.Tensor]],
    neighbor_count: int,
    hypernym_count: int,
    project: Callable[[torch.Tensor], torch.Tensor],
) -> ContextTokens:
    """Make the context of Q prompts: weighted neighbours, then hypernyms, projected; missing ones are invalid.

    Args:
        pooled: pooled embeddings of the prompts, [Q, E].
        hypernyms: pooled embeddings [E] of each prompt's hypernyms, at most `hypernym_count`.
        neighbor_count: neighbour tokens per prompt.
        hypernym_count: hypernym tokens per prompt.
        project: the model's text projection.
    """
    neighbors = find_neighbors(pooled, neighbor_count)
    weighted = pooled[neighbors.index] * neighbors.weight.unsqueeze(-1)
    broader = pooled.new_zeros(len(pooled), hypernym_count, pooled.shape[-1])
    valid = torch.zeros(len(pooled), hypernym_count, dtype=torch.bool, device=pooled.device)
    for index, found in enumerate(hypernyms):
        for slot, embedding in enumerate(found):
            broader[index, slot] = embedding
            valid[index, slot] = True
    return ContextTokens(
        torch.cat([project(weighted), project(broader)], dim=1), torch.cat([neighbors.valid, valid], dim=1)
    )


@dataclass(frozen=True)
class Neighbors:
    """The N most similar other prompts of each of Q prompts, nearest first.

    Attributes:
        index: int64 [Q, N].
        similarity: cosine, float [Q, N].
        weight: softmax of the similarities, float [Q, N].
        valid: bool [Q, N], False where there is no such neighbour.
    """

    index: torch.Tensor
    similarity: torch.Tensor
    weight: torch.Tensor
    valid: torch.Tensor


def find_neighbors(pooled: torch.Tensor, count: int) -> Neighbors:
    """Find the `count` prompts whose pooled embeddings [Q, E] have the highest cosine similarity.

    A vocabulary with fewer other prompts than `count` fills up with invalid neighbours of weight 0, where the
    published code raises; ties go to the lower index.
    """
    prompts = pooled.shape[0]
    unit = torch.nn.functional.normalize(pooled, dim=-1)
    found = min(count, prompts - 1)
    index = torch.zeros(prompts, count, dtype=torch.long, device=pooled.device)
    nearest = pooled.new_zeros(prompts, count)
    for start in range(0, prompts, ROWS):
        rows = torch.arange(start, min(start + ROWS, prompts), device=pooled.device)
        similarity = unit[rows] @ unit.T
        similarity[rows - start, rows] = -torch.inf
        ranked, order = similarity.sort(dim=-1, descending=True, stable=True)
        index[rows, :found] = order[:, :found]
        nearest[rows, :found] = ranked[:, :found]
    weight = pooled.new_zeros(prompts, count)
    weight[:, :found] = nearest[:, :found].softmax(dim=-1)
    valid = torch.zeros(prompts, count, dtype=torch.bool, device=pooled.device)
    valid[:, :found] = True
    return Neighbors(index, nearest, weight, valid)


def _log_lacking(lacking: Sequence[str], canonical: Sequence[str], most: int = 5) -> None:
    if lacking:
        sample = f"{', '.join(lacking[:most])}{', …' if len(lacking) > most else ''}"
        logger.info("%d of %d prompts have no hypernym (%s)", len(lacking), len(canonical), sample)
