"""Prompt expansion: context tokens from similar queries and from hypernyms (ActiveSAM, arXiv 2606.16996).

They accompany a prompt at full resolution only; the preview asks the bare phrase.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

ROWS = 256
"""Queries that are compared with all others at once, so that memory grows with the vocabulary, not its square."""

Project = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class ContextTokens:
    """Context of every query: tokens float [Q, K, D] and valid bool [Q, K] (False: to be masked out)."""

    tokens: torch.Tensor
    valid: torch.Tensor


@dataclass(frozen=True)
class Neighbors:
    """The most similar other queries, nearest first.

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
    """The `count` queries whose pooled embeddings [Q, E] have the highest cosine similarity.

    Weights are the softmax of the similarities. A vocabulary with fewer other queries than `count` fills up with
    invalid neighbours of weight 0, where the published code raises; ties go to the lower index.
    """
    queries = pooled.shape[0]
    unit = torch.nn.functional.normalize(pooled, dim=-1)
    found = min(count, queries - 1)
    index = torch.zeros(queries, count, dtype=torch.long, device=pooled.device)
    nearest = pooled.new_zeros(queries, count)
    for start in range(0, queries, ROWS):
        rows = torch.arange(start, min(start + ROWS, queries), device=pooled.device)
        similarity = unit[rows] @ unit.T
        similarity[rows - start, rows] = -torch.inf
        ranked, order = similarity.sort(dim=-1, descending=True, stable=True)
        index[rows, :found] = order[:, :found]
        nearest[rows, :found] = ranked[:, :found]
    weight = pooled.new_zeros(queries, count)
    weight[:, :found] = nearest[:, :found].softmax(dim=-1)
    valid = torch.zeros(queries, count, dtype=torch.bool, device=pooled.device)
    valid[:, :found] = True
    return Neighbors(index, nearest, weight, valid)


def neighbor_context(pooled: torch.Tensor, count: int, project: Project) -> ContextTokens:
    """Context tokens [Q, count, D]: each neighbour's pooled embedding times its weight, projected."""
    neighbors = find_neighbors(pooled, count)
    weighted = pooled[neighbors.index] * neighbors.weight.unsqueeze(-1)
    return ContextTokens(project(weighted), neighbors.valid)


def hypernym_context(
    hypernyms: Sequence[Sequence[str]],
    pooled: Mapping[str, torch.Tensor],
    count: int,
    project: Project,
    like: torch.Tensor,
) -> ContextTokens:
    """Context tokens [Q, count, D] of each query's first `count` hypernyms; invalid where there are fewer.

    Args:
        hypernyms: canonical hypernym phrases of each query.
        pooled: pooled embedding [E] of each such phrase.
        count: context tokens per query.
        project: the model's text projection.
        like: a tensor [..., E] that gives dtype and device.
    """
    values = like.new_zeros(len(hypernyms), count, like.shape[-1])
    valid = torch.zeros(len(hypernyms), count, dtype=torch.bool, device=like.device)
    for query, phrases in enumerate(hypernyms):
        for slot, phrase in enumerate(phrases[:count]):
            values[query, slot] = pooled[phrase]
            valid[query, slot] = True
    return ContextTokens(project(values), valid)


def join(parts: Sequence[ContextTokens]) -> ContextTokens:
    """Concatenates the context tokens of each query."""
    return ContextTokens(
        torch.cat([part.tokens for part in parts], dim=1), torch.cat([part.valid for part in parts], dim=1)
    )
