"""Neighbours and context tokens, also in tiny vocabularies."""

import math

import pytest
import torch

from activesam_ros.prompts.expansion import find_neighbors, hypernym_context, neighbor_context


def double(pooled: torch.Tensor) -> torch.Tensor:
    return pooled * 2


def test_neighbors_are_the_most_similar_others():
    pooled = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.3], [1.0, 1.0]])
    found = find_neighbors(pooled, 2)
    assert found.index.tolist() == [[2, 3], [3, 2], [0, 3], [2, 0]]
    assert found.valid.all()
    cosine = [3 / math.hypot(3, 0.3), 1 / math.sqrt(2)]
    expected = torch.tensor(cosine).softmax(0)
    torch.testing.assert_close(found.weight[0], expected)


def test_equal_prompts_tie_to_the_lower_index():
    assert find_neighbors(torch.ones(4, 3), 2).index.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]


def test_rows_are_compared_in_parts_with_the_same_outcome(monkeypatch):
    pooled = torch.randn(23, 5, generator=torch.Generator().manual_seed(0))
    whole = find_neighbors(pooled, 2)
    monkeypatch.setattr("activesam_ros.prompts.expansion.ROWS", 4)
    parts = find_neighbors(pooled, 2)
    assert torch.equal(parts.index, whole.index)
    torch.testing.assert_close(parts.weight, whole.weight)


@pytest.mark.parametrize("queries", [1, 2, 3])
def test_tiny_vocabularies_mask_missing_neighbors(queries):
    pooled = torch.eye(4)[:queries]
    found = find_neighbors(pooled, 2)
    present = min(2, queries - 1)
    assert found.valid.sum(1).tolist() == [present] * queries
    torch.testing.assert_close(found.weight.sum(1), torch.full((queries,), 1.0 if present else 0.0))
    context = neighbor_context(pooled, 2, double)
    assert context.tokens.isfinite().all()
    assert context.tokens[~context.valid].count_nonzero() == 0


def test_context_is_the_weighted_projection():
    pooled = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    found = find_neighbors(pooled, 1)
    context = neighbor_context(pooled, 1, double)
    torch.testing.assert_close(context.tokens[:, 0], 2 * pooled[found.index[:, 0]])


def test_hypernyms_fill_their_slots_in_order():
    pooled = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0, 4.0])}
    context = hypernym_context([("a", "b"), (), ("b",)], pooled, 2, double, like=torch.zeros(1, 2))
    assert context.valid.tolist() == [[True, True], [False, False], [True, False]]
    assert context.tokens[0].tolist() == [[2, 4], [6, 8]]
    assert context.tokens[2, 0].tolist() == [6, 8]


def test_no_context_at_all():
    assert neighbor_context(torch.rand(3, 4), 0, double).tokens.shape == (3, 0, 4)
